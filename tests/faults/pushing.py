"""Pushing over HTTP as a backend does, with every attempt and its outcome in the journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from push.sdk.backend import PushAPI, push_item
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from tests.faults.audit import Attempt, Journal, Target
from tests.waiting import DEADLINE_SECONDS

AFTER_A_FAILURE_SECONDS = 0.05


class Pusher:
    """One lane: it sends a push, or a batch, when the one before was answered."""

    def __init__(self, url: str, key: str, journal: Journal, lane: str) -> None:
        self._api = PushAPI(url, key, timeout=DEADLINE_SECONDS, retries=0)
        self._journal = journal
        self._lane = lane

    def push(
        self,
        target: Target,
        *,
        pad_bytes: int = 0,
        ttl: int | None = None,
        may_expire: bool = False,
    ) -> Attempt:
        """One `POST /v1/push`."""
        (attempt,) = self._journal.begin(self._lane, [target], may_expire=may_expire)
        try:
            result = self._api.push(to=target.to, data=_data(attempt, pad_bytes), ttl=ttl)
        except PushAPIError as error:
            attempt.status, attempt.retry_after = error.status, error.retry_after
        except PushAPIUnreachable:
            pass  # not known
        else:
            attempt.id = result.id
            attempt.status = 202
        return attempt

    def batch(self, targets: Sequence[Target], *, pad_bytes: int = 0) -> list[Attempt]:
        """One `POST /v1/push/batch`."""
        attempts = self._journal.begin(self._lane, targets, may_expire=False)
        items = [push_item(to=a.target.to, data=_data(a, pad_bytes)) for a in attempts]
        try:
            results = self._api.push_batch(items)
        except PushAPIError as error:
            for attempt in attempts:
                attempt.status, attempt.retry_after = error.status, error.retry_after
        except PushAPIUnreachable:
            pass
        else:
            for attempt, result in zip(attempts, results, strict=True):
                attempt.id, attempt.status = result.id, result.status
        return attempts

    def close(self) -> None:
        self._api.close()


def _data(attempt: Attempt, pad_bytes: int) -> dict[str, Any]:
    return {"n": attempt.n, "pad": "x" * pad_bytes} if pad_bytes else {"n": attempt.n}


def batches(pusher: Pusher, targets: Sequence[Target], size: int) -> Callable[[], list[Attempt]]:
    """Steps of `size` messages that go round `targets`."""
    items = [targets[place % len(targets)] for place in range(size)]
    return lambda: pusher.batch(items)


def singles(pusher: Pusher, targets: Sequence[Target]) -> Callable[[], list[Attempt]]:
    """Steps of one message to each of `targets`."""
    return lambda: [pusher.push(target) for target in targets]


class Steady:
    """Pushes in a thread, for as long as the `with` block runs: `step()` sends and returns.

    `pause_seconds` between two steps keeps the load of the machine modest.
    """

    def __init__(self, step: Callable[[], Sequence[Attempt]], pause_seconds: float) -> None:
        self._step = step
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        pause_seconds = 0.0
        try:
            while not self._stop.wait(pause_seconds):
                attempts = self._step()
                failed = any(not attempt.accepted for attempt in attempts)
                pause_seconds = AFTER_A_FAILURE_SECONDS if failed else self._pause_seconds
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SECONDS + 10)
        if kind is None:
            assert not self._thread.is_alive(), "a push never ended"
            if self._error is not None:
                raise self._error

"""The messages that a device or a user gets, for tests that block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from push.sdk.errors import PushError
from push.sdk.nio import Message, PushClient

WAIT_SECONDS = 30.0


class MessageInbox:
    """A connected client and a thread that takes, and so acknowledges, what comes.

    `options` are those of `push.sdk.nio.PushClient`. Use it in a `with` block: it is connected when
    the block begins, so that nothing that is pushed from then on is missed.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._client = PushClient(**options)
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._taken: set[int] = set()
        self._error: PushError | None = None
        self._thread = threading.Thread(target=self._receive, name="push inbox", daemon=True)

    @property
    def messages(self) -> list[Message]:
        """All that came, in the order in which they came."""
        with self._changed:
            return list(self._messages)

    def wait(
        self,
        matches: Callable[[Message], bool] = lambda message: True,
        timeout_seconds: float = WAIT_SECONDS,
    ) -> Message:
        """The first message that matches and that no earlier call returned; waits for it.

        Raises AssertionError, with what came instead.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                for index, message in enumerate(self._messages):
                    if index not in self._taken and matches(message):
                        self._taken.add(index)
                        return message
                left = deadline - time.monotonic()
                if self._error is not None or left <= 0:
                    raise AssertionError(self._nothing(timeout_seconds)) from self._error
                self._changed.wait(left)

    def _nothing(self, timeout_seconds: float) -> str:
        why = f"within {timeout_seconds:g} s" if self._error is None else f"({self._error})"
        new = [m for index, m in enumerate(self._messages) if index not in self._taken]
        came = "".join(f"\n  {m.stream} {m.kind or 'push'} {m.data!r}" for m in new)
        return f"no message that matches came {why}; others that came:{came or ' none'}"

    # --- Life -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Raises what keeps the client from connecting."""
        self._client.start()
        try:
            self._client.wait_connected(WAIT_SECONDS)
        except BaseException:
            self._client.close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session. What came stays readable."""
        self._client.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _receive(self) -> None:
        try:
            for message in self._client:
                with self._changed:
                    self._messages.append(message)
                    self._changed.notify_all()
        except PushError as error:  # what ended it: taken over, kicked …
            with self._changed:
                self._error = error
                self._changed.notify_all()

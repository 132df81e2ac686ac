"""Those who talk: devices in processes of their own, and a backend that does it for people."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from push.sdk.backend import PushAPI
from push.sdk.chat_types import GROUP, USER
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from tests import warm
from tests.faults import chatting
from tests.faults.chat_audit import Said
from tests.faults.chatting import Plan
from tests.faults.processes import Daemon, Process
from tests.waiting import DEADLINE_SECONDS

AFTER_A_FAILURE_SECONDS = 0.1


class Talkers(Process):
    """Devices in one process; see `chatting.Device` for what they are told."""

    def __init__(self, name: str, folder: Path, plan: Plan) -> None:
        super().__init__(name)
        self._plan_path = folder / f"{name}.json"
        self._plan_path.write_bytes(msgspec.json.encode(plan))
        self._log = folder / f"{name}.log"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = warm.start(
                [sys.executable, chatting.__file__, str(self._plan_path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def tell(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()


class Lane:
    """A thread that does one thing after the other over HTTP, each until its answer is clear."""

    def __init__(self, door: Daemon, key: str, name: str, said: Said, pace_seconds: float) -> None:
        self._api = PushAPI(door.http_url, key, timeout=DEADLINE_SECONDS, retries=0)
        self._name = name
        self._said = said
        self._pace_seconds = pace_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._number = 0

    def until_clear(self, act: Callable[[], object]) -> object:
        """What `act` answers; raises its `PushAPIError` when that is a refusal."""
        while True:
            try:
                return act()
            except PushAPIError as error:
                if error.status != 503:
                    raise
            except PushAPIUnreachable:
                pass
            self._said.unclear += 1
            self._stop.wait(AFTER_A_FAILURE_SECONDS)

    def say(self, user: str, conversation: str) -> None:
        """As `user`; now and then once more when it was answered already."""
        self._number += 1
        client_id = f"{self._name}-{self._number}"
        self._said.ask(user, client_id, conversation)
        for _ in range(2 if self._number % 5 == 0 else 1):
            try:
                sent = self.until_clear(lambda: self._send(user, conversation, client_id))
            except PushAPIError as error:
                self._said.refused(client_id, error.code)
            else:
                self._said.answered(client_id, sent.id, sent.conversation, sent.seq)  # type: ignore[attr-defined]

    def _send(self, user: str, conversation: str, client_id: str) -> object:
        if conversation.startswith(GROUP):
            group = conversation.removeprefix(GROUP)
            return self._api.send_to_group(group, user, client_id, client_id=client_id)
        peer = conversation.removeprefix(USER)
        return self._api.send_to_user(peer, user, client_id, client_id=client_id)

    def add(self, group: str, user: str) -> None:
        results = self.until_clear(lambda: self._api.add_members(group, [user]))
        assert results.results[user] in ("ok", "already_exists"), results  # type: ignore[attr-defined]

    def remove(self, group: str, user: str, *, leaves: bool) -> None:
        by = user if leaves else None
        try:
            self.until_clear(lambda: self._api.remove_member(group, user, by=by))
        except PushAPIError as error:
            if error.code not in ("not_found", "not_member"):  # an unclear one had done it
                raise

    def begin(self, step: Callable[[Lane], None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(step,), daemon=True)
        self._thread.start()

    def _run(self, step: Callable[[Lane], None]) -> None:
        try:
            while not self._stop.wait(self._pace_seconds):
                step(self)
        except BaseException as error:
            self._error = error

    def tell_end(self) -> None:
        self._stop.set()

    def end(self) -> None:
        if self._thread is not None:
            self._thread.join(DEADLINE_SECONDS + 10)
            assert not self._thread.is_alive(), f"{self._name} never ended"
        self._api.close()
        if self._error is not None:
            raise self._error

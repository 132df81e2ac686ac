"""One client of kazoo, used from the reactor's thread.

The only module that knows kazoo's threads. Calls go out as kazoo's `*_async`, which only queue a
request; answers, watches and changes of state come in kazoo's threads, and each does one thing
there: `callFromThread`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kazoo.client import KazooClient, KazooState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.cluster.registry.interface import RegistryUnavailable
from push.runtime.ports import Reactor
from push.runtime.tasks import within

log = Logger()

CALL_SECONDS = 5.0


class _Event(Protocol):
    """kazoo's WatchedEvent, of what is used here; kazoo has no types."""

    path: str | None


class _AsyncResult(Protocol):
    """kazoo's AsyncResult, in the same way."""

    value: object
    exception: BaseException

    def successful(self) -> bool: ...

    def rawlink(self, callback: Callable[[_AsyncResult], None]) -> None: ...


class ReactorKazoo:
    """A client for the servers `hosts`. `digest`: "user:password" of the owner of its nodes.

    `on_state(client, is_connected, is_lost)` is called with each change of the connection, and
    `on_watch(path)` when a watch fires; without a path, because the connection ended.
    """

    def __init__(
        self,
        reactor: Reactor,
        hosts: str,
        *,
        session_seconds: float,
        digest: str,
        options: Mapping[str, Any],
        on_state: Callable[[ReactorKazoo, bool, bool], None],
        on_watch: Callable[[str | None], None],
    ) -> None:
        _quieten_kazoo()
        self._reactor = reactor
        self._hosts = hosts
        self._on_state = on_state
        self._on_watch = on_watch
        more: dict[str, Any] = {"check_hostname": True} | dict(options)
        if digest:
            more["auth_data"] = [("digest", digest)]
        self._client = KazooClient(
            hosts=hosts,
            timeout=session_seconds,
            default_acl=CREATOR_ALL_ACL if digest else OPEN_ACL_UNSAFE,
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 2.0},
            **more,
        )
        # It runs in a thread of kazoo. A listener that called ZooKeeper would wait for itself.
        self._client.add_listener(lambda state: reactor.callFromThread(self._state_changed, state))

    def start(self) -> None:
        self._client.start_async()

    def start_ending(self) -> Deferred[None]:
        """Close the session. That may take its ten seconds, in a thread of its own that does not
        hold up the end of the process. It cannot be cancelled, and the Deferred never fails."""
        ended: Deferred[None] = Deferred()

        def end() -> None:
            try:
                self._client.stop()
                self._client.close()
            except Exception as error:  # its session lapses by itself
                self._reactor.callFromThread(log.debug, "kazoo's end: {error}", error=repr(error))
            self._reactor.callFromThread(ended.callback, None)

        threading.Thread(target=end, name="zookeeper-end", daemon=True).start()
        return ended

    @property
    def session_id(self) -> int | None:
        """The id of the session, when there is one; nodes of the session have it as their owner."""
        id_and_password = self._client.client_id
        return None if id_and_password is None else int(id_and_password[0])

    async def ask(self, method: str, *arguments: object, **options: object) -> Any:
        """The result of one of kazoo's `*_async`. Raises kazoo's error, or `RegistryUnavailable`
        when there is no answer in time."""
        return await self._answer(getattr(self._client, method)(*arguments, **options))

    async def replace(self, path: str, data: bytes, version: int) -> list[object]:
        """Delete a node of that version and make it again for this session, in one step. Returns
        the outcomes, exceptions among them."""
        transaction = self._client.transaction()
        transaction.delete(path, version)
        transaction.create(path, data, ephemeral=True)
        outcomes: list[object] = await self._answer(transaction.commit_async())
        return outcomes

    def watch(self, event: _Event) -> None:
        """In kazoo's thread. One bound method for all watches, so that kazoo keeps each once."""
        self._reactor.callFromThread(self._on_watch, event.path)

    def _state_changed(self, state: str) -> None:
        self._on_state(self, state == KazooState.CONNECTED, state == KazooState.LOST)

    def _answer(self, result: _AsyncResult) -> Deferred[Any]:
        """kazoo's result or exception in the reactor's thread."""
        answer: Deferred[Any] = Deferred()

        def deliver(result: _AsyncResult) -> None:
            if answer.called:
                return
            if result.successful():
                answer.callback(result.value)
            else:
                answer.errback(result.exception)

        result.rawlink(lambda r: self._reactor.callFromThread(deliver, r))
        return within(CALL_SECONDS, self._reactor, answer, self._late)

    def _late(self) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"ZooKeeper at {self._hosts} gave no answer in {CALL_SECONDS:g} s"
        )


def last_warning() -> str:
    """Why kazoo does not connect, which only its log says; "" when it gave no warning."""
    return _KazooLog.last_warning


class _KazooLog(logging.Handler):
    """Passes kazoo's own log on as debug: the registry logs what matters of it, in one line."""

    last_warning = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            _KazooLog.last_warning = text.removeprefix("Connection dropped: ")
        log.debug("kazoo: {line}", line=text, event="zookeeper.client")


def _quieten_kazoo() -> None:
    kazoo = logging.getLogger("kazoo")
    if not any(isinstance(handler, _KazooLog) for handler in kazoo.handlers):
        kazoo.addHandler(_KazooLog())
        kazoo.propagate = False

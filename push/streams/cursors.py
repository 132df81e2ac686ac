"""Cursors are written in batches: every 50 ms, or 500 at once (design, rule 4).

A crash in between delivers again, it never loses. The script that moves a cursor also tells whether
the session still is the device's: that is how a connector learns that a session was taken over.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.session.window import Follow
from push.store.errors import StoreUnavailable
from push.store.scripts import load_script
from push.store.server import RedisServer
from push.streams.names import is_device_stream, log_name, record_name

log = Logger()

FLUSH_SECONDS = 0.05
FLUSH_CURSORS = 500
RETRY_SECONDS = 1.0

_script = load_script("push.streams", "cursors")


class Holder(Protocol):
    """Whose cursors these are: a device's session."""

    @property
    def token(self) -> str | None: ...

    @property
    def session_id(self) -> str: ...


class CursorWriter:
    """Stores the cursors of a connector's sessions on one server.

    `on_lost(holder)` is called for a session that is not its device's any more.
    """

    def __init__(self, reactor: Any, server: RedisServer, on_lost: Callable[[Any], None]) -> None:
        self._reactor = reactor
        self._server = server
        self._on_lost = on_lost
        self._moved: dict[Follow, Holder] = {}
        self._call: Any = None
        self._writing: Deferred[bool] | None = None
        self._failed = False
        self._stopped = False

    def moved(self, holder: Holder, follow: Follow) -> None:
        """`follow.cursor` moved and is to be stored."""
        if holder.token is None or self._stopped:
            return
        self._moved[follow] = holder
        if self._writing is not None or self._failed:
            return  # the end of the write, or the next attempt, sees to it
        if len(self._moved) >= FLUSH_CURSORS:
            self._start()
        elif self._call is None:
            self._call = self._reactor.callLater(FLUSH_SECONDS, self._start)

    async def flush(self) -> None:
        """Store all that moved so far; returns when it is stored or Redis is away."""
        # First in, first out: so many batches hold all that waits now, whatever comes meanwhile.
        batches = -(-len(self._moved) // FLUSH_CURSORS) + (self._writing is not None)
        for _ in range(batches):
            if self._writing is None and not self._moved:
                return
            writing = self._writing or self._start()
            waiter: Deferred[bool] = Deferred()
            writing.addBoth(_pass_on, waiter)
            if not await waiter:
                return

    async def stop(self) -> None:
        await self.flush()
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _start(self) -> Deferred[bool]:
        """Write a batch; the result tells whether it was stored."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        batch = dict(islice(self._moved.items(), FLUSH_CURSORS))
        for follow in batch:
            del self._moved[follow]
        writing = self._writing = Deferred.fromCoroutine(self._write(batch))
        writing.addErrback(_log_failure)
        writing.addCallback(self._written)
        return writing

    def _written(self, stored: bool) -> bool:
        self._writing = None
        self._failed = not stored
        if stored and len(self._moved) >= FLUSH_CURSORS:
            self._start()
        elif self._moved and self._call is None and not self._stopped:
            delay_seconds = FLUSH_SECONDS if stored else RETRY_SECONDS
            self._call = self._reactor.callLater(delay_seconds, self._start)
        return stored

    async def _write(self, batch: dict[Follow, Holder]) -> bool:
        server = self._server
        keys: list[str] = []
        arguments: list[str | int] = []
        holders = list(batch.values())
        for follow, holder in batch.items():
            assert holder.token is not None
            own_log = is_device_stream(follow.stream)
            keys.append(server.key(record_name(holder.token)))
            keys.append(server.key(log_name(follow.stream)) if own_log else "")
            arguments += [holder.session_id, follow.stream, follow.cursor]
        try:
            lost = await server.run(_script, keys, arguments)
        except StoreUnavailable as error:
            log.debug("Cursors kept for later: {reason}", reason=error.reason)
            for follow, holder in batch.items():
                self._moved.setdefault(follow, holder)
            return False
        for number in lost:
            self._on_lost(holders[number - 1])
        return True


def _pass_on(result: Any, waiter: Deferred[Any]) -> Any:
    waiter.callback(result)
    return result


def _log_failure(failure: Any) -> bool:
    """The batch is given up: its messages come again."""
    log.failure("Cursors could not be written", failure=failure)
    return True

"""Writes that nobody waits for are replayed to a new master (architecture, rule 11).

What a caller waits for is answered once replicas have it. What a connector stores by itself, as
cursors, is done when the master has done it; a master that is killed then may take it with it, and
nobody would run it again. So such calls are kept until replicas have them, and replayed, in
their order, on every new connection. Their scripts do nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import txredisapi
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.replies import Argument
from push.redis.scripts import Script
from push.runtime.ports import Clock
from push.runtime.tasks import Semaphore
from push.runtime.timers import Debounced, SingleFlight

log = Logger()

# The arguments of a script when it is replayed; or what makes them of the first answer.
Replay = Sequence[Argument] | Callable[[Any], Sequence[Argument]]

CONFIRM_SECONDS = 1.0
MAX_KEPT_BYTES = 16 * 1024 * 1024  # while there is no replica for long, the oldest go


class ReplicatedServer(Protocol):
    """What is needed of a `RedisClient`."""

    @property
    def connections(self) -> tuple[object, ...]: ...

    async def is_on_replicas(self) -> bool: ...

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any: ...

    def on_restored(self, callback: Callable[[], None]) -> None: ...


class _Call(NamedTuple):
    script: Script
    arguments: Sequence[Argument]
    size_bytes: int


class ReplayedWrites:
    """Those of one server that has replicas."""

    def __init__(self, reactor: Clock, server: ReplicatedServer) -> None:
        self._server = server
        self._kept: dict[int, _Call] = {}  # by number, in the order in which they were answered
        self._kept_bytes = 0
        self._number = 0
        self._replayed_to: tuple[object, ...] = ()  # the connections that had all that is kept
        self._turns = Semaphore(1)
        self._looks = SingleFlight(self._look, _log_failure)
        self._look_soon = Debounced(reactor, CONFIRM_SECONDS, self._looks.request)
        server.on_restored(self._restored)

    def __len__(self) -> int:
        """How many calls are kept."""
        return len(self._kept)

    async def run(self, script: Script, arguments: Sequence[Argument], replay: Replay) -> Any:
        """What the script returns, once the master has run it. It is kept to be replayed. Raises
        `StoreUnavailable`: nothing is kept then.
        """
        await self.replay()  # first: the call of now may be later than that
        connections = self._server.connections
        answer = await self._server.run(script, [], arguments)
        kept = replay(answer) if callable(replay) else replay
        self._keep(_Call(script, kept, sum(_size(part) for part in kept)), connections)
        return answer

    def stop(self) -> None:
        self._look_soon.cancel()
        self._looks.cancel()

    def _keep(self, call: _Call, connections: tuple[object, ...]) -> None:
        if not self._kept:
            self._replayed_to = connections
        elif connections != self._replayed_to:
            self._replayed_to = ()
        self._number += 1
        self._kept[self._number] = call
        self._kept_bytes += call.size_bytes
        self._look_soon.request()
        if self._kept_bytes > MAX_KEPT_BYTES:
            log.warn(
                "No replica confirms what is written: if the master is lost now, counts of the "
                "ledger may be too low",
                event="redis.retold_dropped",
            )
            while self._kept_bytes > MAX_KEPT_BYTES // 2:
                self._forget(next(iter(self._kept)))

    def _forget(self, number: int) -> None:
        call = self._kept.pop(number, None)
        if call is not None:
            self._kept_bytes -= call.size_bytes

    def _restored(self) -> None:
        if self._kept:
            self._looks.request()

    async def _look(self) -> None:
        """Forget what replicas have; replay to a new master what it may not have."""
        try:
            await self.replay()
            last, connections = self._number, self._server.connections
            confirmed = await self._server.is_on_replicas()
            if confirmed and connections == self._server.connections == self._replayed_to:
                for number in [number for number in self._kept if number <= last]:
                    self._forget(number)
        except StoreUnavailable as error:
            log.debug(
                "Writes are not replayed to the new master yet; tried again: {reason}",
                reason=error.reason,
                event="redis.not_retold",
            )
        if self._kept:
            self._look_soon.request()

    async def replay(self) -> None:
        """Return when the master of now has all that is kept. Raises `StoreUnavailable`."""
        if not self._kept or self._replayed_to == self._server.connections:
            return
        async with self._turns:
            connections: tuple[object, ...] = ()
            while self._kept and self._replayed_to != self._server.connections:
                connections = self._server.connections
                for number, call in [*self._kept.items()]:
                    await self._replay_call(number, call)
                if connections == self._server.connections:
                    self._replayed_to = connections

    async def _replay_call(self, number: int, call: _Call) -> None:
        try:
            await self._server.run(call.script, [], call.arguments)
        except txredisapi.RedisError:
            log.failure(
                "A write could not be replayed to the new master", event="redis.retelling_failed"
            )
            self._forget(number)


def _size(part: Argument) -> int:
    return len(part) if isinstance(part, str | bytes) else 8


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Writes could not be replayed to the new master",
        failure=failure,
        event="redis.retelling_failed",
    )

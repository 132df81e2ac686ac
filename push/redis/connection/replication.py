"""Writes that are answered only once replicas have them (architecture, rule 11).

Behind the writes of one turn of the reactor goes one `WAIT`. It blocks its connection, which is
therefore one of its own, and there is one at a time: what is written meanwhile is covered by the
next. Before it goes a small write: `WAIT` promises something of its own connection's writes only,
and a script that finds its work done already (the same idempotency key again) writes nothing, while
what it found may not be on a replica yet. (Redis 6.2 does count whatever came before the
connection's last command; that is nowhere promised.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import txredisapi
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.connection.protocols import CommandProtocol
from push.redis.connection.replies import parsed_info
from push.runtime.ports import Clock
from push.runtime.timers import Debounced, SingleFlight

log = Logger()

LEAST_REPLICAS = 1
COUNT_SECONDS = 1.0
MAX_LAG_SECONDS = 2  # a replica tells of itself every second


class ReplicaAcks:
    """Asks the server of one connection whether its replicas have what was written on it.

    All that are well must: sentinels may make a master of any of them, and what only another one
    had would be lost then. One that hangs or left is waited for until that is noticed; one replica
    at least must be there. `key` is written to. After `patience_ms` the answer is no.
    """

    def __init__(
        self, reactor: Clock, protocol: CommandProtocol, key: str, patience_ms: int
    ) -> None:
        self._reactor = reactor
        self._protocol = protocol
        self._key = key
        self._patience_ms = patience_ms
        self._waiting: list[Deferred[bool]] = []
        self._asking = SingleFlight(self._ask, _log_failure)
        self._soon = Debounced(reactor, 0, self._asking.request)
        self._replicas = LEAST_REPLICAS
        self._counted_at: float | None = None

    def start_confirming(self) -> Deferred[bool]:
        """Whether a replica has a write in time. It is called in the turn of the write, which the
        caller then waits for first. Does not fail; `stop` answers no to all that wait.
        """
        waiter: Deferred[bool] = Deferred()
        self._waiting.append(waiter)
        self._soon.request()
        return waiter

    def stop(self) -> None:
        """Nobody has an answer any more."""
        self._soon.cancel()
        self._asking.cancel()
        waiting, self._waiting = self._waiting, []
        _answer(waiting, False)

    async def _ask(self) -> None:
        waiting, self._waiting = self._waiting, []
        confirmed = False
        try:
            confirmed = await self._is_on_replicas()
        finally:
            _answer(waiting, confirmed)

    async def _is_on_replicas(self) -> bool:
        try:
            await self._count_now_and_then()
            mark = self._protocol.call("SET", self._key, "1")
            count = self._protocol.call("WAIT", self._replicas, self._patience_ms)
            (marked, _), (counted, replicas) = await DeferredList([mark, count], consumeErrors=True)
            if not marked or not counted:
                return False
            if replicas < self._replicas:
                await self._count()  # fewer may be well by now
            return bool(replicas >= self._replicas)
        except txredisapi.RedisError:
            return False

    async def _count_now_and_then(self) -> None:
        now = self._reactor.seconds()
        if self._counted_at is None or now - self._counted_at >= COUNT_SECONDS:
            await self._count()

    async def _count(self) -> None:
        self._counted_at = self._reactor.seconds()
        info = parsed_info(await self._protocol.call("INFO", "replication"))
        self._replicas = max(LEAST_REPLICAS, replicas_that_are_well(info))


def replicas_that_are_well(info: Mapping[str, str]) -> int:
    """How many replicas are connected, synced and lately active, by what their master says."""
    well = 0
    for name, value in info.items():
        if not re.fullmatch(r"slave\d+", name):
            continue
        fields = dict(part.partition("=")[::2] for part in value.split(","))
        lag = fields.get("lag", "")
        if fields.get("state") == "online" and lag.isdigit() and int(lag) <= MAX_LAG_SECONDS:
            well += 1
    return well


def _answer(waiting: list[Deferred[bool]], confirmed: bool) -> None:
    for waiter in waiting:
        waiter.callback(confirmed)


def _log_failure(failure: Failure) -> None:
    log.failure("Replicas could not be waited for", failure=failure, event="redis.replicas_failed")

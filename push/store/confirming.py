"""Writes that are answered only once a replica has them (design, rule 11).

Behind the writes of one turn of the reactor goes one `WAIT`. It blocks its connection, which is
therefore one of its own, and there is one at a time: what is written meanwhile is covered by the
next. Before it goes a small write: `WAIT` promises something of its own connection's writes only,
and a script that finds its work done already (the same idempotency key again) writes nothing, while
what it found may not be on a replica yet. (Redis 6.2 does count whatever came before the
connection's last command; that is nowhere promised.)
"""

from __future__ import annotations

from typing import Any

import txredisapi
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.store.connection import CommandProtocol
from push.store.jobs import Jobs

log = Logger()

REPLICAS = 1


class Confirmations:
    """Asks the server of one connection whether a replica has what was written on it.

    `key` is written to. After `patience_ms` the answer is no.
    """

    def __init__(self, reactor: Any, speaker: CommandProtocol, key: str, patience_ms: int) -> None:
        self._reactor = reactor
        self._speaker = speaker
        self._key = key
        self._patience_ms = patience_ms
        self._waiting: list[Deferred[bool]] = []
        self._flush_call: Any = None
        self._jobs = Jobs()
        self._asking = False

    def wanted(self) -> Deferred[bool]:
        """Call it in the turn of a write: whether a replica has it in time. Does not fail."""
        waiter: Deferred[bool] = Deferred()
        self._waiting.append(waiter)
        if self._flush_call is None and not self._asking:
            self._flush_call = self._reactor.callLater(0, self._flush)
        return waiter

    def stop(self) -> None:
        """Nobody has an answer any more."""
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush_call = None
        waiting, self._waiting = self._waiting, []
        _answer(waiting, False)

    def _flush(self) -> None:
        self._flush_call = None
        self._asking = True
        self._jobs.run(self._ask(), _log_failure)

    async def _ask(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            _answer(waiting, await self._is_on_a_replica())
        self._asking = False

    async def _is_on_a_replica(self) -> bool:
        try:
            mark = self._speaker.call("SET", self._key, "1")
            count = self._speaker.call("WAIT", REPLICAS, self._patience_ms)
        except txredisapi.ConnectionError:
            return False
        (marked, _), (counted, replicas) = await DeferredList([mark, count], consumeErrors=True)
        return bool(marked and counted and replicas >= REPLICAS)


def _answer(waiting: list[Deferred[bool]], confirmed: bool) -> None:
    for waiter in waiting:
        waiter.callback(confirmed)


def _log_failure(failure: Failure) -> None:
    log.failure("Replicas could not be waited for", failure=failure)

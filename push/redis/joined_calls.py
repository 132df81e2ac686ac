"""What many ask one script for at about the same time goes to Redis as one call.

A call costs the client, the kernel and Redis (which makes the functions of a script again for each,
and waits for the disk after it) several times what it does. So what is asked for in one turn of the
reactor goes together, and what is asked for during a call waits for its answer, unless it fills a
call by itself. What each caller asked for stays its own: its deadline, its answer and its failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import txredisapi
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.errors import StoreUnavailable, for_another
from push.redis.connection.replies import Argument
from push.redis.scripts import Script
from push.runtime.timers import Debounced

log = Logger()

# Of one call: Redis does nothing else meanwhile. An item may count as several.
MAX_ITEMS = 100
MAX_BYTES = 256 * 1024

_LATE = b"late"
_FAILURES = (_LATE, b"failed")

_encode = msgspec.msgpack.Encoder().encode


class JoinedItem(Protocol):
    """What is asked for, as the script gets it by msgpack. `waited_us`: how long it has waited to
    be sent; its deadline is so much earlier than that of the call."""

    waited_us: int


Item = TypeVar("Item", bound=JoinedItem)
# Called once, with the reply to an item or with what the call ended in. It raises nothing.
Answered = Callable[[Any], None]
# What of an item, by its reply, is told to a new master (see `ReplayedWrites`); None: nothing.
Again = Callable[[Item, list[Any]], Item | None]


class _Asked(msgspec.Struct, Generic[Item], frozen=True):
    item: Item
    asked_at: float
    answered: Answered
    weight: int


class JoinedCalls(Generic[Item]):
    """Calls of `script` on `server`: with `arguments`, and then the items.

    The script answers with a reply to each item: its own, `{'late'}`, or `{'failed', why}`.
    `durable`: as in `RedisClient.run`. `again` None: nothing is told to a new master, as where the
    server has no replicas. `max_items`: of one call, where one may take long.
    """

    def __init__(
        self,
        server: RedisClient,
        script: Script,
        *arguments: Argument,
        durable: bool = False,
        again: Again[Item] | None = None,
        max_items: int = MAX_ITEMS,
    ) -> None:
        self._server = server
        self._script = script
        self._arguments = arguments
        self._durable = durable
        self._again = again if server.is_replicated else None
        self._max_items = max_items
        self._asked: list[_Asked[Item]] = []
        self._unanswered = 0  # calls
        self._end_of_turn = Debounced(server.reactor, 0, self._send)

    def ask(self, item: Item, answered: Answered, weight: int = 1) -> None:
        """`answered` gets the reply, or `StoreUnavailable`, or an error that is our own fault.
        `weight`: as how many items it counts."""
        self._asked.append(_Asked(item, self._server.reactor.seconds(), answered, weight))
        if not self._unanswered or len(self._asked) >= self._max_items:
            self._end_of_turn.request()

    def _send(self) -> None:
        for asked, arguments in self._parts():
            self._unanswered += 1
            call = Deferred.fromCoroutine(self._call(asked, arguments))
            call.addBoth(self._ended).addErrback(_log_failure)

    def _ended(self, result: Failure | None) -> Failure | None:
        self._unanswered -= 1
        if self._asked and not self._unanswered:
            self._end_of_turn.request()
        return result

    def _parts(self) -> Iterator[tuple[list[_Asked[Item]], list[bytes]]]:
        """What was asked for, in order, with its encoding: as much as goes into one call each."""
        all_asked, self._asked = self._asked, []
        now = self._server.reactor.seconds()
        asked: list[_Asked[Item]] = []
        arguments: list[bytes] = []
        left_bytes, left_items = MAX_BYTES, self._max_items
        for each in all_asked:
            each.item.waited_us = int((now - each.asked_at) * MICROSECONDS)
            argument = _encode(each.item)
            if asked and (each.weight > left_items or len(argument) > left_bytes):
                yield asked, arguments
                asked, arguments = [], []
                left_bytes, left_items = MAX_BYTES, self._max_items
            asked.append(each)
            arguments.append(argument)
            left_bytes -= len(argument)
            left_items -= each.weight
        if asked:
            yield asked, arguments

    async def _call(self, asked: list[_Asked[Item]], items: list[bytes]) -> None:
        server, script, arguments = self._server, self._script, [*self._arguments, *items]
        replies: list[list[Any]]
        try:
            if self._again is None:
                replies = await server.run(script, [], arguments, durable=self._durable)
            else:
                replayed = partial(self._told_again, self._again, asked)
                replies = await server.replayed.run(script, arguments, replayed)
            if len(replies) != len(asked):
                raise ValueError(f"{len(replies)} answers to {len(asked)} items")
        except Exception as error:
            for each in asked:
                each.answered(for_another(error))
        else:
            for each, reply in zip(asked, replies, strict=True):
                each.answered(self._failure(reply) if reply[0] in _FAILURES else reply)

    def _told_again(
        self, again: Again[Item], asked: list[_Asked[Item]], replies: list[list[Any]]
    ) -> list[Argument]:
        items = [again(each.item, reply) for each, reply in zip(asked, replies, strict=True)]
        return [*self._arguments, *(_encode(item) for item in items if item is not None)]

    def _failure(self, reply: list[Any]) -> Exception:
        if reply[0] == _LATE:
            return StoreUnavailable(
                f"Redis at {self._server.address} did not run {self._script.name} in time"
            )
        why = self._script.explain(reply[1].decode("utf-8", "replace"))
        text = f"{self._script.name}: {why}"
        return self._server.as_our_error(text, txredisapi.ResponseError(text))


def answer_of(calls: JoinedCalls[Item], item: Item) -> Deferred[Any]:
    """The reply to `item`; fails as `RedisClient.run` raises."""
    answer: Deferred[Any] = Deferred()

    def answered(reply: Any) -> None:
        if isinstance(reply, Exception):
            answer.errback(reply)
        else:
            answer.callback(reply)

    calls.ask(item, answered)
    return answer


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Answers of Redis could not be given to their callers",
        failure,
        event="redis.answers_failed",
    )

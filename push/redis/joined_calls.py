"""What many ask one script for at about the same time goes to Redis as one call.

A call costs the client, the kernel and Redis (which makes the functions of a script again for each,
and waits for the disk after it) several times what it does. So what is asked for in one turn of the
reactor goes together, and what is asked for during a call waits for its answer, unless it fills a
call by itself. What each caller asked for stays its own: its deadline, its answer and its failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from push.runtime.tasks import start
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
# What of an item, by its reply, is replayed to a new master (see `ReplayedWrites`); None: nothing.
Replayed = Callable[[Item, list[Any]], Item | None]


class _Asked(Generic[Item]):
    """What one caller asks for. `missing` of the `replies`, in the order of `items`, are still to
    come; `answered` fires with the last."""

    __slots__ = ("answered", "asked_at", "items", "missing", "replies")

    def __init__(self, items: Sequence[Item], asked_at: float) -> None:
        self.items = items
        self.asked_at = asked_at
        self.missing = len(items)
        self.replies: list[Any] = [None] * len(items)
        self.answered: Deferred[list[Any]] = Deferred()


_Place = tuple[_Asked[Item], int]  # of an item among those of its caller


class JoinedCalls(Generic[Item]):
    """Calls of `script` on `server`: with `arguments`, and then the items.

    The script answers with a reply to each item: its own, `{'late'}`, or `{'failed', why}`.
    `durable`: as in `RedisClient.run`. `replayed` None: nothing is replayed to a new master, as
    where the server has no replicas. `max_items`: of one call, where one may take long. `weight_of`
    an item: as how many it counts.
    """

    def __init__(
        self,
        server: RedisClient,
        script: Script,
        *arguments: Argument,
        durable: bool = False,
        replayed: Replayed[Item] | None = None,
        max_items: int = MAX_ITEMS,
        weight_of: Callable[[Item], int] = lambda item: 1,
    ) -> None:
        self._server = server
        self._script = script
        self._arguments = arguments
        self._durable = durable
        self._replayed = replayed if server.is_replicated else None
        self._max_items = max_items
        self._weight_of = weight_of
        self._waiting: list[_Asked[Item]] = []
        self._waiting_items = 0
        self._unanswered = 0  # calls
        self._turn_end = Debounced(server.reactor, 0, self._send)

    def ask(self, items: Sequence[Item]) -> Deferred[list[Any]]:
        """Fires with the reply to each (one at least), or in its place `StoreUnavailable` or an
        error that is our own fault."""
        asked = _Asked(items, self._server.reactor.seconds())
        self._waiting.append(asked)
        self._waiting_items += len(items)
        fills_a_call = self._waiting_items >= self._max_items
        if fills_a_call or not self._unanswered:
            self._turn_end.request()
        return asked.answered

    def _send(self) -> None:
        """All that was asked for, in order: as much as goes into one call each."""
        waiting, self._waiting = self._waiting, []
        self._waiting_items = 0
        now = self._server.reactor.seconds()
        places: list[_Place[Item]] = []
        arguments = [*self._arguments]
        left_bytes, left_items = MAX_BYTES, self._max_items
        for asked in waiting:
            try:
                for item in asked.items:
                    item.waited_us = int((now - asked.asked_at) * MICROSECONDS)
                encoded = [(_encode(item), self._weight_of(item)) for item in asked.items]
            except Exception as error:  # the others have theirs
                if not asked.answered.called:
                    asked.answered.errback(error)
                continue
            for place, (argument, weight) in enumerate(encoded):
                if places and (weight > left_items or len(argument) > left_bytes):
                    start(self._call(places, arguments), _log_failure)
                    places, arguments = [], [*self._arguments]
                    left_bytes, left_items = MAX_BYTES, self._max_items
                places.append((asked, place))
                arguments.append(argument)
                left_bytes -= len(argument)
                left_items -= weight
        if places:
            start(self._call(places, arguments), _log_failure)
            self._server.flush()

    async def _call(self, places: list[_Place[Item]], arguments: list[Argument]) -> None:
        server, script = self._server, self._script
        self._unanswered += 1
        replies: list[Any]
        try:
            replay = self._replayed and partial(self._arguments_of_replay, self._replayed, places)
            replies = await server.run(script, [], arguments, durable=self._durable, replay=replay)
            if len(replies) != len(places):
                raise ValueError(f"{len(replies)} answers to {len(places)} items")
        except Exception as error:
            replies = [for_another(error) for _ in places]
        self._unanswered -= 1
        if self._waiting and not self._unanswered:
            self._turn_end.request()
        for (asked, place), reply in zip(places, replies, strict=True):
            is_failure = isinstance(reply, list) and reply[0] in _FAILURES
            asked.replies[place] = self._failure(reply) if is_failure else reply
            asked.missing -= 1
            if not asked.missing and not asked.answered.called:  # nobody has cancelled it
                asked.answered.callback(asked.replies)

    def _arguments_of_replay(
        self, replayed: Replayed[Item], places: list[_Place[Item]], replies: list[list[Any]]
    ) -> list[Argument]:
        items = [
            replayed(asked.items[place], reply)
            for (asked, place), reply in zip(places, replies, strict=True)
        ]
        return [*self._arguments, *(_encode(item) for item in items if item is not None)]

    def _failure(self, reply: list[Any]) -> Exception:
        if reply[0] == _LATE:
            return StoreUnavailable(
                f"Redis at {self._server.address} did not run {self._script.name} in time"
            )
        why = self._script.explain(reply[1].decode("utf-8", "replace"))
        text = f"{self._script.name}: {why}"
        return self._server.as_our_error(text, txredisapi.ResponseError(text))


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Answers of Redis could not be given to their callers",
        failure,
        event="redis.answers_failed",
    )

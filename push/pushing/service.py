"""Pushing: targets become streams, and the streams are written, once for each request."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Hashable, Sequence
from typing import TypeVar

import msgspec
from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.observe.recent import PushEvents
from push.pushing.by_ip import Handed, PushByIp
from push.pushing.content import PushContent, encoded
from push.pushing.outcomes import end_span, receipt_of, result_of_item
from push.pushing.targets import GUARDS, Target, as_asked, as_in_a_query, as_target, streams_of
from push.redis.keyspace import ENTRY_MESSAGE, ENTRY_ONLINE
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.log_detail import detail
from push.runtime.owner_queue import FairSemaphore
from push.runtime.tasks import gather, only
from push.runtime.tracing import PUBLISH, Span, Tracer
from push.streams.ledger import DeliveryCounts, DeviceLine, Ledger
from push.streams.publisher import (
    UNKNOWN_TARGET,
    IdempotencyKey,
    IdempotencyMismatch,
    Published,
    Publisher,
    StreamMessage,
    by_server,
)
from push.wire.api.push import PushResult
from push.wire.api.push_targets import TARGET_OF_NAME
from push.wire.errors import RequestError
from push.wire.idents import Snowflake

log = Logger()

Done = TypeVar("Done")

# After a push to at most so many streams, large ones (parts of batches, too) go two at a time: so
# Redis answers everybody else between them, and need not wait for the next one. Where there is
# nobody else, all at once cost less.
FEW_STREAMS = 50
LARGE_PUSHES_IN_LINE = 500
LARGE_PUSHES_AT_A_TIME = 2

_cancel = load_script("streams", "cancel")
_encode = msgspec.json.Encoder().encode


class Push(msgspec.Struct, frozen=True):
    """One request. `idempotency_key`: its key, unique to its owner; None when it has none.
    `trace`: the traceparent of the request."""

    target: Target
    content: PushContent
    idempotency_key: str | None = None
    trace: str | None = None


class _Begun(msgspec.Struct, frozen=True):
    """A push, and its message. `is_new` False: one before it had the key.

    `span` None: it is not traced.
    """

    push: Push
    message: StreamMessage
    idempotency_key: IdempotencyKey | None
    span: Span | None
    is_new: bool = True


class PushService:
    """Accepts pushes, tells what became of them, and takes them back.

    `by_ip` None: nobody can be reached by address here. `push_events` gets each push. `tracer`
    None: nothing is traced.
    """

    def __init__(
        self,
        shards: Shards,
        publisher: Publisher,
        snowflake: Snowflake,
        by_ip: PushByIp | None = None,
        push_events: PushEvents | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._by_ip = by_ip
        self._push_events = push_events
        self._shards = shards
        self._publisher = publisher
        self._snowflake = snowflake
        self._ledger = Ledger(shards)
        self._running: set[str] = set()
        self._large = FairSemaphore(LARGE_PUSHES_AT_A_TIME)
        self._in_line = 0  # of the large ones that come next
        # By the kind of their target, since the start of the process; a request that came before
        # with its key is not counted again.
        self.accepted = Counter(dict.fromkeys(TARGET_OF_NAME, 0))

    async def push(self, push: Push, owner: Hashable = None) -> PushResult:
        """Write to its streams. Of those who push, each `owner` has a turn for large pushes.

        Raises `RequestError` `unknown_token`, `unknown_group`, `in_progress` and
        `idempotency_mismatch`; and `StoreUnavailable`, after which the same idempotency key leads
        to one message all the same: the script that publishes keeps the key.
        """
        return only(await self._push_all([push], owner))

    async def push_batch(
        self, items: Sequence[Push], owner: Hashable = None
    ) -> list[PushResult | RequestError]:
        """Each item for itself, all together; what is refused is so alone.

        Messages for one stream are written in the order of the items. Of items with one key the
        later wait for the earlier, and get its answer.
        """
        keys = [item.idempotency_key for item in items if item.idempotency_key is not None]
        if len(set(keys)) == len(keys):
            return [result_of_item(outcome) for outcome in await self._push_all(items, owner)]
        results: dict[int, PushResult | RequestError] = {}
        waiting: Sequence[int] = range(len(items))
        while waiting:
            now, later = _apart(items, waiting)
            outcomes = await self._push_all([items[place] for place in now], owner)
            results.update(zip(now, map(result_of_item, outcomes), strict=True))
            waiting = later
        return [results[place] for place in range(len(items))]

    async def _push_all(
        self, pushes: Sequence[Push], owner: Hashable, *, has_waited: bool = False
    ) -> list[PushResult | Exception]:
        """What became of each. Their keys are in use until all of it is known."""
        if sum([len(push.target.names) or 1 for push in pushes]) <= FEW_STREAMS:
            self._in_line = LARGE_PUSHES_IN_LINE
        elif self._in_line and not has_waited:
            self._in_line -= 1
            async with self._large.turn(owner):
                return await self._push_all(pushes, owner, has_waited=True)
        begun = [self._begin(push) for push in pushes]
        try:
            several = len(self._shards) > 1
            claimed = await gather(map(self._claimed, begun)) if several else begun
            good = [each for each in claimed if isinstance(each, _Begun)]
            by_ip = [
                Deferred.fromCoroutine(_outcome(self._hand_out(each)))
                for each in good
                if not each.message.streams
            ]
            by_stream = [each for each in good if each.message.streams]
            outcomes = await self._publisher.publish_all([each.message for each in by_stream])
            if several:
                outcomes = await gather(map(self._released, by_stream, outcomes))
            handed, published = iter([await each for each in by_ip]), iter(outcomes)
            return [
                each
                if isinstance(each, Exception)
                else self._ended(each, next(published if each.message.streams else handed))
                for each in claimed
            ]
        finally:
            for each in begun:
                if isinstance(each, _Begun) and each.push.idempotency_key is not None:
                    self._running.discard(each.push.idempotency_key)

    def _begin(self, push: Push) -> _Begun | Exception:
        """Its message, with an id. From here on its key is in use."""
        idempotency_key = None
        if push.idempotency_key is not None:
            if push.idempotency_key in self._running:
                return RequestError(
                    "in_progress",
                    "the first request with this Idempotency-Key is still running",
                    after_seconds=1,
                )
            self._running.add(push.idempotency_key)
            # Two requests with one key must have the target and the content in common.
            digest = _digest(_encode([push.target, push.content]))
            idempotency_key = IdempotencyKey(_digest(push.idempotency_key.encode()), digest)
        span = None if self._tracer is None else self._tracer.start(PUBLISH, push.trace)
        target, content = push.target, push.content
        id = self._snowflake.next_id()
        is_stored = content.qos > 0 and content.ttl_seconds > 0
        is_acknowledged = content.qos > 0 and not is_stored
        message = StreamMessage(
            id=id,
            content=encoded(id, content).decode(),
            ttl_seconds=content.ttl_seconds,
            field=ENTRY_ONLINE if is_acknowledged else ENTRY_MESSAGE,
            streams=streams_of(target),
            guard=GUARDS.get(target.kind),
            stored=is_stored,
            to=_encode(as_asked(target)).decode(),
            collapse=content.collapse if is_stored else None,
            trace=span.traceparent if span is not None and span.is_sampled else None,
        )
        if idempotency_key is not None:
            message.idem = self._publisher.key_of_answer(idempotency_key)
            message.digest = idempotency_key.digest
        return _Begun(push, message, idempotency_key, span)

    async def _claimed(self, begun: _Begun | Exception) -> _Begun | Exception:
        """With the id that its key is for on all servers."""
        if isinstance(begun, Exception) or begun.idempotency_key is None:
            return begun
        message = begun.message
        id = await _outcome(self._publisher.claim(begun.idempotency_key, message.id))
        if isinstance(id, Exception):
            return _refused(begun, id)
        if id == message.id:
            return begun
        content = encoded(id, begun.push.content).decode()
        message = structs.replace(message, id=id, content=content)
        return structs.replace(begun, message=message, is_new=False)

    async def _released(
        self, begun: _Begun, outcome: Published | Exception
    ) -> Published | Exception:
        """The outcome. If no stream was there, another request may have the key."""
        if begun.idempotency_key is None or isinstance(outcome, Exception):
            return outcome
        if any(count != UNKNOWN_TARGET for count in outcome.connectors.values()):
            return outcome
        error = await _outcome(self._publisher.release(begun.idempotency_key))
        return outcome if error is None else error

    async def _hand_out(self, begun: _Begun) -> Handed:
        if self._by_ip is None:
            raise RequestError("unavailable", "no connector can be asked from here")
        target, content = begun.push.target, begun.push.content
        return await self._by_ip.push(
            target.names[0],
            begun.message.id,
            content,
            idempotency_key=begun.idempotency_key,
        )

    def _ended(
        self, begun: _Begun, outcome: Published | Handed | Exception
    ) -> PushResult | Exception:
        """What the push is answered with. A new message is counted."""
        if isinstance(outcome, Exception):
            return _refused(begun, outcome)
        target = begun.push.target
        result = receipt_of(target, outcome)
        if isinstance(result, Exception):
            return _refused(begun, result)
        if begun.is_new and outcome.id == begun.message.id:
            self.accepted[target.kind] += 1  # else it was when the key came first
            if self._push_events is not None:
                self._tell_of(outcome, self._push_events)
        if begun.span is not None:
            end_span(begun.span, target, result)
        if detail.debug:
            log.debug(
                "{message_id} pushed to {to}: {streams} streams, {online} online",
                message_id=result.id,
                to=target.kind,
                streams=result.streams,
                online=result.online,
                event="push.accepted",
            )
        return result

    def _tell_of(self, outcome: Published | Handed, events: PushEvents) -> None:
        named: list[str] = []
        if isinstance(outcome, Published):
            now_us = outcome.now_us
            counts = outcome.connectors.items()
            named = [as_in_a_query(stream) for stream, count in counts if count != UNKNOWN_TARGET]
        else:
            now_us = self._shards.first.clock.now_us()
        events.pushed(outcome.id, now_us // 1000, named, len(named))

    async def message(self, id: str) -> DeliveryCounts:
        """What became of a message; raises `RequestError` `unknown_message`."""
        counts = await self._ledger.counts_of(id)
        if counts is None:
            raise _unknown_message()
        return counts

    async def _to(self, id: str) -> msgspec.Raw:
        """The target of a message; raises `RequestError` `unknown_message`."""
        to = await self._ledger.to(id)
        if to is None:
            raise _unknown_message()
        return to

    async def message_devices(self, id: str, turns_of: Hashable = "") -> list[DeviceLine]:
        """What became of it for each device, by token.

        Raises `RequestError` `unknown_message`; `not_found` when it was not addressed to devices or
        users, so that only counts are kept.
        """
        if TARGET_OF_NAME[as_target(await self._to(id)).kind].counted:
            raise RequestError(
                "not_found",
                "only counts are kept of a message that was addressed to a topic, a group, "
                "everyone or an address",
            )
        lines = await self._ledger.devices(id, turns_of)
        if lines is None:
            raise _unknown_message()
        return lines

    async def cancel(self, id: str) -> int:
        """Take a message back where it was not acknowledged. Returns for how many devices.

        Raises `RequestError` `unknown_message`.
        """
        streams = streams_of(as_target(await self._to(id)))
        # A message to an address has no stream: its record is on one of all servers.
        parts = by_server(self._shards, streams, str)
        if not parts:
            parts = {number: [] for number in range(len(self._shards))}
        outcomes = await gather(self._cancel(n, id, part) for n, part in parts.items())
        if not any(known for known, _ in outcomes):
            raise _unknown_message()
        return sum(cancelled for _, cancelled in outcomes)

    async def _cancel(self, number: int, id: str, streams: list[str]) -> tuple[bool, int]:
        server = self._shards[number]
        return await server.run(
            _cancel, [], [id, *streams], durable=True, decode=_known_and_cancelled
        )


def _known_and_cancelled(reply: tuple[int, int]) -> tuple[bool, int]:
    known, cancelled = reply
    return bool(known), int(cancelled)


async def _outcome(call: Awaitable[Done]) -> Done | Exception:
    """What `call` ends in, for one of many that must not spoil the others."""
    try:
        return await call
    except Exception as error:
        return error


def _apart(items: Sequence[Push], places: Sequence[int]) -> tuple[list[int], list[int]]:
    """Those of `places` whose items have keys of their own, and those whose key came before."""
    keys: set[str] = set()
    first: list[int] = []
    again: list[int] = []
    for place in places:
        idempotency_key = items[place].idempotency_key
        (again if idempotency_key is not None and idempotency_key in keys else first).append(place)
        if idempotency_key is not None:
            keys.add(idempotency_key)
    return first, again


def _refused(begun: _Begun, error: Exception) -> Exception:
    """What the push is answered with. Its span ends."""
    if isinstance(error, IdempotencyMismatch):
        error = RequestError(
            "idempotency_mismatch", "this Idempotency-Key came earlier with another request"
        )
    if begun.span is not None:
        end_span(begun.span, begun.push.target, error)
    return error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _unknown_message() -> RequestError:
    return RequestError(
        "unknown_message", "no message has this id, or it is longer ago than the ledger keeps"
    )

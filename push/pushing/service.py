"""Pushing: targets become streams, and the streams are written, once for each request."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from twisted.logger import Logger

from push.observe.recent import PushEvents
from push.pushing.by_ip import Handed, PushByIp
from push.pushing.targets import Target, addresses_of, as_asked, as_in_a_query, as_target
from push.redis.connection.errors import StoreUnavailable, as_request_error
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.log_detail import detail
from push.runtime.tasks import gather
from push.runtime.tracing import PUBLISH, Tracer
from push.streams.ledger import DeliveryCounts, DeviceLine, Ledger
from push.streams.message import MessageContent as StoredContent
from push.streams.message import encode_content
from push.streams.publisher import (
    IdempotencyKey,
    IdempotencyMismatch,
    Published,
    Publisher,
    by_server,
)
from push.wire import defaults
from push.wire.api.common import ABSENT
from push.wire.api.push import PushResult
from push.wire.api.push_targets import TARGET_OF_NAME
from push.wire.errors import RequestError
from push.wire.idents import (
    Snowflake,
)

log = Logger()

Done = TypeVar("Done")

_cancel = load_script("streams", "cancel")
_encode = msgspec.json.Encoder().encode
# What of a push the devices get.
_STORED = StoredContent.__struct_fields__[1:]


class PushContent(msgspec.Struct, frozen=True):
    """What is pushed. `data` is the JSON value's own bytes; `ttl_seconds` 0: only devices that are
    online.

    `collapse`: takes the place of an earlier message with the same key.
    """

    data: msgspec.Raw
    title: str | None = None
    body: str | None = None
    encoding: str | None = None
    ttl_seconds: int = defaults.TTL_SECONDS
    qos: int = 1
    collapse: str | None = None


class Push(msgspec.Struct, frozen=True):
    """One request. `once`: its idempotency key, unique to its owner; None when it has none.
    `trace`: the traceparent of the request."""

    target: Target
    content: PushContent
    once: str | None = None
    trace: str | None = None


class _Begun(NamedTuple):
    """The id that a request has for its message. `is_new` False: one before it had the key."""

    id: str
    is_new: bool


class PushService:
    """Accepts pushes, tells what became of them, and takes them back.

    `nearby` None: nobody can be reached by address here. `push_events` gets each push. `tracer`
    None: nothing is traced.
    """

    def __init__(
        self,
        shards: Shards,
        publisher: Publisher,
        snowflake: Snowflake,
        nearby: PushByIp | None = None,
        push_events: PushEvents | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._nearby = nearby
        self._push_events = push_events
        self._shards = shards
        self._publisher = publisher
        self._snowflake = snowflake
        self._ledger = Ledger(shards)
        self._running: set[str] = set()
        # By the kind of their target, since the start of the process; a request that came before
        # with its key is not counted again.
        self.accepted = Counter(dict.fromkeys(TARGET_OF_NAME, 0))

    async def push(self, push: Push) -> PushResult:
        """Write to its streams.

        Raises `RequestError`: `unknown_token`, `unknown_group`, `in_progress`,
        `idempotency_mismatch`;
        and `StoreUnavailable`, after which the same key again leads to one message all the same:
        the key is kept by the script that publishes.
        """
        return await self._publish(push, await self._begin(push))

    async def _begin(self, push: Push) -> _Begun:
        """The id of its message. Its key is in use from here on until `_publish` is done."""
        id = self._snowflake.next_id()
        if push.once is None:
            return _Begun(id, is_new=True)
        if push.once in self._running:
            raise RequestError(
                "in_progress",
                "the first request with this Idempotency-Key is still running",
                after_seconds=1,
            )
        self._running.add(push.once)
        try:
            claimed = await self._publisher.claim(_once_of(push, push.once), id)
            return _Begun(claimed, claimed == id)
        except IdempotencyMismatch:
            self._running.discard(push.once)
            raise _mismatch() from None
        except BaseException:
            self._running.discard(push.once)
            raise

    async def _publish(self, push: Push, begun: _Begun) -> PushResult:
        if push.once is None:
            return await self._write_logged(push, begun, None)
        try:
            return await self._write_logged(push, begun, _once_of(push, push.once))
        except IdempotencyMismatch:
            raise _mismatch() from None
        finally:
            self._running.discard(push.once)

    async def _write_logged(
        self, push: Push, begun: _Begun, once: IdempotencyKey | None
    ) -> PushResult:
        if self._tracer is None:
            result = await self._write(push, begun, once, None)
        else:
            result = await self._write_traced(self._tracer, push, begun, once)
        if detail.debug:
            log.debug(
                "{message_id} pushed to {to}: {streams} streams, {online} online",
                message_id=result.id,
                to=push.target.kind,
                streams=result.streams,
                online=result.online,
                event="push.accepted",
            )
        return result

    async def _write_traced(
        self, tracer: Tracer, push: Push, begun: _Begun, once: IdempotencyKey | None
    ) -> PushResult:
        span = tracer.start(PUBLISH, push.trace)
        try:
            trace = span.traceparent if span.is_sampled else None
            result = await self._write(push, begun, once, trace)
        except (RequestError, StoreUnavailable, IdempotencyMismatch) as error:
            span.end({"push.to": push.target.kind}, error=type(error).__name__)
            raise
        attributes = {"push.to": push.target.kind, "push.message_id": result.id}
        span.end({**attributes, "push.streams": result.streams, "push.online": result.online})
        return result

    async def _write(
        self, push: Push, begun: _Begun, once: IdempotencyKey | None, trace: str | None
    ) -> PushResult:
        target, content, id = push.target, push.content, begun.id
        said = StoredContent(id, **{name: getattr(content, name) for name in _STORED})
        if target.kind == "ip":
            if self._nearby is None:
                raise RequestError("unavailable", "no connector can be asked from here")
            acknowledged = content.qos > 0
            handed = await self._nearby.push(
                target.names[0], said, acknowledged=acknowledged, once=once
            )
            if begun.is_new and handed.id == id:
                self._count(target, id, self._shards.first.clock.now_us(), ())
            return _receipt_of(handed)
        stored = content.qos > 0 and content.ttl_seconds > 0
        published = await self._publisher.publish(
            addresses_of(target),
            id,
            encode_content(said),
            ttl_seconds=content.ttl_seconds,
            stored=stored,
            online=content.qos > 0 and not stored,
            to=_encode(as_asked(target)).decode(),
            collapse=content.collapse,
            once=once,
            trace=trace,
        )
        receipt = _receipt(target, published)
        if begun.is_new and published.id == id:
            streams = [outcome.stream for outcome in published.outcomes if outcome.known]
            self._count(target, id, published.now_us, streams)
        return receipt

    def _count(self, target: Target, id: str, now_us: int, streams: Sequence[str]) -> None:
        """A new message was accepted."""
        self.accepted[target.kind] += 1
        if self._push_events is not None:
            named = [as_in_a_query(stream) for stream in streams]
            self._push_events.pushed(id, now_us // 1000, named, len(streams))

    async def push_batch(self, items: Sequence[Push]) -> list[PushResult | RequestError]:
        """Each item for itself, in one pipeline; what is refused is so alone.

        Messages for one stream are written in the order of the items. Of items with one key the
        later wait for the earlier, and get its answer.
        """
        results: dict[int, PushResult | RequestError] = {}
        waiting = list(range(len(items)))
        while waiting:
            keys: set[str | None] = set()
            now: list[int] = []
            later: list[int] = []
            for place in waiting:
                once = items[place].once
                (later if once is not None and once in keys else now).append(place)
                keys.add(once)
            # First all ids, which several servers have to agree upon, then in order.
            begun = await gather(_outcome(self._begin(items[place])) for place in now)
            calls = [
                _known(each)
                if isinstance(each, RequestError)
                else _outcome(self._publish(items[place], each))
                for place, each in zip(now, begun, strict=True)
            ]
            results.update(zip(now, await gather(calls), strict=True))
            waiting = later
        return [results[place] for place in range(len(items))]

    async def message(self, id: str) -> DeliveryCounts:
        """What became of a message; raises `RequestError` `unknown_message`."""
        funnel = await self._ledger.funnel(id)
        if funnel is None:
            raise _unknown_message()
        return funnel

    async def _to(self, id: str) -> msgspec.Raw:
        """The target of a message; raises `RequestError` `unknown_message`."""
        to = await self._ledger.to(id)
        if to is None:
            raise _unknown_message()
        return to

    async def message_devices(self, id: str) -> list[DeviceLine]:
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
        lines = await self._ledger.devices(id)
        if lines is None:
            raise _unknown_message()
        return lines

    async def cancel(self, id: str) -> int:
        """Take a message back where it was not acknowledged. Returns for how many devices.

        Raises `RequestError` `unknown_message`.
        """
        streams = [address.stream for address in addresses_of(as_target(await self._to(id)))]
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


async def _outcome(call: Awaitable[Done]) -> Done | RequestError:
    """What `call` ends in, for one of many that must not spoil the others."""
    try:
        return await call
    except RequestError as refusal:
        return refusal
    except StoreUnavailable as error:
        return as_request_error(error)


async def _known(outcome: RequestError) -> RequestError:
    return outcome


def _once_of(push: Push, key: str) -> IdempotencyKey:
    return IdempotencyKey(_digest(key.encode()), _digest_of(push))


def _mismatch() -> RequestError:
    return RequestError(
        "idempotency_mismatch", "this Idempotency-Key came earlier with another request"
    )


def _digest_of(push: Push) -> str:
    """What two requests with one idempotency key must have in common."""
    return _digest(_encode([push.target, push.content]))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _unknown_message() -> RequestError:
    return RequestError(
        "unknown_message", "no message has this id, or it is longer ago than the ledger keeps"
    )


def _receipt_of(handed: Handed) -> PushResult:
    reached = handed.reached
    return PushResult(handed.id, 0, reached.sessions, ABSENT, reached.silent)


def _receipt(target: Target, published: Published) -> PushResult:
    known = [outcome for outcome in published.outcomes if outcome.known]
    unknown = [o.stream.split(":", 1)[1] for o in published.outcomes if not o.known]
    if unknown and target.kind == "group":
        raise RequestError("unknown_group", "there is no such group", field="to.group")
    if unknown and not known:
        what = "no device has this token" if len(unknown) == 1 else "no device has these tokens"
        raise RequestError("unknown_token", what, field=f"to.{target.kind}")
    online = sum(1 for outcome in known if outcome.connectors)
    return PushResult(published.id, len(known), online, unknown or ABSENT, ABSENT)

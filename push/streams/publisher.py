"""Publishing: one Lua call a server, atomic over all its streams.

Over several servers a publish is not atomic (architecture, rule 12): the message has one id
everywhere, and is published when it is on all of them. Where that is not known, the same
idempotency key again writes what is missing, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec
from msgspec import structs
from twisted.internet.defer import Deferred

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.joined_calls import Answered, JoinedCalls
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.wire import defaults
from push.wire.idents import STREAM_ALL

_script = load_script("streams", "publish")
_claim = load_script("streams", "claim")
Item = TypeVar("Item")


class TargetStream(msgspec.Struct, frozen=True):
    """A stream to write to; `guard` is the key (without prefix) that must be there, if one must."""

    stream: str
    guard: str = ""


class StreamOutcome(msgspec.Struct, frozen=True):
    """What became of one stream: `known` is False where the guard was missing."""

    stream: str
    known: bool
    connectors: int


class Published(msgspec.Struct, frozen=True):
    """Message `id` was published at `now_us`; `offset` is 0 when it was not stored."""

    now_us: int
    offset: int
    id: str
    outcomes: list[StreamOutcome]


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An idempotency key, made unique for its owner, and the digest of the request it came with."""

    key: str
    digest: str


class IdempotencyMismatch(Exception):
    """The idempotency key came before with another request."""


class Message(msgspec.Struct, frozen=True):
    """What is to be published to all of `addresses`, at least one.

    `stored` False: on the channels only, and with `online` acknowledged by the devices that are
    online. `to` is what the ledger keeps as the targets; without it the ledger keeps nothing. With
    `idempotency_key`, a request that was answered before gets the answer of then. `trace` (a
    traceparent) is kept with the record of the ledger, and told to connectors.
    """

    addresses: Sequence[TargetStream]
    id: str
    content: bytes
    ttl_seconds: int
    stored: bool
    online: bool = False
    to: str = ""
    collapse: str | None = None
    idempotency_key: IdempotencyKey | None = None
    trace: str | None = None


class PublishedItem(msgspec.Struct, array_like=True):
    """A message for the streams of one server, as publish.lua gets it, which reads no bytes.

    `waited_us` is set when it is sent. `streams`: each, and the key that must be there ("" for
    none). `idem`: the whole key of the idempotency key's record.
    """

    waited_us: int
    id: str
    body: str
    ttl_seconds: int
    field: str
    streams: list[str]
    stored: bool
    to: str | None
    collapse: str | None
    trace: str | None
    idem: str | None
    digest: str | None


class Retention(msgspec.Struct, frozen=True):
    """How much may wait: entries in the log of a device, and of a stream that many follow."""

    device_max_messages: int = defaults.MAX_BACKLOG_MESSAGES
    shared_max_messages: int = defaults.SHARED_MAX_MESSAGES


def by_server(
    shards: Shards, items: Iterable[Item], stream_of: Callable[[Item], str]
) -> dict[int, list[Item]]:
    """`items` by the numbers of the servers that have their streams: everyone's is on all."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        stream = stream_of(item)
        everywhere = stream == STREAM_ALL
        for number in range(len(shards)) if everywhere else (shards.number_of(stream),):
            groups.setdefault(number, []).append(item)
    return groups


class Publisher:
    """Writes messages into streams. What everyone follows is a stream of every server.

    All messages of one turn of the reactor go to each server as one call.
    """

    def __init__(self, shards: Shards, retention: Retention | None = None) -> None:
        self._shards = shards
        self._retention = retention or Retention()
        self._calls: dict[tuple[int, bool, bool], JoinedCalls[PublishedItem]] = {}

    async def publish(self, message: Message) -> Published:
        """Raises `IdempotencyMismatch`; `StoreUnavailable`: then it may have happened."""
        outcomes = await self.publish_all([message])
        if isinstance(outcomes[0], Published):
            return outcomes[0]
        raise cast(Exception, outcomes.pop())

    async def publish_all(self, messages: Sequence[Message]) -> list[Published | Exception]:
        """What became of each, where it failed what `publish` raises. Messages for one stream are
        written in their order."""
        answers, is_batch = _Answers(len(messages)), len(messages) > 1
        servers = self._shards.servers
        for place, message in enumerate(messages):
            parts: Iterable[tuple[int, Sequence[TargetStream]]] = ((0, message.addresses),)
            if len(servers) > 1:
                parts = by_server(self._shards, message.addresses, _stream_of).items()
            for number, addresses in parts:
                item = _item_of(message, addresses, servers[number])
                answered = answers.expect(place, servers[number], addresses)
                self._calls_of(number, message.stored, is_batch).ask(item, answered, len(addresses))
        parts_of = await answers.all_there
        if len(servers) == 1:
            return [outcome for (outcome,) in parts_of]
        outcomes = [_merged(message, parts_of[n]) for n, message in enumerate(messages)]
        for place, message in enumerate(messages):
            if message.idempotency_key is not None:
                outcomes[place] = await self._released(message.idempotency_key, outcomes[place])
        return outcomes

    def _calls_of(self, number: int, stored: bool, is_batch: bool) -> JoinedCalls[PublishedItem]:
        """What need not wait for replicas goes to Redis by itself where there are some. So does a
        batch: a message alone is not to take as long as a hundred."""
        server = self._shards[number]
        durable = stored or not server.is_replicated
        calls = self._calls.get((number, durable, is_batch))
        if calls is None:
            keep = self._retention
            calls = self._calls[number, durable, is_batch] = JoinedCalls(
                server,
                _script,
                keep.device_max_messages,
                keep.shared_max_messages,
                durable=durable,
            )
        return calls

    async def claim(self, idempotency_key: IdempotencyKey, id: str) -> str:
        """The id of the message that the key names: `id`, or the one that came with it first.

        One server knows that by itself when it publishes; several must agree before. Raises
        `IdempotencyMismatch`.
        """
        if len(self._shards.servers) == 1:
            return id
        server, key = self._claim_of(idempotency_key)
        return await server.run(
            _claim, [key], [id, idempotency_key.digest], durable=True, decode=_claimed_id
        )

    async def _released(
        self, idempotency_key: IdempotencyKey, outcome: Published | Exception
    ) -> Published | Exception:
        """The outcome; of one that was refused another request may have the key."""
        if isinstance(outcome, Exception) or any(stream.known for stream in outcome.outcomes):
            return outcome
        server, key = self._claim_of(idempotency_key)
        try:
            await server.command("DEL", key)
        except StoreUnavailable as error:
            return StoreUnavailable(error.reason, unknown=error.unknown)
        return outcome

    def _claim_of(self, idempotency_key: IdempotencyKey) -> tuple[RedisClient, str]:
        name = f"{keyspace.CLAIM}{idempotency_key.key}"
        server = self._shards.of(name)
        return server, server.key(name)


_stream_of = attrgetter("stream")


def _item_of(
    message: Message, addresses: Sequence[TargetStream], server: RedisClient
) -> PublishedItem:
    """What `server` is asked for: the message, for the streams that it has."""
    idempotency_key, stored = message.idempotency_key, message.stored
    return PublishedItem(
        0,
        message.id,
        message.content.decode(),
        message.ttl_seconds,
        keyspace.ENTRY_ONLINE if message.online else keyspace.ENTRY_MESSAGE,
        [text for each in addresses for text in (each.stream, each.guard)],
        stored,
        message.to or None,
        message.collapse if stored else None,
        message.trace,
        None if idempotency_key is None else server.key(f"{keyspace.IDEM}{idempotency_key.key}"),
        None if idempotency_key is None else idempotency_key.digest,
    )


class _Answers:
    """What became of each message on each of its servers. `all_there` fires with the last."""

    def __init__(self, count: int) -> None:
        self._parts: list[list[Published | Exception]] = [[] for _ in range(count)]
        self._missing = 0
        self.all_there: Deferred[list[list[Published | Exception]]] = Deferred()

    def expect(
        self, place: int, server: RedisClient, addresses: Sequence[TargetStream]
    ) -> Answered:
        """The answer to a part of the message at `place` will come."""
        self._missing += 1
        return partial(self._put, self._parts[place], server, addresses)

    def _put(
        self,
        parts: list[Published | Exception],
        server: RedisClient,
        addresses: Sequence[TargetStream],
        reply: list[Any] | Exception,
    ) -> None:
        outcome = _outcome_of(addresses, reply)
        if isinstance(outcome, Published):
            server.clock.observe(outcome.now_us)
        parts.append(outcome)
        self._missing -= 1
        if not self._missing and not self.all_there.called:  # nobody has cancelled it
            self.all_there.callback(self._parts)


def _claimed_id(reply: bytes) -> str:
    if reply == b"mismatch":
        raise IdempotencyMismatch
    return reply.decode()


def _outcome_of(
    addresses: Sequence[TargetStream], reply: list[Any] | Exception
) -> Published | Exception:
    """Of publish.lua: the time, the offset, the id, and how many connectors each stream has."""
    if isinstance(reply, Exception):
        return reply
    if reply[0] == b"mismatch":
        return IdempotencyMismatch()
    if len(reply) != 3 + len(addresses):
        return ValueError(f"{len(reply) - 3} streams were answered for, not {len(addresses)}")
    outcomes = []
    for place, address in enumerate(addresses, 3):
        connectors = int(reply[place])
        outcomes.append(StreamOutcome(address.stream, connectors >= 0, max(connectors, 0)))
    return Published(int(reply[0]), int(reply[1]), reply[2].decode(), outcomes)


def _merged(message: Message, parts: list[Published | Exception]) -> Published | Exception:
    """What became of a message on all its servers together."""
    first = parts[0]
    if len(parts) == 1 or isinstance(first, Exception):
        return first
    found: dict[str, StreamOutcome] = {}
    for part in parts:
        if isinstance(part, Exception):
            return part
        for outcome in part.outcomes:
            before = found.get(outcome.stream, outcome)
            connectors = max(before.connectors, outcome.connectors)
            found[outcome.stream] = structs.replace(outcome, connectors=connectors)
    return structs.replace(first, outcomes=[found[each.stream] for each in message.addresses])

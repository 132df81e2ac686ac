"""Publishing: one Lua call a server, atomic over all its streams.

Over several servers a publish is not atomic (architecture, rule 12): the message has one id
everywhere, and is published when it is on all of them. Where that is not known, the same
idempotency key again writes what is missing, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.joined_calls import JoinedCalls
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.wire import defaults
from push.wire.idents import STREAM_ALL

_script = load_script("streams", "publish")
_claim = load_script("streams", "claim")
Item = TypeVar("Item")

UNKNOWN_TARGET = -1


class Published(msgspec.Struct, frozen=True):
    """Message `id` was published at `now_us`; `offset` is 0 when it was not stored.

    `connectors`: of each stream, how many have it; `UNKNOWN_TARGET` where the guard was missing.
    """

    now_us: int
    offset: int
    id: str
    connectors: dict[str, int]


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An idempotency key, made unique for its owner, and the digest of the request it came with."""

    key: str
    digest: str

    @property
    def answer_name(self) -> str:
        """The key in Redis under which the answer is kept, without the prefix of all keys."""
        return f"{keyspace.IDEM}{self.key}"


class IdempotencyMismatch(Exception):
    """The idempotency key came before with another request."""


class StreamMessage(msgspec.Struct, array_like=True, kw_only=True):
    """A message for one or more streams, as publish.lua gets it, which reads no bytes.

    `waited_us` is set when it is sent. `content`: JSON, what of a PUSH depends on no stream.
    `field`: `ENTRY_ONLINE` if the devices that are online acknowledge what is not `stored`, but on
    the channels only. `guard`: "device:" if a stream "dev:x" is written to only where the key
    "device:x" is. `to` is what the ledger keeps as the targets; None: it keeps nothing. `trace` (a
    traceparent) is kept with the record of the ledger, and told to connectors. `idem` is the whole
    key for the answer to an idempotency key: a request with the same `digest` that was answered
    before gets that.
    """

    waited_us: int = 0
    id: str
    content: str
    ttl_seconds: int
    field: str = keyspace.ENTRY_MESSAGE
    streams: list[str]
    guard: str | None = None
    stored: bool
    to: str | None = None
    collapse: str | None = None
    trace: str | None = None
    idem: str | None = None
    digest: str | None = None


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
        keep = retention or Retention()
        self._shards = shards
        # By the number of the server, whether replicas are waited for, and whether it is a batch:
        # a message alone is not to take as long as a hundred.
        self._calls = {
            (number, durable, is_batch): JoinedCalls[StreamMessage](
                server,
                _script,
                keep.device_max_messages,
                keep.shared_max_messages,
                durable=durable,
                weight_of=_streams_in,
            )
            for number, server in enumerate(shards)
            for durable, is_batch in product((True, False), repeat=2)
        }

    async def publish_all(self, messages: Sequence[StreamMessage]) -> list[Published | Exception]:
        """What became of each, where it failed the error: `IdempotencyMismatch`, or
        `StoreUnavailable`, after which it may have happened. Messages for one stream are written in
        their order."""
        if not messages:
            return []
        server, is_batch = self._shards.first, len(messages) > 1
        if len(self._shards.servers) > 1 or server.is_replicated:
            return await self._publish_in_parts(messages, is_batch=is_batch)
        replies = await self._calls[0, True, is_batch].ask(messages)
        outcomes = list(map(_outcome_of, messages, replies))
        server.clock.observe(_latest(outcomes))
        return outcomes

    async def _publish_in_parts(
        self, messages: Sequence[StreamMessage], *, is_batch: bool
    ) -> list[Published | Exception]:
        """Each server gets the streams that it has. What need not wait for replicas goes there by
        itself."""
        parts: dict[tuple[int, bool], tuple[list[int], list[StreamMessage]]] = {}
        for place, message in enumerate(messages):
            for number, part in _parts_of(message, self._shards):
                durable = message.stored or not self._shards[number].is_replicated
                places, some = parts.setdefault((number, durable), ([], []))
                places.append(place)
                some.append(part)
        answers = [
            self._calls[number, durable, is_batch].ask(some)
            for (number, durable), (_, some) in parts.items()
        ]
        found: list[list[Published | Exception]] = [[] for _ in messages]
        for ((number, _), (places, some)), answer in zip(parts.items(), answers, strict=True):
            outcomes = list(map(_outcome_of, some, await answer))
            self._shards[number].clock.observe(_latest(outcomes))
            for place, outcome in zip(places, outcomes, strict=True):
                found[place].append(outcome)
        return list(map(_merged, messages, found))

    def key_of_answer(self, idempotency_key: IdempotencyKey) -> str:
        """The `idem` of a message, the same on all servers."""
        return self._shards.first.key(idempotency_key.answer_name)

    async def claim(self, idempotency_key: IdempotencyKey, id: str) -> str:
        """The id of the message that the key names: `id`, or the one that came with it first.

        One server knows that by itself when it publishes; several must agree before. Raises
        `IdempotencyMismatch`.
        """
        server, key = self._claim_of(idempotency_key)
        return await server.run(
            _claim, [key], [id, idempotency_key.digest], durable=True, decode=_claimed_id
        )

    async def release(self, idempotency_key: IdempotencyKey) -> None:
        """The key was claimed for nothing: it is free again. Raises `StoreUnavailable`."""
        server, key = self._claim_of(idempotency_key)
        await server.command("DEL", key)

    def _claim_of(self, idempotency_key: IdempotencyKey) -> tuple[RedisClient, str]:
        name = f"{keyspace.CLAIM}{idempotency_key.key}"
        server = self._shards.of(name)
        return server, server.key(name)


def _streams_in(message: StreamMessage) -> int:
    return len(message.streams)


def _parts_of(message: StreamMessage, shards: Shards) -> Iterator[tuple[int, StreamMessage]]:
    """The message for each server that has some of its streams."""
    for number, streams in by_server(shards, message.streams, str).items():
        yield number, structs.replace(message, streams=streams)


def _claimed_id(reply: bytes) -> str:
    if reply == b"mismatch":
        raise IdempotencyMismatch
    return reply.decode()


def _outcome_of(message: StreamMessage, reply: list[Any] | Exception) -> Published | Exception:
    """Of publish.lua: the time, the offset, the id, and how many connectors each stream has."""
    if isinstance(reply, Exception):
        return reply
    if reply[0] == b"mismatch":
        return IdempotencyMismatch()
    streams, connectors = message.streams, reply[3:]
    if len(connectors) != len(streams):
        return ValueError(f"{len(connectors)} streams were answered for, not {len(streams)}")
    return Published(
        reply[0], reply[1], reply[2].decode(), dict(zip(streams, connectors, strict=True))
    )


def _latest(outcomes: Iterable[Published | Exception]) -> int:
    """The latest time that the server gave."""
    return max([each.now_us for each in outcomes if isinstance(each, Published)], default=0)


def _merged(message: StreamMessage, parts: list[Published | Exception]) -> Published | Exception:
    """What became of a message on all its servers together."""
    first = parts[0]
    if len(parts) == 1 or isinstance(first, Exception):
        return first
    connectors = dict.fromkeys(message.streams, UNKNOWN_TARGET)
    for part in parts:
        if isinstance(part, Exception):
            return part
        for stream, count in part.connectors.items():
            connectors[stream] = max(connectors[stream], count)
    return structs.replace(first, connectors=connectors)

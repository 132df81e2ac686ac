"""Publishing: one Lua call a server, atomic over all its streams.

Over several servers a publish is not atomic (architecture, rule 12): the message has one id
everywhere, and is published when it is on all of them. Where that is not known, the same
idempotency key again writes what is missing, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.keyspace import channel_name
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.wire import defaults
from push.wire.idents import STREAM_ALL

_script = load_script("streams", "publish")
_claim = load_script("streams", "claim")
Item = TypeVar("Item")

_encode = msgspec.msgpack.Encoder().encode


class TargetStream(NamedTuple):
    """A stream to write to; `guard` is the key (without prefix) that must be there, if one must."""

    stream: str
    guard: str = ""


class StreamOutcome(NamedTuple):
    """What became of one stream: `known` is False where the guard was missing."""

    stream: str
    known: bool
    connectors: int


class Published(NamedTuple):
    """Message `id` was published at `now_us`; `offset` is 0 when it was not stored."""

    now_us: int
    offset: int
    id: str
    outcomes: list[StreamOutcome]


class IdempotencyKey(NamedTuple):
    """An idempotency key, made unique for its owner, and the digest of the request it came with."""

    key: str
    digest: str


class IdempotencyMismatch(Exception):
    """The idempotency key came before with another request."""


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
    """Writes messages into streams. What everyone follows is a stream of every server."""

    def __init__(self, shards: Shards, retention: Retention | None = None) -> None:
        self._shards = shards
        self._retention = retention or Retention()

    async def publish(
        self,
        addresses: Sequence[TargetStream],
        id: str,
        content: bytes,
        *,
        ttl_seconds: int,
        stored: bool,
        online: bool = False,
        to: str = "",
        collapse: str | None = None,
        once: IdempotencyKey | None = None,
        trace: str | None = None,
    ) -> Published:
        """Publish to all of `addresses`.

        `stored` False: on the channels only, and with `online` acknowledged by the devices that are
        online. `to` is what the ledger keeps as the targets; without it the ledger keeps nothing.
        With `once`, a request that was answered before gets the answer of then. `trace` (a
        traceparent) is kept with the record of the ledger, and told to connectors.

        Raises `IdempotencyMismatch`; `StoreUnavailable`: then it may have happened.
        """
        options: dict[str, Any] = {
            "ttl": ttl_seconds,
            "stored": stored,
            "field": keyspace.ENTRY_ONLINE if online else keyspace.ENTRY_MESSAGE,
            "max_backlog": self._retention.device_max_messages,
            "max_shared": self._retention.shared_max_messages,
        }
        if to:
            options["to"] = to
        if trace is not None:
            options["trace"] = trace
        if collapse is not None and stored:
            options["collapse"] = collapse
        published = await self._publish(addresses, id, content, options, once)
        if once is not None and not any(outcome.known for outcome in published.outcomes):
            await self._release(once)
        return published

    async def claim(self, once: IdempotencyKey, id: str) -> str:
        """The id of the message that `once` names: `id`, or the one that came with it first.

        One server knows that by itself when it publishes; several must agree before. Raises
        `IdempotencyMismatch`.
        """
        if len(self._shards) == 1:
            return id
        server, key = self._claim_of(once)
        return await server.run(_claim, [key], [id, once.digest], durable=True, decode=_claimed_id)

    async def _release(self, once: IdempotencyKey) -> None:
        """It was refused: another request may have the key."""
        if len(self._shards) > 1:
            server, key = self._claim_of(once)
            await server.command("DEL", key)

    def _claim_of(self, once: IdempotencyKey) -> tuple[RedisClient, str]:
        name = f"{keyspace.CLAIM}{once.key}"
        server = self._shards.of(name)
        return server, server.key(name)

    async def _publish(
        self,
        addresses: Sequence[TargetStream],
        id: str,
        content: bytes,
        options: dict[str, Any],
        once: IdempotencyKey | None,
    ) -> Published:
        calls = [
            self._run(self._shards[number], part, id, content, options, once)
            for number, part in by_server(
                self._shards, addresses, lambda address: address.stream
            ).items()
        ]
        if len(calls) == 1:
            return await calls[0]
        parts = await gather(calls)
        found: dict[str, StreamOutcome] = {}
        for outcome in (outcome for part in parts for outcome in part.outcomes):
            before = found.get(outcome.stream, outcome)
            connectors = max(before.connectors, outcome.connectors)
            found[outcome.stream] = outcome._replace(connectors=connectors)
        outcomes = [found[address.stream] for address in addresses]
        return parts[0]._replace(outcomes=outcomes)

    async def _run(
        self,
        server: RedisClient,
        addresses: Sequence[TargetStream],
        id: str,
        content: bytes,
        options: dict[str, Any],
        once: IdempotencyKey | None,
    ) -> Published:
        if once is not None:
            options = {
                **options,
                "idem": server.key(f"{keyspace.IDEM}{once.key}"),
                "digest": once.digest,
            }
        places: list[str | bytes] = []
        for stream, guard in addresses:
            places += [stream, server.channel(channel_name(stream)), guard]
        arguments = [id, content, _encode(options), *places]
        published = await server.run(
            _script,
            [],
            arguments,
            durable=options["stored"],
            decode=partial(_published, addresses),
        )
        server.clock.observe(published.now_us)
        return published


def _claimed_id(reply: bytes) -> str:
    if reply == b"mismatch":
        raise IdempotencyMismatch
    return reply.decode()


def _published(addresses: Sequence[TargetStream], reply: list[Any]) -> Published:
    """Of publish.lua: the time, the offset, the id, and how many connectors each stream has."""
    if reply[0] == b"mismatch":
        raise IdempotencyMismatch
    outcomes = [
        StreamOutcome(address.stream, int(connectors) >= 0, max(int(connectors), 0))
        for address, connectors in zip(addresses, reply[3:], strict=True)
    ]
    return Published(int(reply[0]), int(reply[1]), reply[2].decode(), outcomes)

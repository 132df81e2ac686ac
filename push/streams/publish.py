"""Publishing: one Lua call a server, atomic over all its streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from push.store.scripts import load_script
from push.store.server import RedisServer
from push.streams.names import channel_name

LEDGER = ("push.streams", "ledger")  # for scripts that settle or append something of their own
APPEND = ("push.streams", "append")

STORED_FIELD, ONLINE_FIELD = "m", "o"

_script = load_script("push.streams", "publish", LEDGER, APPEND)
_encode = msgspec.msgpack.Encoder().encode


class Address(NamedTuple):
    """A stream to write to; `guard` is the token that must be registered, if one must."""

    stream: str
    guard: str = ""


class Outcome(NamedTuple):
    """What became of one stream: `known` is False where the guard was missing."""

    stream: str
    known: bool
    connectors: int


class Published(NamedTuple):
    """Message `id` was published at `now_us`; `offset` is 0 when it was not stored."""

    now_us: int
    offset: int
    id: str
    outcomes: list[Outcome]


class Once(NamedTuple):
    """An idempotency key, made unique for its owner, and the digest of the request it came with."""

    key: str
    digest: str


class OtherRequest(Exception):
    """The idempotency key came before with another request."""


class Retention(msgspec.Struct, frozen=True):
    """How much may wait: entries in the log of a device, and of a stream that many follow."""

    device_max_messages: int = 10_000
    shared_max_messages: int = 100_000


class Publisher:
    """Writes messages into the streams of one server."""

    def __init__(self, server: RedisServer, retention: Retention | None = None) -> None:
        self._server = server
        self._retention = retention or Retention()

    async def publish(
        self,
        addresses: Sequence[Address],
        id: str,
        content: bytes,
        *,
        ttl_seconds: int,
        stored: bool,
        online: bool = False,
        to: str = "",
        collapse: str | None = None,
        once: Once | None = None,
    ) -> Published:
        """Publish to all of `addresses`.

        `stored` False: on the channels only, and with `online` acknowledged by those who are there.
        `to` is what the ledger says of whom it is for; without it the ledger keeps nothing. With
        `once`, a request that was answered before gets the answer of then.

        Raises `OtherRequest`; `StoreUnavailable`: then it may have happened.
        """
        options: dict[str, Any] = {
            "ttl": ttl_seconds,
            "stored": stored,
            "field": ONLINE_FIELD if online else STORED_FIELD,
            "max_backlog": self._retention.device_max_messages,
            "max_shared": self._retention.shared_max_messages,
        }
        if to:
            options["to"] = to
        if collapse is not None and stored:
            options["collapse"] = collapse
        if once is not None:
            options["idem"] = self._server.key(f"idem:{once.key}")
            options["digest"] = once.digest
        return await self._run(addresses, id, content, options)

    async def _run(
        self, addresses: Sequence[Address], id: str, content: bytes, options: dict[str, Any]
    ) -> Published:
        server = self._server
        places: list[str | bytes] = []
        for stream, guard in addresses:
            places += [stream, server.channel(channel_name(stream)), guard]
        arguments = [id, content, _encode(options), *places]
        reply = await server.run(_script, [], arguments, durable=options["stored"])
        if reply[0] == b"mismatch":
            raise OtherRequest
        now_us, offset = int(reply[0]), int(reply[1])
        server.clock.observe(now_us)
        outcomes = [
            Outcome(address.stream, int(heard) >= 0, max(int(heard), 0))
            for address, heard in zip(addresses, reply[3:], strict=True)
        ]
        return Published(now_us, offset, reply[2].decode(), outcomes)

"""Publishing: one Lua call a server, atomic over all its streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from push.store.clock import MICROSECONDS
from push.store.scripts import load_script
from push.store.server import RedisServer
from push.streams.names import channel_name, log_name, record_name

MAX_AGE_SECONDS = 30 * 86_400

APPEND = ("push.streams", "append")  # for scripts that append something of their own

_script = load_script("push.streams", "publish", APPEND)


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
    """A message was published at `now_us`; `offset` is 0 when it was not stored."""

    now_us: int
    offset: int
    outcomes: list[Outcome]


class Publisher:
    """Writes messages into the streams of one server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def publish(
        self,
        addresses: Sequence[Address],
        id: str,
        content: bytes,
        *,
        ttl_seconds: int,
        stored: bool,
        control: bool = False,
    ) -> Published:
        """Publish to all of `addresses`. Raises `StoreUnavailable`: then it may have happened."""
        server = self._server
        keys: list[str] = []
        channels: list[bytes] = []
        for stream, guard in addresses:
            keys.append(server.key(log_name(stream)))
            keys.append(server.key(record_name(guard)) if guard else "")
            channels.append(server.channel(channel_name(stream)))
        reply = await self._run(keys, channels, id, content, ttl_seconds, stored, control)
        now_us, offset = int(reply[0]), int(reply[1])
        outcomes = [
            Outcome(address.stream, int(heard) >= 0, max(int(heard), 0))
            for address, heard in zip(addresses, reply[2:], strict=True)
        ]
        return Published(now_us, offset, outcomes)

    async def _run(
        self,
        keys: list[str],
        channels: list[bytes],
        id: str,
        content: bytes,
        ttl_seconds: int,
        stored: bool,
        control: bool,
    ) -> list[bytes | int]:
        server = self._server
        reply: list[bytes | int] = await server.run(
            _script,
            keys,
            [
                id,
                ttl_seconds,
                1 if stored else 0,
                "c" if control else "m",
                content,
                MAX_AGE_SECONDS * MICROSECONDS,
                *channels,
            ],
        )
        server.clock.observe(int(reply[0]))
        return reply

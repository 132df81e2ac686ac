"""How the scripts of chat are asked and how they answer (see request.lua)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from push.redis.client import RedisClient
from push.redis.scripts import Script
from push.streams.publisher import Retention
from push.wire.errors import RequestError

_encode = msgspec.msgpack.Encoder().encode


class ScriptReply(NamedTuple):
    """What a script answered, and what it left to be done for users."""

    outbox: list[bytes]
    values: list[Any]


class ChatScripts:
    """Asks scripts. `alone`: there is one server, so that they need leave nothing to be done.

    `ttl_seconds` is how long messages wait in streams, `retention` how many.
    """

    def __init__(self, *, alone: bool, ttl_seconds: int, retention: Retention) -> None:
        self._common = {
            "alone": alone,
            "ttl": ttl_seconds,
            "keep": {
                "max_backlog": retention.device_max_messages,
                "max_shared": retention.shared_max_messages,
            },
        }

    async def run(
        self, server: RedisClient, script: Script, request: dict[str, Any], *, durable: bool = True
    ) -> ScriptReply:
        """Ask. Texts in the request are `str`: the scripts' msgpack knows no binary.

        Raises `RequestError`; `StoreUnavailable`: then it may have happened."""
        arguments = [_encode({**self._common, **request})]
        reply = await server.run(script, [], arguments, durable=durable)
        if reply[0] == b"no":
            code, detail, field = (part.decode() for part in reply[1:4])
            raise RequestError(code, detail, field=field or None)
        return ScriptReply(reply[1], reply[2:])

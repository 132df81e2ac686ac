"""How the scripts of chat are asked and how they answer (see request.lua)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from push.access.rate_limits import WINDOW_SECONDS, RefusalCounts, over_limit
from push.redis.client import RedisClient
from push.redis.scripts import Script
from push.streams.publisher import Retention
from push.wire.errors import LimitPolicy, RequestError

_encode = msgspec.msgpack.Encoder().encode


Values = TypeVar("Values")
# Makes values of what a script answers, a list.
Decode = Callable[[list[Any]], Values]


class ScriptReply(NamedTuple, Generic[Values]):
    """What a script answered, and what it left to be done for users."""

    outbox: list[bytes]
    values: Values


def nothing(_values: list[Any]) -> None:
    """Of a script whose values say nothing."""


def number(values: list[Any]) -> int:
    """Of a script that answers a number."""
    return int(values[0])


def text(values: list[Any]) -> str:
    """Of a script that answers a text."""
    (value,) = values
    return str(value.decode())


def texts(values: list[Any]) -> list[str]:
    """Of a script that answers texts."""
    return [value.decode() for value in values]


def one_list(values: list[Any]) -> list[Any]:
    """Of a script that answers one list."""
    (found,) = values
    return list(found)


class ChatScripts:
    """Asks scripts. `alone`: there is one server, so that they need leave nothing to be done.

    `ttl_seconds` is how long messages wait in streams, `retention` how many. `refusals` counts what
    a limit refused.
    """

    def __init__(
        self,
        *,
        alone: bool,
        ttl_seconds: int,
        retention: Retention,
        refusals: RefusalCounts,
    ) -> None:
        self._refusals = refusals
        self._common = {
            "alone": alone,
            "ttl": ttl_seconds,
            "keep": {
                "max_backlog": retention.device_max_messages,
                "max_shared": retention.shared_max_messages,
            },
        }

    async def run(
        self,
        server: RedisClient,
        script: Script,
        request: dict[str, Any],
        decode: Decode[Values],
        *,
        durable: bool = True,
    ) -> ScriptReply[Values]:
        """Ask. Texts in the request are `str`: the scripts' msgpack knows no binary.

        Raises `RequestError`; `StoreUnavailable`: then it may have happened."""

        def of_reply(reply: list[Any]) -> ScriptReply[Values]:
            if reply[0] == b"no":
                code, detail, field, *limit = (part.decode() for part in reply[1:])
                if limit:
                    after, name, quota = limit
                    policy = LimitPolicy(name, int(quota), WINDOW_SECONDS)
                    raise over_limit(self._refusals, policy, detail, after_seconds=int(after))
                raise RequestError(code, detail, field=field or None)
            return ScriptReply(reply[1], decode(reply[2:]))

        arguments = [_encode({**self._common, **request})]
        return await server.run(script, [], arguments, durable=durable, decode=of_reply)

"""Acts: each decides and changes in one script, on the server of the owner.

The owner is a conversation: `group:<id>`, or `chat:<a>,<b>` of two users, the lower name first.
What an act means for users is done by the same script where there is one server, else by the
errands that it writes down.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple, Protocol

import msgspec
from twisted.logger import Logger

from push.access.rate_limits import WINDOW_SECONDS, RefusalCounts, over_limit
from push.chat.settings import UserRate
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import Script, load_script
from push.redis.shards import Shards
from push.streams.publisher import Retention
from push.wire.errors import LimitPolicy, RequestError
from push.wire.idents import GROUP_PREFIX, Snowflake, user_stream

log = Logger()

MAX_HELD = 10_000  # of users and rates; the oldest are forgotten, and asked for again
Reply = list[bytes]  # of a script: "no", code, detail, field, after, limit, quota, microseconds
_AFTER, _MICROSECONDS = 4, 7
_GROUP = GROUP_PREFIX.encode()

_take_rate = load_script("chat", "take_rate")
_encode = msgspec.msgpack.Encoder().encode


class OutboxRunner(Protocol):
    """Does what scripts leave to be done for users: `push.chat.outbox.UserOutbox`."""

    async def run(self, server: RedisClient, texts: Sequence[bytes]) -> None:
        """Do errands that are written down on `server`. Raises `StoreUnavailable`."""


class ChatScripts:
    """Asks the scripts of chat (see request.lua).

    `ttl_seconds` is how long messages wait in streams, `retention` how many. `refusals` counts what
    a limit refused.
    """

    def __init__(
        self,
        shards: Shards,
        *,
        ttl_seconds: int,
        retention: Retention,
        refusals: RefusalCounts,
    ) -> None:
        self.shards = shards
        self._refusals = refusals
        # Of every request. `alone`: there is one server, so that scripts leave nothing to be done.
        self._common = {
            "alone": len(shards) == 1,
            "ttl": ttl_seconds,
            "keep": {
                "max_backlog": retention.device_max_messages,
                "max_shared": retention.shared_max_messages,
            },
        }

    async def ask(self, server: RedisClient, script: Script, request: dict[str, Any]) -> list[Any]:
        """What the script answers on `server`: the errands that it leaves to be done, then its
        values. Raises `RequestError`, `StoreUnavailable`."""
        return self.accepted(await server.run(script, [], [self.encoded(request)], durable=True))

    def encoded(self, request: dict[str, Any]) -> bytes:
        """Texts in the request are `str`: the scripts' msgpack knows no binary."""
        return _encode({**self._common, **request})

    def accepted(self, reply: list[Any]) -> list[Any]:
        """What follows "ok". Raises `RequestError` for "no"."""
        if reply[0] == b"ok":
            return reply[1:]
        code, detail, field, *limit = (part.decode() for part in reply[1:])
        if limit:
            after, name, quota, _ = limit
            policy = LimitPolicy(name, int(quota), WINDOW_SECONDS)
            raise over_limit(self._refusals, policy, detail, after_seconds=int(after))
        raise RequestError(code, detail, field=field or None)


class _HeldRefusal(NamedTuple):
    until: float
    reply: Reply


class HeldRefusals:
    """Refusals by a rate that still hold: who asks again meanwhile is refused without Redis. A
    client that goes on asking would cost as much as one whose requests are carried out.

    Of one process: what another one is told it does not know, and asks Redis for itself.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _HeldRefusal] = {}

    def of(self, rate: UserRate, now: float) -> Reply | None:
        """The refusal that `rate` would get now, as the script says it; None: Redis decides."""
        name = rate.user, rate.kind
        held = self._held.get(name)
        if held is None:
            return None
        if held.until <= now:
            del self._held[name]
            return None
        reply = held.reply.copy()
        reply[_AFTER] = b"%d" % ceil(held.until - now)
        return reply

    def note(self, rate: UserRate, reply: Reply, asked_at: float) -> None:
        """What a script that counts `rate` has answered; other refusals are not held."""
        if reply[0] != b"no" or len(reply) <= _MICROSECONDS:
            return
        name = rate.user, rate.kind
        self._held.pop(name, None)  # it becomes the newest
        if len(self._held) >= MAX_HELD:
            del self._held[next(iter(self._held))]
        until = asked_at + int(reply[_MICROSECONDS]) / 1_000_000
        self._held[name] = _HeldRefusal(until, reply)


class Acting:
    """Runs the scripts of chat, and has what they leave for users done by `outbox`."""

    def __init__(self, scripts: ChatScripts, outbox: OutboxRunner, snowflake: Snowflake) -> None:
        self.shards = scripts.shards
        self.next_id = snowflake.next_id
        self._scripts = scripts
        self._outbox = outbox
        self._held = HeldRefusals()

    async def run(
        self,
        server: RedisClient,
        script: Script,
        request: dict[str, Any],
        *,
        durable: bool = True,
        turns_of: Hashable = None,
    ) -> list[Any]:
        """What the script answers on `server`, once all that it means for users was done.

        The request's "rate", a `UserRate`, is counted. `durable` False: of a script that changes
        nothing else. `turns_of`: of one that reads much, the owner of the turn that it
        waits for (see `PatientCalls`).
        Raises `RequestError`; `StoreUnavailable`: then it may have happened.
        """
        rate: UserRate | None = request.get("rate")
        if rate and self.shards.of(user_stream(rate.user)) is not server:
            await self.count(rate)
            rate, request = None, {**request, "rate": None}
        self.check(rate)
        asked_at = server.reactor.seconds()
        arguments = [self._scripts.encoded(request)]
        call = partial(server.run, script, [], arguments, durable=durable)
        reply: list[Any]
        if turns_of is None:
            reply = await call()
        else:
            reply = await server.patient_calls.run(turns_of, script, call)
        if rate:
            self._held.note(rate, reply, asked_at)
        errands, *values = self._scripts.accepted(reply)
        if errands:
            try:
                await self._outbox.run(server, errands)
            except StoreUnavailable as error:
                # It has happened; the rest is written down, and done when it can be.
                log.debug(
                    "Chat effects for users are not done yet; tried again: {reason}",
                    reason=error.reason,
                    event="chat.outbox_postponed",
                )
        return values

    def check(self, rate: UserRate | None) -> None:
        """Raises `RequestError` `rate_limited` where that is known already. Nothing is counted: the
        script that acts does that first of all."""
        if rate:
            now = self.shards.of(user_stream(rate.user)).reactor.seconds()
            refusal = self._held.of(rate, now)
            if refusal is not None:
                self._scripts.accepted(refusal)

    async def count(self, rate: UserRate | None) -> None:
        """One more of a user, where there is a limit. Raises `RequestError` `rate_limited`."""
        if rate:
            home = self.shards.of(user_stream(rate.user))
            await self.run(home, _take_rate, {"rate": rate}, durable=False)

    async def group_streams_of(self, user: str) -> list[str]:
        """Those of a user's groups, in order. It is a hint: the groups decide (architecture, rule
        5)."""
        home = self.shards.of(user_stream(user))
        names = await home.command("SMEMBERS", home.key(f"{keyspace.USER_STREAMS}{user}"))
        return sorted(name.decode() for name in names if name.startswith(_GROUP))

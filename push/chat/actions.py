"""Acts: each decides and changes in one script, on the server of the owner.

The owner is a conversation: `group:<id>`, or `chat:<a>,<b>` of two users, the lower name first.
What an act means for users is done by the same script where there is one server, else by the
errands that it writes down.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from push.chat.outbox import UserOutbox
from push.chat.scripts import ChatScripts, Decode, Values, nothing
from push.chat.settings import NO_RATE, Rate
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import Script, load_script
from push.redis.shards import Shards
from push.wire.idents import Snowflake, user_stream

log = Logger()

_take_rate = load_script("chat", "take_rate")


class Acting:
    """Runs scripts on the server of a conversation, and what they leave to be done for users."""

    def __init__(
        self, shards: Shards, scripts: ChatScripts, outbox: UserOutbox, snowflake: Snowflake
    ) -> None:
        self.shards = shards
        self._scripts = scripts
        self._outbox = outbox
        self._snowflake = snowflake

    def next_id(self) -> str:
        return self._snowflake.next_id()

    async def run(
        self,
        server: RedisClient,
        script: Script,
        request: dict[str, Any],
        decode: Decode[Values],
        *,
        rate: Rate = NO_RATE,
        user: str = "",
    ) -> Values:
        """What the script answers on `server`, once all that it means for users was done.

        It counts for the `rate` of `user`. Raises `RequestError`; `StoreUnavailable`: then it may
        have happened.
        """
        counted = await self._counting(server, rate, user)
        reply = await self._scripts.run(server, script, {**request, **counted}, decode)
        if reply.outbox:
            try:
                await self._outbox.run(server, reply.outbox)
            except StoreUnavailable as error:
                # It has happened; the rest is written down, and done when it can be.
                log.debug(
                    "Something for users waits: {reason}",
                    reason=error.reason,
                    event="chat.outbox_postponed",
                )
        return reply.values

    async def look(
        self,
        server: RedisClient,
        script: Script,
        request: dict[str, Any],
        decode: Decode[Values],
        *,
        rate: Rate = NO_RATE,
        user: str = "",
    ) -> Values:
        """What a script that changes nothing answers, but for the count of a `rate`."""
        counted = await self._counting(server, rate, user)
        request = {**request, **counted}
        return (await self._scripts.run(server, script, request, decode, durable=False)).values

    async def _counting(self, server: RedisClient, rate: Rate, user: str) -> dict[str, Any]:
        """What a script on `server` is to be asked, so that it counts; where the user is on another
        server, it is counted there now. Raises `RequestError` `rate_limited`."""
        asked = rate.of(user)
        if not asked:
            return {}
        if self.shards.of(user_stream(user)) is server:
            return asked
        await self.count(rate, user)
        return {}

    async def count(self, rate: Rate, user: str) -> None:
        """One more of `user`. Raises `RequestError` `rate_limited`."""
        if asked := rate.of(user):
            await self.look(self.shards.of(user_stream(user)), _take_rate, asked, nothing)

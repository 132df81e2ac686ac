"""Acts: each decides and changes in one script, on the server of the owner.

The owner is a conversation: `group:<id>`, or `chat:<a>,<b>` of two users, the lower name first.
What an act means for users is done by the same script where there is one server, else by the
errands that it writes down.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from push.chat.outbox import UserOutbox
from push.chat.scripts import ChatScripts, Decode, Values
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import Script
from push.redis.shards import Shards
from push.wire.idents import Snowflake

log = Logger()


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
        self, script: Script, owner: str, request: dict[str, Any], decode: Decode[Values]
    ) -> Values:
        """What the script answers, once all that it means for users was done.

        Raises `Refusal`; `StoreUnavailable`: then it may have happened.
        """
        return await self.run_on(self.shards.of(owner), script, request, decode)

    async def run_on(
        self, server: RedisClient, script: Script, request: dict[str, Any], decode: Decode[Values]
    ) -> Values:
        reply = await self._scripts.run(server, script, request, decode)
        if reply.outbox:
            try:
                await self._outbox.run(server, reply.outbox)
            except StoreUnavailable as error:
                # It has happened; the rest is written down, and done when it can be.
                log.debug("Something for users waits: {reason}", reason=error.reason)
        return reply.values

    async def look(
        self, script: Script, owner: str, request: dict[str, Any], decode: Decode[Values]
    ) -> Values:
        """What a script that changes nothing answers."""
        server = self.shards.of(owner)
        reply = await self._scripts.run(server, script, request, decode, durable=False)
        return reply.values

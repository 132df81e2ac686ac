"""Chat as one thing: what both doors call, made of its parts."""

from __future__ import annotations

from typing import Any

from push.chat.acting import Acting
from push.chat.conversations import Conversations
from push.chat.errands import UserErrandRunner, UserErrands
from push.chat.groups import Groups
from push.chat.messages import Messages
from push.chat.presence import OnlineOf, Presence
from push.chat.scripts import Scripts
from push.chat.settings import ChatSettings
from push.chat.tidying import Tidying
from push.devices.errands import Errands
from push.store.periodic import Periodic
from push.store.server import RedisServer
from push.store.shards import Shards
from push.streams.publish import Retention
from push.wire.idents import Snowflake


class Chat:
    """`groups`, `messages`, `conversations` and `presence`, over one set of servers."""

    def __init__(
        self,
        shards: Shards,
        devices: Errands,
        snowflake: Snowflake,
        settings: ChatSettings,
        retention: Retention,
        online_of: OnlineOf,
    ) -> None:
        self._settings = settings
        self._scripts = Scripts(
            alone=len(shards) == 1, ttl_seconds=settings.ttl_seconds, retention=retention
        )
        self._errands = UserErrands(shards, self._scripts, devices)
        acting = Acting(shards, self._scripts, self._errands, snowflake)
        self.groups = Groups(acting, settings)
        self.messages = Messages(acting, settings)
        self.conversations = Conversations(acting, settings)
        self.presence = Presence(shards, settings, online_of)

    def upkeep(self, reactor: Any, server: RedisServer) -> list[Periodic]:
        """What is to be done for `server` now and then."""
        tidying = Tidying(reactor, server, self._scripts, self.groups, self._settings)
        runner = UserErrandRunner(reactor, server, self._scripts, self._errands)
        return [tidying, runner]

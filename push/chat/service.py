"""Chat as one thing: what both doors call, made of its parts."""

from __future__ import annotations

from typing import Any

from push.chat.actions import Acting
from push.chat.conversations import Conversations
from push.chat.erasure import Erasure, ErasureRunner
from push.chat.groups import Groups
from push.chat.messages import Messages
from push.chat.outbox import UserErrandRunner, UserErrands
from push.chat.presence import OnlineOf, Presence
from push.chat.retention import Tidying
from push.chat.scripts import Scripts
from push.chat.settings import ChatSettings
from push.devices.outbox import Errands
from push.devices.readers import NO_READERS, Readers
from push.devices.registration import Devices
from push.devices.session_queries import Clients
from push.redis.client import RedisServer
from push.redis.periodic import Periodic
from push.redis.shards import Shards
from push.streams.publisher import Retention
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
        readers: Readers = NO_READERS,
    ) -> None:
        self._settings = settings
        self._alone = len(shards) == 1
        self._scripts = Scripts(
            alone=self._alone, ttl_seconds=settings.ttl_seconds, retention=retention
        )
        self._errands = UserErrands(shards, self._scripts, devices)
        acting = self._acting = Acting(shards, self._scripts, self._errands, snowflake)
        self.groups = Groups(acting, settings, readers)
        self.messages = Messages(acting, settings)
        self.conversations = Conversations(acting, settings)
        self.presence = Presence(shards, settings, online_of)

    def erasure(self, devices: Devices, clients: Clients) -> Erasure:
        """Erasing users, who have `devices` and sessions."""
        return Erasure(self._acting, self._errands, self.groups, devices, clients)

    def upkeep(self, reactor: Any, server: RedisServer, erasure: Erasure) -> list[Periodic]:
        """What is to be done for `server` now and then."""
        work: list[Periodic] = [
            Tidying(reactor, server, self._acting, self.groups, self._settings),
            ErasureRunner(reactor, server, erasure),
        ]
        if not self._alone:
            work.append(UserErrandRunner(reactor, server, self._errands))
        return work

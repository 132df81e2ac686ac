"""Chat as one service, made of its parts: HTTP and the device interface call it."""

from __future__ import annotations

from push.access.rate_limits import RefusalCounts
from push.chat.actions import Acting, ChatScripts
from push.chat.contacts import Contacts
from push.chat.conversations import Conversations
from push.chat.erasure import Erasure, ErasureRunner
from push.chat.groups import Groups
from push.chat.messages import MessageService
from push.chat.outbox import UserOutbox, UserOutboxRelay
from push.chat.presence import OnlineOf, PresenceService
from push.chat.retention import HistoryRetention
from push.chat.settings import ChatSettings
from push.devices.outbox import Outbox
from push.devices.readers import NO_READERS, Readers
from push.devices.registration import Devices
from push.devices.session_queries import SessionQueries
from push.redis.client import RedisClient
from push.redis.periodic import PeriodicTask
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.streams.publisher import Retention
from push.wire.idents import Snowflake


class ChatService:
    """`groups`, `messages`, `conversations` and `presence`, over one set of servers."""

    def __init__(
        self,
        shards: Shards,
        devices: Outbox,
        snowflake: Snowflake,
        settings: ChatSettings,
        retention: Retention,
        online_of: OnlineOf,
        readers: Readers = NO_READERS,
        refusals: RefusalCounts | None = None,
    ) -> None:
        self._settings = settings
        scripts = ChatScripts(
            shards,
            ttl_seconds=settings.ttl_seconds,
            retention=retention,
            refusals=RefusalCounts() if refusals is None else refusals,
        )
        self._outbox = UserOutbox(scripts, devices)
        acting = self._acting = Acting(scripts, self._outbox, snowflake)
        contacts = Contacts(acting)
        self.groups = Groups(acting, contacts, settings, readers)
        self.messages = MessageService(acting, settings)
        self.conversations = Conversations(acting, settings)
        self.presence = PresenceService(acting, contacts, settings, online_of)

    def erasure(self, devices: Devices, session_queries: SessionQueries) -> Erasure:
        """The part that erases users, with their `devices` and sessions."""
        return Erasure(self._acting, self._outbox, self.groups, devices, session_queries)

    def upkeep(self, reactor: Clock, server: RedisClient, erasure: Erasure) -> list[PeriodicTask]:
        """The periodic work for `server`."""
        return [
            HistoryRetention(reactor, server, self._acting, self.groups, self._settings),
            ErasureRunner(reactor, server, erasure),
            UserOutboxRelay(reactor, server, self._outbox),
        ]

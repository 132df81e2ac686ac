"""What is behind both doors of a daemon: who and what there is, on the servers that it is given."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Set
from typing import Any, Protocol

from push.access.bans import CHANNEL as BANS
from push.access.bans import Bans
from push.chat.service import ChatService
from push.cluster.commands import ControlChannel
from push.cluster.directory import Directory
from push.cluster.drain_command import NodeDrains
from push.cluster.registry.interface import Registry
from push.cluster.registry.redis_lease import RedisLease
from push.cluster.registry.zookeeper import ZooKeeperRegistry
from push.cluster.survey import ALL_PROCESSES, Survey, SurveyHandler
from push.daemons.config.part_settings import chat_settings, push_limits
from push.daemons.config.settings import Settings
from push.devices.expiry import DeviceExpiry
from push.devices.outbox import Outbox, OutboxRelay
from push.devices.readers import Connectors
from push.devices.registration import Devices
from push.devices.session_queries import SessionQueries
from push.devices.topics import Topics
from push.devices.users import Users
from push.http.framework.route import App
from push.http.routes.chat import make_group
from push.http.routes.push import make_api
from push.http.routes.registration import make_sub
from push.pushing.by_ip import PushByIp
from push.pushing.service import PushService
from push.redis.client import RedisClient
from push.redis.shards import Shards
from push.redis.shared_copy import Lease
from push.streams.publisher import Publisher, Retention
from push.streams.sweeper import Sweeper
from push.wire.idents import Snowflake

SECONDS_PER_DAY = 86_400


class Background(Protocol):
    """What works by itself between a start and a stop."""

    def start(self) -> object: ...

    def stop(self) -> None: ...


class Domain:
    """The registry, devices, users, topics and chat of a deployment, as one daemon has them.

    `boot` is its own boot id, `node` its node's name, `is_connector` whether sessions with that id
    can be; `bans_read` is called when bans may have changed.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        shards: Shards,
        boot: str,
        node: str,
        *,
        is_connector: bool,
        bans_read: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._boot = boot
        self._is_connector = is_connector
        self.shards = shards
        self.snowflake = Snowflake(lambda: int(time.time() * 1000), secrets.randbits(10))
        self.registry = self._make_registry()
        self.directory = Directory(
            self.registry, random.SystemRandom(), reactor.seconds, zone=settings.server.zone
        )
        self.control = ControlChannel(shards.first)
        self.outbox = Outbox(shards)
        self.lease = Lease(reactor, shards.first, boot)
        self.bans = Bans(reactor, shards.first, self.lease, bans_read, self._announce_bans)
        self.asker = Survey(
            reactor,
            shards.first,
            self.directory.connectors,
            boot,
            processes=self.directory.processes,
        )
        self.answerer = SurveyHandler(shards.first, boot, node, is_connector=is_connector)
        self._readers = Connectors(self.asker)
        self.devices = self._make_devices()
        self.topics = Topics(
            shards,
            self.outbox,
            max_per_device=settings.topics.max_per_device,
            readers=self._readers,
        )
        self._clients = SessionQueries(self.asker)
        self._users = Users(shards, self.devices, self._clients)
        self._retention = Retention(
            device_max_messages=settings.connector.max_backlog,
            shared_max_messages=settings.limits.shared_max_count,
        )
        self.chat = ChatService(
            shards,
            self.outbox,
            self.snowflake,
            chat_settings(settings.chat, settings.limits),
            self._retention,
            self._users.online,
            self._readers,
        )
        self.erasure = self.chat.erasure(self.devices, self._clients)

    async def _announce_bans(self) -> list[str]:
        asked = await self.asker.ask(BANS, None, ALL_PROCESSES, thorough=True)
        return asked.silent

    def _make_registry(self) -> Registry:
        hosts = self._settings.zookeeper.hosts
        if hosts:
            return ZooKeeperRegistry(self._reactor, hosts, random.SystemRandom())
        alone = self._settings.redis.url.embedded
        return RedisLease(self._reactor, self.shards.first, random.SystemRandom(), alone=alone)

    def _make_devices(self) -> Devices:
        limits = self._settings.limits
        return Devices(
            self.shards,
            self.outbox,
            self.snowflake,
            self._is_live_boot,
            self.control.end_session,
            registrations_per_minute=limits.registrations_per_minute,
            failed_secrets_per_minute=limits.failed_secrets_per_minute,
            check_ban=self.bans.check,
            readers=self._readers,
        )

    def _is_live_boot(self, boot: str) -> bool:
        own = boot == self._boot and self._is_connector
        return own or self.directory.is_live_boot(boot)

    def upkeep(self) -> list[Background]:
        """What every daemon does by itself: for every server, now and then, and for its copies."""
        work: list[Background] = [
            self.asker,
            self.answerer,
            self.lease,
            self.bans,
        ]
        for server in self.shards:
            work += self._upkeep_of(server)
        return work

    def _upkeep_of(self, server: RedisClient) -> list[Background]:
        limits = self._settings.limits
        retirement = DeviceExpiry(
            self._reactor,
            server,
            self.devices,
            lambda boot: self._is_live_boot(boot) or self.registry.problem is not None,
            limits.device_retention * SECONDS_PER_DAY,
        )
        work: list[Background] = [Sweeper(self._reactor, server, limits.shared_max_age), retirement]
        if len(self.shards) > 1:
            work.append(OutboxRelay(self._reactor, server, self.outbox))
        return [*work, *self.chat.upkeep(self._reactor, server, self.erasure)]

    def apps(self, roles: Set[str]) -> list[App]:
        """What a daemon with `roles` serves by HTTP."""
        settings = self._settings
        apps = []
        if "api" in roles:
            publisher = Publisher(self.shards, self._retention)
            nearby = PushByIp(self.shards, self._clients)
            apps.append(
                make_api(
                    PushService(self.shards, publisher, self.snowflake, nearby),
                    self.devices,
                    self.directory,
                    NodeDrains(self.directory, self.control),
                    self._clients,
                    self._users,
                    self.erasure,
                    self.topics,
                    self.bans,
                    push_limits(settings.limits),
                )
            )
        if "sub" in roles:
            open_registration = settings.auth.open_registration
            apps.append(make_sub(self.devices, self.directory, open_registration=open_registration))
        if "group" in roles:
            apps.append(make_group(self.chat))
        return apps

"""What exists behind the interfaces of a daemon: devices, users, topics, chat and the registry."""

from __future__ import annotations

import random
import secrets
import time

import msgspec

from push.access.api_keys import Keyring
from push.access.bans import CHANNEL as BANS
from push.access.bans import Bans, EndBanned
from push.access.made_keys import CHANNEL as KEYS
from push.access.made_keys import MadeKeys
from push.access.rate_limits import RefusalCounts
from push.access.request_rates import FailedKeys
from push.chat.service import ChatService
from push.chat.settings import ChatSettings
from push.cluster.commands import ControlChannel
from push.cluster.directory import Directory
from push.cluster.registry.interface import Registry
from push.cluster.survey import ALL_PROCESSES, Survey, SurveyHandler
from push.devices.outbox import Outbox
from push.devices.readers import Connectors
from push.devices.registration import Devices
from push.devices.session_queries import SessionQueries
from push.devices.topics import Topics
from push.devices.users import Users
from push.http.checks import PushLimits
from push.observe.observer import Observer
from push.observe.series import Figures
from push.pushing.by_ip import PushByIp
from push.pushing.service import PushService
from push.redis.shards import Shards
from push.redis.shared_copy import Announce, Lease
from push.runtime.ports import Reactor
from push.runtime.tracing import Tracer
from push.streams.publisher import Publisher, Retention
from push.webhooks.resolver import PublicHosts
from push.webhooks.service import Webhooks
from push.webhooks.settings import WebhookSettings
from push.wire import defaults
from push.wire.idents import Snowflake

SECONDS_PER_DAY = 86_400


class DomainLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a domain knows of the settings. 0 registrations, failed secrets, failed keys or
    bans: as many as come."""

    retention: Retention = Retention()
    chat: ChatSettings = ChatSettings()
    push: PushLimits = PushLimits()
    registrations_per_minute: int = 0
    failed_secrets_per_minute: int = 0
    failed_keys_per_minute: int = 0
    topics_per_device: int = defaults.TOPICS_PER_DEVICE
    device_retention_seconds: int = defaults.DEVICE_RETENTION_DAYS * SECONDS_PER_DAY
    shared_max_age_seconds: int = defaults.SHARED_MAX_AGE_SECONDS
    open_registration: bool = False
    bans_max: int = 0
    events_total: int = defaults.EVENTS_TOTAL
    webhooks: WebhookSettings = WebhookSettings()


class Domain:
    """The registry, devices, users, topics and chat of a deployment, as one daemon has them.

    `boot` is its own boot id, `node` its node's name and `zone` where that is; `is_connector` tells
    whether sessions with that id can be. `end_banned` ends those of clients with a new ban.
    `keyring` judges by the keys that are made, too. `tracer` None: nothing is traced.
    """

    def __init__(
        self,
        reactor: Reactor,
        limits: DomainLimits,
        shards: Shards,
        registry: Registry,
        boot: str,
        node: str,
        *,
        zone: str = "",
        keyring: Keyring,
        is_connector: bool,
        end_banned: EndBanned,
        tracer: Tracer | None = None,
    ) -> None:
        self.tracer = tracer
        self.reactor = reactor
        self.limits = limits
        self._boot = boot
        self._is_connector = is_connector
        self.shards = shards
        self.refusals = RefusalCounts()
        self.failed_keys = FailedKeys(reactor, limits.failed_keys_per_minute, self.refusals)
        self.snowflake = Snowflake(lambda: int(time.time() * 1000), secrets.randbits(10))
        self.registry = registry
        self.directory = Directory(registry, random.SystemRandom(), reactor.seconds, zone=zone)
        self.control = ControlChannel(shards.first)
        self.outbox = Outbox(shards)
        self.lease = Lease(reactor, shards.first, boot)
        self.bans = self._make_bans(end_banned)
        self.keys = MadeKeys(reactor, shards.first, self.lease, keyring, self._announcing(KEYS))
        connectors, processes = self.directory.connectors, self.directory.processes
        self.survey = Survey(reactor, shards.first, connectors, boot, processes=processes)
        self.survey_handler = SurveyHandler(shards.first, boot, node, is_connector=is_connector)
        self.survey_handler.handle(KEYS, self._confirm_keys)
        self.observer = self._make_observer(node)
        self._readers = Connectors(self.survey)
        self.devices = self._make_devices()
        self.topics = self._make_topics()
        self.session_queries = SessionQueries(self.survey)
        self.users = Users(shards, self.devices, self.session_queries)
        self.pushing = self._make_pushing()
        self.chat = self._make_chat()
        self.webhooks = self._make_webhooks()
        self.erasure = self.chat.erasure(self.devices, self.session_queries)

    def _make_webhooks(self) -> Webhooks:
        check_host, next_id = PublicHosts(self.reactor).check, self.snowflake.next_id
        return Webhooks(self.shards, self.limits.webhooks, next_id, check_host)

    def _make_topics(self) -> Topics:
        return Topics(
            self.shards,
            self.outbox,
            max_per_device=self.limits.topics_per_device,
            readers=self._readers,
        )

    def _make_bans(self, end_banned: EndBanned) -> Bans:
        return Bans(
            self.reactor,
            self.shards.first,
            self.lease,
            end_banned,
            self._announcing(BANS),
            at_most=self.limits.bans_max,
        )

    def _announcing(self, what: str) -> Announce:
        async def announce() -> list[str]:
            asked = await self.survey.ask(what, None, ALL_PROCESSES, thorough=True)
            return asked.silent

        return announce

    async def _confirm_keys(self, _asked: bytes) -> None:
        """Another process changed them, and waits until they are in effect here."""
        await self.keys.wait_until_current()

    def _make_observer(self, node: str) -> Observer:
        observer = Observer(
            self.reactor,
            self.shards,
            self.survey,
            self.survey_handler,
            self.directory.processes,
            boot=self._boot,
            node=node,
            events_total=self.limits.events_total,
        )
        observer.recorder.watch(Figures(counters={"refusals": self.refusals.total}))
        return observer

    def _make_devices(self) -> Devices:
        return Devices(
            self.shards,
            self.outbox,
            self.snowflake,
            self.is_live_boot,
            self.control.end_session,
            registrations_per_minute=self.limits.registrations_per_minute,
            failed_secrets_per_minute=self.limits.failed_secrets_per_minute,
            check_ban=self.bans.check,
            readers=self._readers,
            refusals=self.refusals,
        )

    def _make_pushing(self) -> PushService:
        publisher = Publisher(self.shards, self.limits.retention)
        by_ip = PushByIp(self.shards, self.session_queries)
        events = self.observer.push_events
        made = PushService(self.shards, publisher, self.snowflake, by_ip, events, self.tracer)
        self.observer.recorder.watch(Figures(counters={"pushes": made.accepted.total}))
        return made

    def _make_chat(self) -> ChatService:
        return ChatService(
            self.shards,
            self.outbox,
            self.snowflake,
            self.limits.chat,
            self.limits.retention,
            self.users.online,
            self._readers,
            self.refusals,
        )

    def is_live_boot(self, boot: str) -> bool:
        """Whether the connector of that boot id runs."""
        own = boot == self._boot and self._is_connector
        return own or self.directory.is_live_boot(boot)

    def may_live(self, boot: str) -> bool:
        """A registry that cannot be read, or was not yet, says of nobody that they are gone."""
        is_known = self.registry.joined and self.registry.problem is None
        return not is_known or self.is_live_boot(boot)

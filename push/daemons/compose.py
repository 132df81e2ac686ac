"""The only place where a daemon is wired together, from one `Settings` object.

`twistd push` is the same parts as the separate daemons, in one process on one HTTP port.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Set
from typing import TypeVar

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService, Service
from twisted.internet.threads import deferToThread
from twisted.logger import Logger, globalLogPublisher

from push.access.ban_table import NewBans
from push.access.bans import CHANNEL as BANS
from push.access.request_rates import RequestRates
from push.connector.gateway import Gateway
from push.connector.listener import device_factory
from push.connector.session_queries import SessionQueryHandler
from push.connector.transport.device_port import DevicePort
from push.daemons.apps import make_apps
from push.daemons.collectors import collectors_of
from push.daemons.config.errors import StartError
from push.daemons.config.settings import Settings
from push.daemons.config.shown import configuration_of
from push.daemons.config.value_types import ListenAddress
from push.daemons.demo import DEMO_ROLES, DemoService
from push.daemons.device_gateway import make_gateway
from push.daemons.domain import Domain
from push.daemons.metrics.figures import Unacknowledged, watch_gateway
from push.daemons.metrics.registry import make_registry as make_metrics
from push.daemons.metrics.webhooks import OutboxCollector
from push.daemons.notes import clamped_notes
from push.daemons.part_settings import domain_limits
from push.daemons.process.listening import Listener, MakePort
from push.daemons.process.logs import reopen_log_files
from push.daemons.process.memory import MemoryWatch, total_bytes
from push.daemons.process.node_name import NameLock, node_name
from push.daemons.process.open_files import ConnectionRoom, raise_file_limit
from push.daemons.process.reactor_lag import ReactorLag
from push.daemons.process.signals import StopSignals
from push.daemons.process.tuning import tune
from push.daemons.reload import RELOADED, Reload
from push.daemons.security.api_key_files import ApiKeys
from push.daemons.security.certificate import load_http_tls, load_server_tls
from push.daemons.security.jwt_keys import JwksRefresh, make_verifier, reload_keys
from push.daemons.security.serving import Certificates, ServingTls
from push.daemons.services.banner import Banner
from push.daemons.services.drain_on_stop import DrainService
from push.daemons.services.membership import Membership
from push.daemons.services.ordered_services import OrderedServices
from push.daemons.services.redis import RedisService
from push.daemons.services.registry import make_registry
from push.daemons.services.tracing import OtelTracer, make_tracer
from push.daemons.services.webhooks import WebhookService
from push.daemons.status import DaemonIdentity, DaemonStatus
from push.daemons.upkeep import (
    BackgroundService,
    GatewayService,
    ObserverService,
    make_webhooks,
    upkeep_of,
)
from push.http.edge.auditing import Auditing
from push.http.edge.connection_limits import ConnectionLimits
from push.http.framework.access import Guards
from push.http.framework.port import HttpPort
from push.http.server import make_site
from push.redis.shards import Shards
from push.runtime.bounded_port import BoundedPort
from push.runtime.ports import Reactor
from push.wire.addresses import Networks
from push.wire.api.operate.config import Configuration
from push.wire.codecs.carriers import ENCRYPTED, WEB_SOCKETS
from push.wire.websocket.origins import Origins

log = Logger()
Child = TypeVar("Child", bound=Service)


def make_service(
    settings: Settings, roles: Set[str], read_settings: Callable[[], Settings]
) -> MultiService:
    """A daemon with `roles` among "connector", "api", "sub", "group" and "webhooks".

    Raises `StartError`.

    `read_settings` reads the settings again, for a reload.
    """
    from twisted.internet import reactor

    tune(reactor)
    return Composition(reactor, settings, roles, read_settings).service


class Composition:
    """The parts of one daemon and how they are joined. `service` starts what was added (`_add`) in
    that order, and stops it the other way: first what others need, up to Redis and the keys of
    JWTs (`__init__`), then the rest (`_wire`)."""

    def __init__(
        self,
        reactor: Reactor,
        settings: Settings,
        roles: Set[str],
        read_settings: Callable[[], Settings],
    ) -> None:
        self.service: MultiService = OrderedServices()
        self._reactor = reactor
        self._settings = settings
        self._roles = roles
        # The embedded Redis serves one process: two on one port would be two worlds.
        self._share_ports = settings.server.reuse_port and not settings.redis.url.embedded
        boot = secrets.token_hex(8)
        node = node_name(settings.server.node, boot, unique=self._share_ports)
        self._identity = DaemonIdentity(boot, node, roles, int(time.time() * 1000))
        log.info("node {node}, boot id {boot}", node=node, boot=boot, event="server.starting")
        self._room = ConnectionRoom(settings, roles, raise_file_limit())
        clamped = clamped_notes(settings, roles, self._room.notes, shared=self._share_ports)
        _check_redis(settings, roles)
        self._reload = Reload(read_settings, settings)
        self._reload.add(lambda _: reopen_log_files(globalLogPublisher))
        # First, so that it is the last to stop: until then a second signal counts.
        self._signals = self._add(StopSignals(reactor, self._reload.run))
        self._keys = self._add(ApiKeys(reactor, settings.auth.keys, settings.server.data_folder))
        self._reload.add(self._reload_keys)
        limit_bytes = settings.limits.memory.bytes_of(total_bytes())
        self._memory = MemoryWatch(reactor, limit_bytes, in_thread=reactor.callInThread)
        self._add(BackgroundService(self._memory))
        self._certificates = self._add(Certificates(reactor))
        self._tracer = self._make_tracer()
        self._domain = self._make_domain(self._add(RedisService(reactor, settings)).shards)
        self._webhooks: WebhookService | None = None
        self._backlog: Unacknowledged | None = None
        self._gateway = self._make_gateway() if "connector" in roles else None
        self._domain.survey_handler.handle(BANS, self._confirm_bans)
        self._status = DaemonStatus(
            self._identity,
            settings,
            self._domain,
            self._gateway,
            clamped,
            self._certificates.notes,
        )
        self._wire()

    def _add(self, service: Child) -> Child:
        service.setServiceParent(self.service)
        return service

    def _wire(self) -> None:
        """Add the rest, from the inside out: the registry names ports that listen by then."""
        if self._share_ports and self._settings.server.node:
            folder = self._settings.server.data_folder
            self._add(NameLock(folder, self._identity.node, self._identity.services))
        for work in upkeep_of(self._domain):
            self._add(BackgroundService(work))
        self._add(ObserverService(self._domain.observer))
        if "webhooks" in self._roles:
            self._webhooks = self._add(make_webhooks(self._domain, self._identity.boot))
        if self._gateway is not None:
            self._backlog = watch_gateway(self._reactor, self._domain.observer, self._gateway)
            self._add(BackgroundService(self._backlog))
            self._add(GatewayService(self._gateway))
            SessionQueryHandler(
                self._reactor, self._gateway, self._domain.survey_handler, self._identity.node
            )
            self._gateway.apply_for(self._domain.survey_handler)
            self._listen_for_devices(self._gateway)
        self._listen_for_http()
        self._status.membership = self._add(
            Membership(self._reactor, self._domain.registry, self._status.descriptions())
        )
        if self._gateway is not None:
            # Added last, so that it is the first to stop.
            rate = self._settings.connector.drain_rate
            self._draining = self._add(
                DrainService(self._gateway.drain, rate, self._signals, self._notify_draining)
            )
        ready_file = self._settings.server.ready_path
        lines = self._lines_to_try if self._settings.server.log_format == "text" else None
        self._add(Banner(self._reactor, self._status.problems, lines, ready_file))

    # Parts

    def _make_tracer(self) -> OtelTracer | None:
        tracer = make_tracer(self._reactor, self._settings.otel, self._identity.node)
        return tracer if tracer is None else self._add(tracer)

    def _make_domain(self, shards: Shards) -> Domain:
        return Domain(
            self._reactor,
            domain_limits(self._settings),
            shards,
            make_registry(self._reactor, self._settings, shards.first),
            self._identity.boot,
            self._identity.node,
            zone=self._settings.server.zone,
            keyring=self._keys.keyring,
            is_connector="connector" in self._roles,
            end_banned=self._end_banned,
            tracer=self._tracer,
        )

    async def _end_banned(self, new: NewBans) -> None:
        if self._gateway is not None:
            await self._gateway.commands.end_banned(new)

    async def _confirm_bans(self, _asked: bytes) -> None:
        """Another process changed them, and waits until they are in effect here."""
        await self._domain.bans.wait_until_current()
        if self._gateway is not None:
            await self._gateway.until_ended_are_done()

    def _make_gateway(self) -> Gateway:
        settings, domain = self._settings, self._domain
        verifier = make_verifier(settings.auth)
        self._reload.add(lambda settings: reload_keys(verifier, settings.auth))
        if settings.auth.jwt_jwks_url:
            self._add(JwksRefresh(self._reactor, settings.auth.jwt_jwks_url, verifier))
        return make_gateway(
            settings,
            self._identity,
            domain,
            verifier,
            self._room.count,
            drain=lambda rate_per_second: self._draining.drain_and_stop(rate_per_second),
            is_short_of_memory=lambda: self._memory.is_short,
        )

    def _listen_for_devices(self, gateway: Gateway) -> None:
        connector = self._settings.connector
        addresses = {
            "tcp": connector.tcp,
            "tls": connector.tls,
            "ws": connector.ws,
            "wss": connector.wss,
        }
        wanted = {carrier: address for carrier, address in addresses.items() if address}
        if not wanted and self._roles == {"connector"}:
            raise StartError(
                "there is no listener for devices: set [connector] tcp, tls, ws or wss"
            )
        serving = self._serving_tls() if ENCRYPTED & wanted.keys() else None
        proxies, origins = Networks(connector.proxy_protocol), Origins(connector.origins)
        for carrier, address in wanted.items():
            factory = device_factory(
                self._reactor,
                gateway,
                serving if carrier in ENCRYPTED else None,
                proxies,
                origins=origins if carrier in WEB_SOCKETS else None,
            )
            setting = f"[connector] {carrier}"
            port = self._listen(carrier, setting, address, factory, DevicePort)
            self._status.device_ports[carrier] = port

    def _serving_tls(self) -> ServingTls:
        """One certificate for all listeners, as it is after the last reload."""
        tls = load_server_tls(self._settings.connector, self._settings.server.data_folder)
        self._reload.add(self._reload_certificate)
        return self._certificates.add("connector", tls)

    def _listen_for_http(self) -> None:
        """The HTTP API where there is one; a connector alone serves health and metrics."""
        settings = self._settings
        has_api = bool(self._roles & {"api", "sub", "group", "webhooks"})
        address = settings.http.listen if has_api else settings.connector.admin
        if not address and has_api and self._gateway is None:
            raise StartError("this daemon serves nothing but HTTP: set [http] listen")
        if not address:
            return
        apps = make_apps(self._domain, self._roles, self._configuration)
        if settings.http.demo and self._roles >= DEMO_ROLES:
            apps.append(self._add(DemoService(self._reactor, settings, self._domain)).app)
        site = make_site(
            self._reactor,
            apps,
            self._guards(),
            registry=self._make_metrics(),
            problems=self._status.problems,
            notes=self._status.notes,
            connection_limits=ConnectionLimits(self._room.http_count, self._domain.refusals),
            take_stream=self._gateway.event_streams.serve if has_api and self._gateway else None,
            tracer=self._tracer,
            in_thread=deferToThread,
        )
        setting = "[http] listen" if has_api else "[connector] admin"
        name, factory = self._with_tls(site) if has_api else ("http", site)
        self._status.http_port = self._listen(name, setting, address, factory, HttpPort)

    def _guards(self) -> Guards:
        """Of the HTTP port."""
        settings, domain = self._settings, self._domain
        rates = settings.limits.requests_per_second
        return Guards(
            self._keys.keyring,
            Origins(settings.connector.origins),
            Networks(settings.http.trusted_proxies),
            RequestRates(self._reactor, domain.shards, rates, domain.refusals),
            domain.failed_keys,
            Auditing(domain.observer.audit),
            lambda: self._memory.is_short,
        )

    def _configuration(self) -> Configuration:
        return configuration_of(self._identity.node, self._settings, self._reload.latest, RELOADED)

    def _make_metrics(self) -> CollectorRegistry:
        lag = ReactorLag(self._reactor)
        self._add(BackgroundService(lag))
        return make_metrics(
            self._gateway,
            self._certificates.ends,
            self._memory,
            self._domain.refusals,
            collectors_of(
                self._identity,
                self._settings,
                self._domain,
                self._status,
                lag,
                self._backlog,
                self._webhooks,
                self._watch_outboxes(),
            ),
        )

    def _watch_outboxes(self) -> OutboxCollector | None:
        if not self._roles & {"api", "webhooks"}:
            return None
        store = self._domain.webhooks.store
        outboxes = OutboxCollector(self._reactor, self._domain.shards, store)
        self._add(BackgroundService(outboxes))
        return outboxes

    def _with_tls(self, site: object) -> tuple[str, object]:
        """The HTTP API as it is listened for, and the scheme of its URL."""
        http = self._settings.http
        self._reload.add(self._reload_http_certificate)
        if not http.certificate:
            return "http", site
        serving = self._certificates.add("http", load_http_tls(http))
        return "https", serving.around(site, self._reactor)

    def _listen(
        self,
        name: str,
        setting: str,
        address: ListenAddress,
        factory: object,
        make_port: MakePort = BoundedPort,
    ) -> Listener:
        shared = self._share_ports
        listener = Listener(
            self._reactor, name, setting, address, factory, make_port, reuse_port=shared
        )
        return self._add(listener)

    def _notify_draining(self) -> None:
        """Notify the registry, so that no client is sent here. Where others share the port, the
        kernel too: a client that is sent elsewhere is sent to that same address."""
        assert self._status.membership is not None
        self._status.membership.update()
        if self._share_ports:
            for port in self._status.device_ports.values():
                port.start_closing()

    def _lines_to_try(self) -> list[str]:
        return self._status.lines_to_try(self._keys.files, self._certificates.ca_file("http"))

    def _reload_certificate(self, settings: Settings) -> str:
        folder = settings.server.data_folder
        tls = load_server_tls(settings.connector, folder, make=False)
        return self._certificates.replace("connector", tls)

    def _reload_http_certificate(self, settings: Settings) -> str | None:
        if bool(settings.http.certificate) != bool(self._settings.http.certificate):
            raise StartError("[http] certificate: to begin or end with TLS needs a restart")
        if not settings.http.certificate:
            return None
        return self._certificates.replace("http", load_http_tls(settings.http))

    def _reload_keys(self, settings: Settings) -> str:
        self._keys.configure(settings.auth.keys)
        return str(self._keys)


def _check_redis(settings: Settings, roles: Set[str]) -> None:
    """Raises `StartError` for a daemon that cannot have a Redis of its own."""
    if settings.redis.url.embedded and len(roles) == 1:
        raise StartError(
            "[redis] url = embedded is for `twistd push` alone: the separate daemons share one "
            "Redis server, give its URL"
        )

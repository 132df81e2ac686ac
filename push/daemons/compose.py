"""The only place where a daemon is wired together, from one `Settings` object.

`twistd push` is the same parts as the separate daemons, in one process on one HTTP port.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Set
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogPublisher

from push import __version__
from push.access.bans import CHANNEL as BANS
from push.access.jwt import JwtVerifier
from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.connector.gateway import Gateway, GatewaySettings
from push.connector.listener import device_factory
from push.connector.requests.chat import chat_handlers
from push.connector.session_queries import SessionQueryHandler as OwnClients
from push.daemons.banner import Banner, lines_to_try
from push.daemons.config.errors import StartError
from push.daemons.config.part_settings import session_limits
from push.daemons.config.settings import Settings
from push.daemons.config.value_types import ListenAddress
from push.daemons.domain import SECONDS_PER_DAY, Background, Domain
from push.daemons.drain_on_stop import DrainService
from push.daemons.membership import Describe, Membership
from push.daemons.metrics import make_registry as make_metrics
from push.daemons.ordered_services import OrderedServices
from push.daemons.process.listening import Listener, backlog_notes
from push.daemons.process.log_files import reopen_log_files
from push.daemons.process.node_name import NameLock, node_name
from push.daemons.process.open_files import ConnectionRoom, raise_file_limit
from push.daemons.process.signals import StopSignals
from push.daemons.process.tuning import collect_garbage_less_often, use_monotonic_clock
from push.daemons.redis import RedisService
from push.daemons.reload import Reload
from push.daemons.security.api_key_files import ApiKeys
from push.daemons.security.certificate import ServingTls, load_server_tls
from push.daemons.security.jwt_keys import JwksRefresh, make_verifier
from push.daemons.security.jwt_keys import configure as configure_jwt
from push.devices.sessions import Sessions
from push.http.server import make_site
from push.wire.addresses import Networks

log = Logger()


def make_service(
    settings: Settings, roles: Set[str], read_settings: Callable[[], Settings]
) -> MultiService:
    """A daemon with `roles` among "connector", "api", "sub", "group". Raises `StartError`.

    `read_settings` reads the settings again, for a reload.
    """
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    collect_garbage_less_often()
    return Composition(reactor, settings, roles, read_settings).service


class GatewayService(Service):
    """Starts and stops a connector."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def startService(self) -> None:
        super().startService()
        self._gateway.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._gateway.stop())


class BackgroundService(Service):
    """Starts and stops what works by itself."""

    def __init__(self, work: Background) -> None:
        self._work = work

    def startService(self) -> None:
        super().startService()
        self._work.start()

    def stopService(self) -> None:
        super().stopService()
        self._work.stop()


class Composition:
    """The parts of one daemon and how they are joined. `service` runs them in order."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        roles: Set[str],
        read_settings: Callable[[], Settings],
    ) -> None:
        self.service: MultiService = OrderedServices()
        self._reactor = reactor
        self._settings = settings
        self._roles = roles
        self._boot = secrets.token_hex(8)
        # The embedded Redis serves one process: two on one port would be two worlds.
        self._share_ports = settings.server.reuse_port and not settings.redis.url.embedded
        self._node = node_name(settings.server.node, self._boot, unique=self._share_ports)
        log.info("node {node}, boot id {boot}", node=self._node, boot=self._boot)
        self._started_ms = int(time.time() * 1000)
        self._room = ConnectionRoom(settings, roles, raise_file_limit())
        self._clamped = [*settings.notes, *self._room.notes, *backlog_notes()]
        if settings.server.reuse_port and not self._share_ports:
            self._clamped.append(
                "server.reuse_port does nothing with the embedded Redis, which serves one process"
            )
        for note in self._clamped:
            log.warn("{note}", note=note)
        if settings.redis.url.embedded and len(roles) == 1:
            raise StartError(
                "[redis] url = embedded is for `twistd push` alone: the separate daemons share one "
                "Redis server, give its URL"
            )
        self._reload = Reload(read_settings, settings)
        self._reload.add(lambda _: reopen_log_files(globalLogPublisher))
        # First, so that it is the last to stop: until then a second signal counts.
        self._signals = self._add(StopSignals(reactor, self._reload.run))
        self._keys = self._add(ApiKeys(reactor, settings.auth.keys, settings.server.data_folder))
        self._keyring = self._keys.keyring
        self._reload.add(self._reload_keys)
        store = self._add(RedisService(reactor, settings))
        self._domain = Domain(
            reactor,
            settings,
            store.shards,
            self._boot,
            self._node,
            is_connector="connector" in roles,
            bans_read=self._end_banned,
        )
        self._gateway: Gateway | None = None
        if "connector" in roles:
            self._gateway = self._make_gateway()
        self._domain.answerer.handle(BANS, self._confirm_bans)
        self._device_ports: dict[str, Listener] = {}
        self._http_port: Listener | None = None
        self._membership: Membership | None = None
        self._had_all_servers = False
        self._wire()

    def _add(self, service: Any) -> Any:
        service.setServiceParent(self.service)
        return service

    def _wire(self) -> None:
        """Everything that runs, in the order of the start; the stop goes the other way."""
        if self._share_ports and self._settings.server.node:
            folder = self._settings.server.data_folder
            self._add(NameLock(folder, self._node, self._services()))
        for work in self._domain.upkeep():
            self._add(BackgroundService(work))
        if self._gateway is not None:
            self._add(GatewayService(self._gateway))
            OwnClients(self._reactor, self._gateway, self._domain.answerer, self._node)
            self._gateway.apply_for(self._domain.answerer)
            self._listen_for_devices(self._gateway)
        self._listen_for_http()
        membership = self._membership = Membership(
            self._reactor, self._domain.registry, self._descriptions()
        )
        self._add(membership)
        if self._gateway is not None:
            # Added last, so that it is the first to stop.
            rate = self._settings.connector.drain_rate
            self._draining = self._add(
                DrainService(self._gateway.drain, rate, self._signals, self._tell_draining)
            )
        ready_file = self._settings.server.ready_path
        self._add(Banner(self._reactor, self.problems, self._lines_to_try, ready_file))

    # Parts

    def _end_banned(self) -> None:
        if self._gateway is not None:
            self._gateway.end_banned()

    async def _confirm_bans(self, _asked: bytes) -> None:
        """Another process changed them, and waits until they are in effect here."""
        await self._domain.bans.wait_until_current()
        if self._gateway is not None:
            await self._gateway.ended_are_settled()

    def _make_gateway(self) -> Gateway:
        settings, connector = self._settings, self._settings.connector
        domain = self._domain
        verifier = make_verifier(settings.auth)
        self._reload.add(lambda settings: _reload_jwt_keys(verifier, settings))
        if settings.auth.jwt_jwks_url:
            self._add(JwksRefresh(self._reactor, settings.auth.jwt_jwks_url, verifier))
        sessions = Sessions(
            domain.shards,
            domain.devices,
            domain.outbox,
            verifier,
            boot=self._boot,
            node=self._node,
            retention_seconds=settings.limits.device_retention * SECONDS_PER_DAY,
            attempt_pause_seconds=connector.redeliver_after,
            groups_of=domain.chat.groups.streams_of,
        )
        gateway_settings = GatewaySettings(
            boot=self._boot,
            node=self._node,
            limits=session_limits(connector),
            open_registration=settings.auth.open_registration,
            max_connections=self._room.count,
        )
        return Gateway(
            self._reactor,
            domain.shards,
            domain.control,
            domain.devices,
            sessions,
            domain.topics,
            self._keyring,
            domain.bans,
            domain.lease,
            domain.snowflake,
            gateway_settings,
            lambda carrier, ip: domain.directory.others(carrier, self._boot, ip),
            lambda rate_per_second: self._draining.drain_and_stop(rate_per_second),
            chat_handlers(domain.chat),
        )

    def _listen_for_devices(self, gateway: Gateway) -> None:
        connector = self._settings.connector
        if not connector.tcp and not connector.tls and self._roles == {"connector"}:
            raise StartError("there is no listener for devices: set [connector] tcp or tls")
        proxies = Networks(connector.proxy_protocol)
        if connector.tcp:
            factory = device_factory(self._reactor, gateway, proxies=proxies)
            port = self._listen("tcp", "[connector] tcp", connector.tcp, factory)
            self._device_ports["tcp"] = port
        if connector.tls:
            tls = load_server_tls(connector, self._settings.server.data_folder)
            log.info("TLS {certificate}", certificate=str(tls))
            serving = ServingTls(tls)
            self._reload.add(lambda settings: _reload_certificate(serving, settings))
            factory = device_factory(self._reactor, gateway, serving, proxies)
            port = self._listen("tls", "[connector] tls", connector.tls, factory)
            self._device_ports["tls"] = port

    def _listen_for_http(self) -> None:
        """The HTTP API where there is one; a connector alone serves health and metrics."""
        settings = self._settings
        has_api = bool(self._roles & {"api", "sub", "group"})
        address = settings.http.listen if has_api else settings.connector.admin
        if not address and has_api and self._gateway is None:
            raise StartError("this daemon serves nothing but HTTP: set [http] listen")
        if not address:
            return
        site = make_site(
            self._reactor,
            self._domain.apps(self._roles),
            keyring=self._keyring,
            registry=make_metrics(self._gateway),
            problems=self.problems,
            notes=self.notes,
            trusted_proxies=Networks(settings.http.trusted_proxies),
        )
        setting = "[http] listen" if has_api else "[connector] admin"
        self._http_port = self._listen("http", setting, address, site)

    def _listen(self, name: str, setting: str, address: ListenAddress, factory: Any) -> Listener:
        shared = self._share_ports
        listener = Listener(self._reactor, name, setting, address, factory, reuse_port=shared)
        return self._add(listener)

    def _tell_draining(self) -> None:
        """The registry, so that nobody is sent here; and the kernel, where others share the port:
        whoever is sent away from here is sent to that same address."""
        assert self._membership is not None
        self._membership.update()
        if self._share_ports:
            for port in self._device_ports.values():
                port.close()

    # What is said of this daemon

    def problems(self) -> list[str]:
        """Why this daemon is not ready, in sentences; empty when it is."""
        membership = self._membership
        registry = None if self._domain.registry.joined else self._domain.registry.problem
        problems = [*self._missing_servers(), registry]
        problems.append(membership.problem if membership else None)
        return list(dict.fromkeys(p for p in problems if p is not None))

    def notes(self) -> list[str]:
        """What an operator should know although this daemon works.

        Among it that the registry is away, or some of several Redis servers. Not ready for that,
        all daemons would be taken out by a load balancer at once, and all of them work.
        """
        domain = self._domain
        problem = domain.registry.problem if domain.registry.joined else None
        away = [] if self._missing_servers() else domain.shards.problems
        return [
            *domain.shards.notes,
            *away,
            *([] if problem is None else [problem]),
            *self._clamped,
        ]

    def _missing_servers(self) -> list[str]:
        """Why Redis keeps this daemon from being ready: at first any server, later all of them."""
        shards = self._domain.shards
        problems = shards.problems
        self._had_all_servers |= not problems
        return problems if len(problems) == len(shards) or not self._had_all_servers else []

    def _services(self) -> list[str]:
        return [f"push-{role}" for role in sorted(self._roles)]

    def _descriptions(self) -> list[Describe]:
        return [partial(self._describe, service) for service in self._services()]

    def _describe(self, service: str) -> RegistryEntry:
        gateway = self._gateway if service == CONNECTOR else None
        return RegistryEntry(
            service=service,
            instance=self._node,
            boot=self._boot,
            addresses=self._addresses() if gateway else {},
            public=bool(gateway and self._settings.connector.public),
            sessions=len(gateway.sessions) if gateway else 0,
            capacity=gateway.capacity if gateway else 0,
            version=__version__,
            draining=gateway.drain.draining if gateway else False,
            weight=self._settings.connector.weight,
            zone=self._settings.server.zone,
            started=self._started_ms,
            counters=gateway_counters(gateway) if gateway else {},
        )

    def _addresses(self) -> dict[str, str]:
        public = {url.partition(":")[0]: str(url) for url in self._settings.connector.public}
        return public or {name: port.public_url(name) for name, port in self._device_ports.items()}

    def _lines_to_try(self) -> list[str]:
        http = self._http_port.public_url("http") if self._http_port else None
        devices = list(self._addresses().values()) if self._gateway else []
        return lines_to_try(http, devices, self._roles, self._keys.files)

    def _reload_keys(self, settings: Settings) -> str:
        self._keys.configure(settings.auth.keys)
        return str(self._keys)


def _reload_jwt_keys(verifier: JwtVerifier, settings: Settings) -> str | None:
    configure_jwt(verifier, settings.auth)
    path = settings.auth.jwt_key_file
    return f"JWT key file {path}" if path else None


def _reload_certificate(serving: ServingTls, settings: Settings) -> str:
    folder = settings.server.data_folder
    serving.now = load_server_tls(settings.connector, folder, make=False)
    return str(serving.now)


def gateway_counters(gateway: Gateway) -> dict[str, int]:
    return {**vars(gateway.counters), "written": gateway.written}

"""What a daemon says of itself: whether it is ready, what an operator should know, its entries in
the registry, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import NamedTuple

from push import __version__
from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.connector.gateway import Gateway
from push.daemons.config.settings import Settings
from push.daemons.domain import Domain
from push.daemons.process.listening import Listener
from push.daemons.services.banner import lines_to_try
from push.daemons.services.membership import Describe, Membership
from push.wire.codecs.carriers import WEB_SOCKETS
from push.wire.websocket.opening import PATH


class DaemonIdentity(NamedTuple):
    """A daemon's boot id, the name of its node, its roles, and its start in ms since 1970 UTC."""

    boot: str
    node: str
    roles: Set[str]
    started_ms: int

    @property
    def services(self) -> list[str]:
        return [f"push-{role}" for role in sorted(self.roles)]


class DaemonStatus:
    """The status of one daemon. `clamped`: settings of which it uses less than it was given.
    `certificate_notes()`: which certificates end soon.

    `membership` and the listening ports are added while the daemon is wired.
    """

    def __init__(
        self,
        identity: DaemonIdentity,
        settings: Settings,
        domain: Domain,
        gateway: Gateway | None,
        clamped: Sequence[str],
        certificate_notes: Callable[[], Sequence[str]],
    ) -> None:
        self.membership: Membership | None = None
        self.device_ports: dict[str, Listener] = {}
        self.http_port: Listener | None = None
        self._identity = identity
        self._settings = settings
        self._domain = domain
        self._gateway = gateway
        self._clamped = clamped
        self._certificate_notes = certificate_notes
        self._had_all_servers = False

    def problems(self) -> list[str]:
        """Why this daemon is not ready, in sentences; empty when it is."""
        membership = self.membership
        registry = None if self._domain.registry.joined else self._domain.registry.problem
        problems = [*self._missing_servers(), registry]
        problems.append(membership.problem if membership else None)
        if self._gateway is not None and self._gateway.drain.draining:
            problems.append("draining: it takes no new sessions, and ends with those that it has")
        return list(dict.fromkeys(p for p in problems if p is not None))

    def notes(self) -> list[str]:
        """What an operator should know although this daemon works.

        This includes that the registry is unreachable, or some of several Redis servers. If that
        made daemons not ready, a load balancer would remove all at once, and all of them work.
        """
        domain = self._domain
        problem = domain.registry.problem if domain.registry.joined else None
        unreachable = [] if self._missing_servers() else domain.shards.problems
        return [
            *domain.shards.notes,
            *unreachable,
            *([] if problem is None else [problem]),
            *self._clamped,
            *self._certificate_notes(),
        ]

    def _missing_servers(self) -> list[str]:
        """Why Redis keeps this daemon from being ready: at first any server, later all of them."""
        shards = self._domain.shards
        problems = shards.problems
        self._had_all_servers |= not problems
        return problems if len(problems) == len(shards) or not self._had_all_servers else []

    def descriptions(self) -> list[Describe]:
        """Functions that return the entries of this daemon in the registry, as they are now."""
        return [partial(self._describe, service) for service in self._identity.services]

    def _describe(self, service: str) -> RegistryEntry:
        gateway = self._gateway if service == CONNECTOR else None
        return RegistryEntry(
            service=service,
            instance=self._identity.node,
            boot=self._identity.boot,
            addresses=self._addresses() if gateway else {},
            public=bool(gateway and self._settings.connector.public),
            sessions=len(gateway.sessions) if gateway else 0,
            capacity=gateway.capacity if gateway else 0,
            version=__version__,
            draining=gateway.drain.draining if gateway else False,
            weight=self._settings.connector.weight,
            zone=self._settings.server.zone,
            started=self._identity.started_ms,
            counters=gateway_counters(gateway) if gateway else {},
        )

    def _addresses(self) -> dict[str, str]:
        public = {url.partition(":")[0]: str(url) for url in self._settings.connector.public}
        return public or {
            name: port.public_url(name) + (PATH if name in WEB_SOCKETS else "")
            for name, port in self.device_ports.items()
        }

    def lines_to_try(self, key_files: Mapping[str, Path], ca_file: Path | None = None) -> list[str]:
        """What the banner prints; see `push.daemons.services.banner.lines_to_try`."""
        http = self.http_port.public_url(self.http_port.carrier) if self.http_port else None
        devices = list(self._addresses().values()) if self._gateway else []
        return lines_to_try(http, devices, self._identity.roles, key_files, ca_file)


def gateway_counters(gateway: Gateway) -> dict[str, int]:
    return {**gateway.counters.totals(), "written": gateway.delivery_policy.written}

"""Which HTTP interfaces a daemon serves."""

from __future__ import annotations

from collections.abc import Callable, Set

from push.cluster.drain_command import NodeDrains
from push.daemons.domain import Domain
from push.http.framework.route import App
from push.http.routes.apps import make_api, make_group, make_observe, make_sub
from push.wire.api.operate.config import Configuration


def make_apps(
    domain: Domain, roles: Set[str], configuration: Callable[[], Configuration]
) -> list[App]:
    """Those of a daemon with `roles`. `configuration()`: its settings, as they are shown."""
    apps = []
    if "api" in roles:
        apps.append(
            make_api(
                clock=domain.reactor,
                pushing=domain.pushing,
                devices=domain.devices,
                nodes=domain.directory,
                drains=NodeDrains(domain.directory, domain.control),
                sessions=domain.session_queries,
                users=domain.users,
                erasure=domain.erasure,
                topics=domain.topics,
                bans=domain.bans,
                keys=domain.keys,
                webhooks=domain.webhooks,
                limits=domain.limits.push,
            )
        )
        apps.append(
            make_observe(
                clock=domain.reactor,
                shards=domain.shards,
                observer=domain.observer,
                devices=domain.devices,
                pushing=domain.pushing,
                configuration=configuration,
            )
        )
    if "sub" in roles:
        open_registration = domain.limits.open_registration
        apps.append(make_sub(domain.devices, domain.directory, open_registration=open_registration))
    if "group" in roles:
        apps.append(make_group(domain.chat))
    return apps

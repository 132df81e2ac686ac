"""One port: the apps it serves, with health, metrics and documentation beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from push import __version__
from push.access.api_keys import Keyring
from push.http.framework.middleware import Edge
from push.http.framework.route import App
from push.http.framework.site import LimitedSite
from push.http.system_routes import make_common, make_pages
from push.http.web_client import make_web_client
from push.wire.addresses import Networks


def make_site(
    reactor: Any,
    apps: Sequence[App],
    *,
    keyring: Keyring,
    registry: CollectorRegistry,
    problems: Callable[[], Sequence[str]],
    notes: Callable[[], Sequence[str]] = tuple,
    origins: Iterable[str] = (),
    trusted_proxies: Networks | None = None,
    title: str = "push-universe",
    version: str = __version__,
) -> LimitedSite:
    """A Site for `apps` (none: only health and metrics). One call for each registry.

    `problems()` lists why the daemon cannot work now, for `/readyz`, and `notes()` what is less
    safe than it could be. `origins` are those web pages that may register devices from a browser,
    as "https://example.com". The X-Forwarded-For of `trusted_proxies` is believed.
    """
    served = [*apps, make_web_client(), make_common(problems, notes, registry)]
    served.append(make_pages(title, version, served))
    routes = (route for app in served for route in app.routes)
    edge = Edge(routes, keyring, registry, origins, trusted_proxies)
    return LimitedSite(reactor, edge.resource(), edge.admit)

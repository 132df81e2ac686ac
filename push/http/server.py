"""One port: the apps it serves, with health, metrics and documentation beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from twisted.internet.defer import maybeDeferred

from push import __version__
from push.access.rate_limits import RefusalCounts
from push.http.console import Console
from push.http.edge.connection_limits import MAX_CONNECTIONS, ConnectionLimits
from push.http.fast_path.channel import FastPathSite
from push.http.framework.access import Guards
from push.http.framework.middleware import Routing
from push.http.framework.route import App, Endpoint, routes_of
from push.http.framework.site import LimitedSite, TakeStream
from push.http.pages import LINKS
from push.http.request_measures import RequestMeasures
from push.http.stream_operation import STREAM_APP
from push.http.system_routes import HealthRoutes, InThread, PageRoutes
from push.http.web_client import make_web_client
from push.runtime.ports import Clock, Reactor
from push.runtime.tracing import Tracer

TITLE = "push-universe"
# The app that most screens of the console ask.
_CONSOLE_ASKS = "push-api"


def _console_for(apps: Sequence[App]) -> Console | None:
    """None: this daemon has not what the console shows."""
    names = {app.name for app in apps}
    if _CONSOLE_ASKS not in names:
        return None
    return Console(
        __version__, [*(path for path, _ in LINKS), *(["/demo"] if "demo" in names else [])]
    )


def _routes_of(
    clock: Clock,
    apps: Sequence[App],
    health: HealthRoutes,
    in_thread: InThread,
) -> list[Endpoint]:
    """Those of `apps`, and of what every daemon has: the JavaScript client, health, the console,
    the documents."""
    described = "Health, metrics and documentation."
    served = [*apps, make_web_client(), App("every daemon", described, routes_of(health))]
    console = _console_for(apps)
    if console is not None:
        served.append(console.app)
    served.append(PageRoutes(clock, TITLE, __version__, served, console, in_thread).app)
    return [route for app in served for route in app.routes]


def make_site(
    reactor: Reactor,
    apps: Sequence[App],
    guards: Guards,
    *,
    registry: CollectorRegistry,
    problems: Callable[[], Sequence[str]],
    notes: Callable[[], Sequence[str]] = tuple,
    connection_limits: ConnectionLimits | None = None,
    take_stream: TakeStream | None = None,
    tracer: Tracer | None = None,
    in_thread: InThread = maybeDeferred,
) -> LimitedSite:
    """A Site for `apps` (none: only health and metrics). One call for each registry.

    `problems()` lists why the daemon cannot work now, for `/readyz`, and `notes()` what is less
    safe than it could be. `take_stream` answers `GET /v1/stream`. `in_thread` makes documents.
    """
    health = HealthRoutes(problems, notes, registry)
    apps = [*apps, STREAM_APP] if take_stream is not None else apps
    routes = _routes_of(reactor, apps, health, in_thread)
    routing = Routing(
        routes,
        guards,
        seconds=reactor.seconds,
        note_answer=RequestMeasures(registry).note,
        tracer=tracer,
    )
    limits = connection_limits or ConnectionLimits(MAX_CONNECTIONS, RefusalCounts())
    return FastPathSite(reactor, routes, routing, limits, guards.proxies, take_stream)

"""One port: the apps it serves, with health, metrics and documentation beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from twisted.internet.defer import maybeDeferred

from push import __version__
from push.access.api_keys import Keyring
from push.access.rate_limits import RefusalCounts
from push.access.request_rates import FailedKeys, RequestRates
from push.http.console import Console
from push.http.edge.auditing import Auditing
from push.http.edge.connection_limits import MAX_CONNECTIONS, ConnectionLimits
from push.http.fast_path.channel import DirectSite
from push.http.framework.middleware import Routing
from push.http.framework.route import App, Endpoint, routes_of
from push.http.framework.site import LimitedSite, TakeStream
from push.http.pages import LINKS
from push.http.request_measures import RequestMeasures
from push.http.stream_operation import STREAM_APP
from push.http.system_routes import HealthRoutes, InThread, PageRoutes
from push.http.web_client import make_web_client
from push.observe.audit import AuditTrail
from push.runtime.ports import Clock, Reactor
from push.runtime.tracing import Tracer
from push.wire.addresses import Networks
from push.wire.websocket.origins import Origins

# The app that most screens of the console ask.
_CONSOLE_ASKS = "push-api"


def _console_for(apps: Sequence[App], version: str) -> Console | None:
    """None: this daemon has not what the console shows."""
    names = {app.name for app in apps}
    if _CONSOLE_ASKS not in names:
        return None
    return Console(version, [*(path for path, _ in LINKS), *(["/demo"] if "demo" in names else [])])


def _routes_of(
    clock: Clock,
    apps: Sequence[App],
    health: HealthRoutes,
    title: str,
    version: str,
    in_thread: InThread,
) -> list[Endpoint]:
    """Those of `apps`, and of what every daemon has: the JavaScript client, health, the console,
    the documents."""
    described = "Health, metrics and documentation."
    served = [*apps, make_web_client(), App("every daemon", described, routes_of(health))]
    console = _console_for(apps, version)
    if console is not None:
        served.append(console.app)
    served.append(PageRoutes(clock, title, version, served, console, in_thread).app)
    return [route for app in served for route in app.routes]


def make_site(
    reactor: Reactor,
    apps: Sequence[App],
    *,
    keyring: Keyring,
    registry: CollectorRegistry,
    problems: Callable[[], Sequence[str]],
    notes: Callable[[], Sequence[str]] = tuple,
    origins: Origins | None = None,
    trusted_proxies: Networks | None = None,
    max_connections: int = MAX_CONNECTIONS,
    refusals: RefusalCounts | None = None,
    rates: RequestRates | None = None,
    failed_keys: FailedKeys | None = None,
    is_short_of_memory: Callable[[], bool] = lambda: False,
    take_stream: TakeStream | None = None,
    tracer: Tracer | None = None,
    audit: AuditTrail | None = None,
    in_thread: InThread = maybeDeferred,
    title: str = "push-universe",
    version: str = __version__,
) -> LimitedSite:
    """A Site for `apps` (none: only health and metrics). One call for each registry.

    `problems()` lists why the daemon cannot work now, for `/readyz`, and `notes()` what is less
    safe than it could be. Pages of `origins` may register devices from a browser. Headers of
    `trusted_proxies` are believed. `take_stream` answers `GET /v1/stream`. `refusals` counts what
    limits refuse; `audit` gets who writes. Nothing new begins while it `is_short_of_memory`.
    `in_thread` makes documents.
    """
    refusals = RefusalCounts() if refusals is None else refusals
    health = HealthRoutes(problems, notes, registry)
    apps = [*apps, STREAM_APP] if take_stream is not None else apps
    measures = RequestMeasures(registry)
    routes = _routes_of(reactor, apps, health, title, version, in_thread)
    routing = Routing(
        routes,
        keyring,
        origins,
        trusted_proxies,
        seconds=reactor.seconds,
        note_answer=measures.note,
        tracer=tracer,
        rates=rates,
        failed_keys=failed_keys or FailedKeys(reactor, 0, refusals),
        auditing=None if audit is None else Auditing(audit),
        is_short_of_memory=is_short_of_memory,
    )
    connection_limits = ConnectionLimits(max_connections, refusals)
    return DirectSite(reactor, routes, routing, connection_limits, trusted_proxies, take_stream)

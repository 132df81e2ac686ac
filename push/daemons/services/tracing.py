"""Spans by OpenTelemetry's SDK, which is loaded only where they are wanted."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from push import __version__
from push.daemons.config.errors import StartError
from push.daemons.config.otel_section import OtelSection
from push.runtime.ports import Reactor
from push.runtime.tracing import ACCEPT, DELIVER, PUBLISH
from push.wire.addresses import REDACTED, without_secrets

log = Logger()

TRACES_PATH = "/v1/traces"
EXPORT_SECONDS = 5  # for one export, and at the stop for all that wait
TOLD_SECONDS = 60  # a collector that is unreachable is logged once in so long
# The SDK's HTTP client names what it cannot reach: "... (Caused by …) with url: /v1/traces?key=…".
_PATH_OF_URL = re.compile(r"(?<=url: )\S+|(?<=://)\S+")
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class OtelSpan:
    """See `push.runtime.tracing.Span`."""

    __slots__ = ("_span", "is_sampled", "traceparent")

    def __init__(self, span: Any) -> None:
        self._span = span
        context = span.get_span_context()
        flags = int(context.trace_flags)
        self.is_sampled = context.trace_flags.sampled
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"

    def end(self, attributes: Mapping[str, str | int], error: str = "") -> None:
        from opentelemetry.trace import Status, StatusCode

        span = self._span
        if span.is_recording():
            span.set_attributes(attributes)
            if error:
                span.set_status(Status(StatusCode.ERROR, error))
        span.end()


class OtelTracer(Service):
    """Makes spans, and sends those that have ended in batches from a thread of the SDK's own.

    The thread begins with the service: one that began earlier would not outlive twistd's fork.
    """

    def __init__(self, reactor: Reactor, settings: OtelSection, node: str) -> None:
        self._reactor = reactor
        self._settings = settings
        self._node = node
        self._provider: Any = None
        self._tracer: Any = None

    def startService(self) -> None:
        super().startService()
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._kinds = {
            ACCEPT: SpanKind.SERVER,
            PUBLISH: SpanKind.PRODUCER,
            DELIVER: SpanKind.CONSUMER,
        }
        self._extract = TraceContextTextMapPropagator().extract
        self._provider = make_provider(self._settings, self._node)
        self._tracer = self._provider.get_tracer("push", __version__)
        self._troubles = TroubleLog(self._reactor)
        logging.getLogger("opentelemetry").addHandler(self._troubles)
        endpoint = self._settings.endpoint
        log.info(
            "spans go to {endpoint}",
            endpoint=without_secrets(endpoint) if endpoint else "OTEL_EXPORTER_OTLP_ENDPOINT",
            event="otel.started",
        )

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return deferToThread(self._shut_down)

    def _shut_down(self) -> None:
        self._provider.force_flush(EXPORT_SECONDS * 1000)
        self._provider.shutdown()
        logging.getLogger("opentelemetry").removeHandler(self._troubles)

    def start(self, name: str, parent: str | None) -> OtelSpan:
        # An empty context, not the current one: a coroutine goes on in that of somebody else.
        context = self._extract({} if parent is None else {"traceparent": parent})
        return OtelSpan(self._tracer.start_span(name, context, self._kinds[name]))


class TroubleLog(logging.Handler):
    """What the SDK says that goes wrong, in our log: once in a minute."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(logging.WARNING)
        self._reactor = reactor
        self._told_at: float | None = None
        self._lock = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        now = self._reactor.seconds()
        with self._lock:  # it is called in the SDK's threads
            if self._told_at is not None and now - self._told_at < TOLD_SECONDS:
                return
            self._told_at = now
        reason = _PATH_OF_URL.sub(REDACTED, record.getMessage())
        self._reactor.callFromThread(_tell, reason)


def _tell(reason: str) -> None:
    log.warn("spans could not be sent: {reason}", reason=reason, event="otel.trouble")


def make_tracer(reactor: Reactor, settings: OtelSection, node: str) -> OtelTracer | None:
    """None where spans are not wanted. Raises `StartError` where they cannot be made."""
    if not settings.is_on:
        return None
    if not all(map(_is_installed, _PACKAGES)):
        problem = "[otel] needs the packages of OpenTelemetry: pip install 'push-universe[otel]'"
        if settings.endpoint:
            raise StartError(problem)
        # The variable may be there for other programs.
        log.warn("{problem}", problem=problem, event="otel.missing")
        return None
    return OtelTracer(reactor, settings, node)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def make_provider(settings: OtelSection, node: str) -> Any:
    """What collects and sends. The standard variables OTEL_… hold where a setting is not given."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    endpoint = settings.endpoint.rstrip("/") + TRACES_PATH if settings.endpoint else None
    resource = Resource.create(
        {
            "service.name": settings.service,
            "service.version": __version__,
            "service.instance.id": node,
        }
    )
    provider = TracerProvider(
        ParentBased(TraceIdRatioBased(settings.sample_percent / 100)),
        resource,
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider

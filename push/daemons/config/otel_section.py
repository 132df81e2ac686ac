"""The section `[otel]` of the settings (see `push.daemons.config.settings`)."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from push.daemons.config.section import Section

# With one of these, spans are sent without any setting.
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class OtelSection(Section, frozen=True):
    """Spans for OpenTelemetry."""

    endpoint: Annotated[
        str,
        Meta(
            description="where spans are sent by OTLP over HTTP, as http://127.0.0.1:4318; "
            '"" = nowhere, unless OTEL_EXPORTER_OTLP_ENDPOINT is set'
        ),
    ] = ""
    service: Annotated[
        Annotated[str, Meta(min_length=1)], Meta(description="service.name of the spans")
    ] = "push"
    sample_percent: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="share of the requests without a traceparent that are traced; one that "
            "has a traceparent is traced when that says so",
        ),
    ] = 100

    @property
    def is_on(self) -> bool:
        return bool(self.endpoint) or any(map(os.environ.get, ENDPOINT_VARIABLES))

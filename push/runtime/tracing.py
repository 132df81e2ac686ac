"""Spans, as their makers see them. They are collected by `push.daemons.services.tracing`.

Where nothing collects spans there is no `Tracer`: a part that has none does nothing for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

ACCEPT = "push.accept"  # a request of HTTP, from its last byte to its answer
PUBLISH = "push.publish"  # writing a message to its streams
DELIVER = "push.deliver"  # handing a message to the sessions of one connector


class Span(Protocol):
    """Something that takes a while."""

    @property
    def traceparent(self) -> str:
        """The span by the header of that name (W3C Trace Context)."""

    @property
    def is_sampled(self) -> bool:
        """Whether it is collected; of one that is not, nobody needs the traceparent."""

    def end(self, attributes: Mapping[str, str | int], error: str = "") -> None:
        """It is over; `error`: what went wrong."""


class Tracer(Protocol):
    def start(self, name: str, parent: str | None) -> Span:
        """Begin a span; `parent`: a traceparent. One that is None or wrong begins a new trace."""


def ending_of_request(method: str, route: str, status: int) -> tuple[dict[str, str | int], str]:
    """What the span of a request ends with: its attributes, and its error if it is the server's."""
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
    }
    return attributes, str(status) if status >= 500 else ""

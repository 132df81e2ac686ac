"""Spans of what a connector hands out."""

from __future__ import annotations

from push.runtime.tracing import DELIVER, Span, Tracer
from push.session.entry import Batch


class DeliverySpans:
    """Spans of messages that are being handed to sessions, with how many these are."""

    def __init__(self) -> None:
        self._open: list[tuple[Span, dict[str, str | int]]] = []

    def begin(self, tracer: Tracer, stream: str, batch: Batch, sessions: int) -> None:
        """For each message of `batch` that is traced."""
        for entry in batch.entries:
            if entry.trace:
                attributes: dict[str, str | int] = {
                    "push.message_id": entry.id,
                    "push.stream_kind": stream.partition(":")[0],
                    "push.sessions": sessions,
                }
                self._open.append((tracer.start(DELIVER, entry.trace), attributes))

    def end(self) -> None:
        """All was written."""
        ended, self._open = self._open, []
        for span, attributes in ended:
            span.end(attributes)

"""What a connector tells of its sessions: the one place for what is measured, shown and kept."""

from __future__ import annotations

from typing import Protocol

from push.observe.ack_latency import AckLatency


class ObservedSession(Protocol):
    """A session of a device, or of a user without a device (`token` None)."""

    session_id: str
    token: str | None
    user: str | None
    connected_ms: int


class ObservedMessage(Protocol):
    """A message that is handed out; `offset`: when it was published, in microseconds."""

    id: str
    offset: int


class SessionEvents:
    """Called by the parts of a connector. What nobody looks at costs next to nothing."""

    def __init__(self, ack_latency: AckLatency) -> None:
        self.ack_latency = ack_latency

    def acknowledged(self, session: ObservedSession, shard: int, message: ObservedMessage) -> None:
        """The cursor moved over `message`, whose stream is on server number `shard`."""
        offset = message.offset
        if offset >= session.connected_ms * 1000:
            self.ack_latency.note(shard, offset)

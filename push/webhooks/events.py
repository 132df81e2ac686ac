"""An event as it is in the outbox, and as it is sent.

Its types are in `push.wire.api.operate.webhooks` (`WebhookType`); scripts decide that there is one
(`put_event` of webhooks.lua).
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Raw, Struct


class _Packed(Struct, frozen=True, array_like=True):
    """See webhook_outbox.lua."""

    type: str
    source: str
    seq: int
    endpoints: str
    data: str
    trace: str = ""


_decode = msgspec.msgpack.Decoder(_Packed).decode
_encode = msgspec.json.Encoder().encode


class _EventBody(Struct, frozen=True):
    type: str
    timestamp: str
    seq: int
    source: str
    data: Raw


class OutboxEvent(Struct, frozen=True):
    """`failed`: how many attempts to send it to the endpoint have failed. `since`: since when it
    waits, which a replay changes. `data`: JSON. `trace`: the traceparent of the message that it is
    about, "" = none."""

    id: str
    failed: int
    since: bytes
    type: str
    source: str
    seq: int
    data: str
    trace: str = ""

    @classmethod
    def unpack(cls, id: str, failed: int, since: bytes, packed: bytes) -> OutboxEvent:
        kept = _decode(packed)
        return cls(id, failed, since, kept.type, kept.source, kept.seq, kept.data, kept.trace)

    def body(self) -> bytes:
        """What is signed and sent, the same at every attempt."""
        raw = Raw(self.data.encode())
        return _encode(_EventBody(self.type, timestamp_of(self.id), self.seq, self.source, raw))


def timestamp_of(id: str) -> str:
    """When an event was decided: ISO 8601, UTC."""
    _, offset_us, _ = id.split("_")
    seconds, microseconds = divmod(int(offset_us), 1_000_000)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

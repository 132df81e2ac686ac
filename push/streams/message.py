"""A message in Redis, and the PUSH body made from it.

The publisher encodes what does not depend on the stream once; the connector puts stream, offset
and times in front of it without parsing it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from push.redis import keyspace
from push.session.entry import Entry

CONTROL_FIELD = keyspace.ENTRY_CONTROL.encode()
OWN_TS = b'{"ts":'


class _Typing(msgspec.Struct):
    user: str


_decode_typing = msgspec.json.Decoder(_Typing).decode
_decode_control = msgspec.json.Decoder(dict[str, str]).decode
_encoder = msgspec.json.Encoder()


class MessageContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a publisher says. `data` is the JSON value's own bytes; `id` is the message's name."""

    id: str
    data: msgspec.Raw
    title: str | None = None
    body: str | None = None
    encoding: str | None = None


encode_content: Callable[[MessageContent], bytes] = _encoder.encode


def push_body(
    stream: str, offset: int, ts_ms: int | str, expires_ms: int | str, content: bytes
) -> bytes:
    """The JSON of a PUSH; `offset` 0 leaves it out, as at QoS 0.

    Content that begins with a `ts` came from another server, later than it was accepted there.
    """
    place = f'"offset":"{offset}",' if offset else ""
    ts = "" if content.startswith(OWN_TS) else f'"ts":{ts_ms},'
    head = f'{{"stream":"{stream}",{place}{ts}"expires":{expires_ms},'
    return head.encode() + content[1:]


def from_channel(stream: str, payload: bytes, message_id: int) -> tuple[Entry | None, int]:
    """What `payload` announces (see channel.lua): an entry, and the offset of one that it takes
    away.

    `message_id` is the message id of those that are acknowledged. The offset is 0: it takes none
    away; below 0: all up to that offset were dropped. No entry: something was only taken away.
    Raises ValueError if it is not our message.
    """
    head, content = payload.split(b"\n", 1)
    previous, at, ts_ms, expires_ms, field, id, removes, *trace = head.decode().split(" ")
    if field == keyspace.ENTRY_REMOVAL:
        return None, int(removes)
    offset = int(at)
    if field == keyspace.ENTRY_CONTROL:
        return _control(id, int(previous), offset, int(expires_ms), content), 0
    body = push_body(stream, offset, ts_ms, expires_ms, content)
    entry = Entry(id, int(previous), offset, body, int(expires_ms))
    if offset:
        entry.message_id = message_id
    elif field == keyspace.ENTRY_ONLINE:
        entry.message_id, entry.online = message_id, True
    elif field == keyspace.ENTRY_TYPING:
        entry.exclude_user = _decode_typing(content).user
    if trace:
        entry.trace = trace[0]
    return entry, int(removes)


def from_log(stream: str, previous: int, item: list[object]) -> Entry:
    """An entry as XRANGE gives it: `[b"<offset>-0", [b"i", id, b"x", expires, field, content]]`."""
    name, fields = item
    assert isinstance(name, bytes)
    assert isinstance(fields, list)
    offset = int(name.split(b"-", 1)[0])
    id, expires_ms, field, content = fields[1], int(fields[3]), fields[4], fields[5]
    if field == CONTROL_FIELD:
        return _control(id.decode(), previous, offset, expires_ms, content)
    body = push_body(stream, offset, offset // 1000, expires_ms, content)
    return Entry(sys.intern(id.decode()), previous, offset, body, expires_ms=expires_ms)


def _control(id: str, previous: int, offset: int, expires_ms: int, content: bytes) -> Entry:
    """An entry that is for the connector."""
    control = _decode_control(content)
    return Entry(id, previous, offset, b"", expires_ms=expires_ms, control=control)

"""A message in Redis, and the PUSH body made from it.

The publisher encodes what does not depend on the stream once; the connector puts stream, offset
and times in front of it without parsing it again.
"""

from __future__ import annotations

import msgspec

from push.session.entry import Entry

MESSAGE_FIELD = b"m"
CONTROL_FIELD = b"c"

_decode_control = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a publisher says. `data` is the JSON value's own bytes; `id` is the message's name."""

    id: str
    data: msgspec.Raw
    title: str | None = None
    body: str | None = None
    encoding: str | None = None


def encode_content(content: Content) -> bytes:
    return _encode(content)


def push_body(stream: str, offset: int, ts_ms: int, expires_ms: int, content: bytes) -> bytes:
    """The JSON of a PUSH; `offset` 0 leaves it out, as at QoS 0."""
    place = f'"offset":"{offset}",' if offset else ""
    head = f'{{"stream":"{stream}",{place}"ts":{ts_ms},"expires":{expires_ms},'
    return head.encode() + content[1:]


def from_channel(stream: str, payload: bytes, number: int) -> Entry:
    """The entry announced by `payload` (see publish.lua). Raises ValueError if it is not one."""
    head, content = payload.split(b"\n", 1)
    previous, offset, ts_ms, expires_ms, field, id = head.split(b" ")
    return _entry(
        stream,
        id,
        int(previous),
        int(offset),
        int(ts_ms),
        int(expires_ms),
        field,
        content,
        number if int(offset) else 0,
    )


def from_log(stream: str, previous: int, item: list[object]) -> Entry:
    """An entry as XRANGE gives it: `[b"<offset>-0", [b"i", id, b"x", expires, field, content]]`."""
    name, fields = item
    assert isinstance(name, bytes)
    assert isinstance(fields, list)
    offset = int(name.split(b"-", 1)[0])
    return _entry(
        stream, fields[1], previous, offset, offset // 1000, int(fields[3]), fields[4], fields[5], 0
    )


def _entry(
    stream: str,
    id: bytes,
    previous: int,
    offset: int,
    ts_ms: int,
    expires_ms: int,
    field: bytes,
    content: bytes,
    number: int,
) -> Entry:
    if field == CONTROL_FIELD:
        return Entry(
            id.decode(),
            previous,
            offset,
            b"",
            expires_ms=expires_ms,
            control=_decode_control(content),
        )
    body = push_body(stream, offset, ts_ms, expires_ms, content)
    return Entry(id.decode(), previous, offset, body, expires_ms=expires_ms, number=number)

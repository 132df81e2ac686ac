"""A message in Redis, and the PUSH body made from it.

The publisher encodes what does not depend on the stream once; the connector puts stream, offset
and times in front of it without parsing it again.
"""

from __future__ import annotations

import sys

import msgspec

from push.redis import keyspace
from push.session.entry import Entry

CONTROL_FIELD = keyspace.ENTRY_CONTROL.encode()
ONLINE_FIELD = keyspace.ENTRY_ONLINE.encode()
REMOVAL_FIELD = keyspace.ENTRY_REMOVAL.encode()
TYPING_FIELD = keyspace.ENTRY_TYPING.encode()
OWN_TS = b'{"ts":'


class _Typing(msgspec.Struct):
    user: str


_decode_typing = msgspec.json.Decoder(_Typing).decode
_decode_control = msgspec.json.Decoder(dict[str, str]).decode


def push_body(stream: str, offset: bytes, ts_ms: bytes, expires_ms: bytes, content: bytes) -> bytes:
    """The JSON of a PUSH. Numbers as Redis gives them; `offset` 0 is left out, as at QoS 0."""
    place = b"" if offset == b"0" else b'"offset":"%b",' % offset
    ts = b"" if content.startswith(OWN_TS) else b'"ts":%b,' % ts_ms
    parts = (stream.encode(), place, ts, expires_ms, content[1:])
    return b'{"stream":"%b",%b%b"expires":%b,%b' % parts


def from_channel(stream: str, payload: bytes, message_id: int) -> tuple[Entry | None, int]:
    """What `payload` announces (see channel.lua): an entry, and the offset of one that it takes
    away.

    `message_id` is the message id of those that are acknowledged. The offset is 0: it takes none
    away; below 0: all up to that offset were dropped. No entry: something was only taken away.
    Raises ValueError if it is not our message.
    """
    previous, offset, ts_ms, expires_ms, field, id, rest = payload.split(b" ", 6)
    removes, content = rest.split(b"\n", 1)
    if field == REMOVAL_FIELD:
        return None, int(removes)
    if field == CONTROL_FIELD:
        return _control(id, int(previous), int(offset), int(expires_ms), content), 0
    body = push_body(stream, offset, ts_ms, expires_ms, content)
    # With `ttl` 0 it is for those who are there, however long it was on its way.
    ends_ms = 0 if expires_ms == ts_ms else int(expires_ms)
    entry = Entry(id.decode(), int(previous), int(offset), body, ends_ms)
    if entry.offset:
        entry.message_id = message_id
    elif field == ONLINE_FIELD:
        entry.message_id, entry.online = message_id, True
    elif field == TYPING_FIELD:
        entry.exclude_user = _decode_typing(content).user
    if removes == b"0":
        return entry, 0
    number, _, trace = removes.partition(b" ")
    entry.trace = trace.decode()
    return entry, int(number)


def from_log(stream: str, previous: int, item: list[object]) -> Entry:
    """An entry as XRANGE gives it: `[b"<offset>-0", [b"i", id, b"x", expires, field, content]]`."""
    name, fields = item
    assert isinstance(name, bytes)
    assert isinstance(fields, list)
    place = name.split(b"-", 1)[0]
    offset = int(place)
    id, expires_ms, field, content = fields[1], fields[3], fields[4], fields[5]
    if field == CONTROL_FIELD:
        return _control(id, previous, offset, int(expires_ms), content)
    body = push_body(stream, place, b"%d" % (offset // 1000), expires_ms, content)
    # One object for all the streams and sessions that have it at that time.
    return Entry(sys.intern(id.decode()), previous, offset, body, int(expires_ms))


def _control(id: bytes, previous: int, offset: int, expires_ms: int, content: bytes) -> Entry:
    """An entry that is for the connector."""
    control = _decode_control(content)
    return Entry(id.decode(), previous, offset, b"", expires_ms, control=control)

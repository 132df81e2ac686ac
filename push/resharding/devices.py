"""A device's record, at its home and in parts on the servers of streams that it follows.

The record at home has `x:<stream>` for a stream on another server. When the two meet it becomes the
plain fields of that stream, and the other way round (see push/devices/record.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from push.redis.keyspace import (
    DEVICE_ATTEMPTS,
    DEVICE_CURSOR,
    DEVICE_ELSEWHERE,
    DEVICE_EPOCH,
    DEVICE_POSITION,
    DEVICE_SESSION,
    DEVICE_START,
    DEVICE_VERSION,
)
from push.resharding.everyone import Cursor, Everyone
from push.resharding.layout import Layout
from push.wire.idents import STREAM_ALL, device_stream

Fields = dict[str, bytes]

# Fields that are where the stream is.
_OF_STREAM = (DEVICE_CURSOR, DEVICE_START, DEVICE_POSITION, DEVICE_ATTEMPTS)
_SESSION = (DEVICE_SESSION, DEVICE_EPOCH)  # what a part has of the session


class StoredDevice:
    """All that is kept of a device: `home` on server `place`, the parts on others."""

    def __init__(self, token: str, place: int, home: Fields, parts: Mapping[int, Fields]) -> None:
        self.token = token
        self.place = place
        self.parts = {place: home, **parts}
        self.own: Fields = {}
        self.streams: defaultdict[str, Fields] = defaultdict(dict)
        for server, fields in self.parts.items():
            for name, value in fields.items():
                if name[:2] in (*_OF_STREAM, DEVICE_VERSION, DEVICE_ELSEWHERE):
                    self.streams[name[2:]][name[:2]] = value
                elif server == place:
                    self.own[name] = value


def elsewhere(home: Fields) -> list[str]:
    """Streams of which there is a part on another server."""
    return [name[2:] for name in home if name.startswith(DEVICE_ELSEWHERE)]


def moved(record: StoredDevice, layout: Layout, everyone: Everyone) -> dict[int, Fields]:
    """The record as it is to be, by server."""
    own_stream = device_stream(record.token)
    home = layout.new_place(own_stream)
    version = b"%d" % everyone.clock
    placed: defaultdict[int, Fields] = defaultdict(dict)
    placed[home].update(record.own)
    for stream, fields in record.streams.items():
        if stream == STREAM_ALL:
            fields = _of_everyone(fields, record.place, home, everyone)
        at_home = stream in (STREAM_ALL, own_stream) or layout.new_place(stream) == home
        place = home if at_home else layout.new_place(stream)
        since = fields.get(DEVICE_ELSEWHERE, version)
        if not at_home:
            placed[home][DEVICE_ELSEWHERE + stream] = since
        elif DEVICE_CURSOR not in fields:
            fields = {DEVICE_CURSOR: version, DEVICE_START: version}  # nothing was read of it yet
        if DEVICE_CURSOR not in fields:
            continue  # its server does not know yet: the next session sees to that
        for kind in _OF_STREAM:
            if kind in fields:
                placed[place][kind + stream] = fields[kind]
        if not at_home:
            placed[place][DEVICE_VERSION + stream] = fields.get(DEVICE_VERSION, since)
    for place, fields in placed.items():
        if place not in (home, record.place) and place in record.parts:
            before = record.parts[place]
            fields.update({name: before[name] for name in _SESSION if name in before})
    return dict(placed)


def _of_everyone(fields: Fields, old: int, new: int, everyone: Everyone) -> Fields:
    if DEVICE_CURSOR not in fields:
        return fields
    offset = int(fields[DEVICE_CURSOR])
    cursor = Cursor(offset, max(offset, int(fields.get(DEVICE_POSITION, b"0"))))
    after = everyone.moved(old, new, cursor)
    if after == cursor:
        return fields
    translated = {
        DEVICE_CURSOR: b"%d" % after.offset,
        DEVICE_START: fields.get(DEVICE_START, fields[DEVICE_CURSOR]),
    }
    if int(translated[DEVICE_START]) > after.offset:
        translated[DEVICE_START] = translated[DEVICE_CURSOR]
    if after.position > after.offset:
        translated[DEVICE_POSITION] = b"%d" % after.position
    # What was remembered of attempts names a message by its old offset: counting begins again.
    return translated

"""What waits for a device: the messages after its cursors, in all streams that it follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from push.devices.record import as_fields, elsewhere_of
from push.redis.keyspace import DEVICE_CURSOR, record_name
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.session.entry import Entry
from push.streams.log import LogReader, WantedPages, has_expired
from push.wire.api.operate.messages import WaitingMessage, WaitingPage
from push.wire.api.paging import make_cursor, read_cursor
from push.wire.idents import device_stream

PAGE_BYTES = 1024 * 1024
MAX_READS = 50  # of one page; entries that are passed over are read as well


class _WaitingBody(msgspec.Struct):
    """Of a PUSH as it is handed out."""

    id: str
    stream: str
    ts: int
    expires: int
    data: Any


_decode = msgspec.json.Decoder(_WaitingBody).decode


class _Found(NamedTuple):
    """An entry with its place among those of all streams."""

    offset: int
    stream: str
    entry: Entry


class _Stream:
    """A stream in which is read on after `after`; `is_read`: to its end."""

    def __init__(self, name: str, after: int) -> None:
        self.name = name
        self.after = after
        self.is_read = False


class WaitingMessages:
    """Reads logs without moving any cursor."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def page(self, token: str, cursor: str, limit: int) -> WaitingPage:
        """Raises `StoreUnavailable`; `RequestError` `invalid` for a wrong cursor."""
        place = read_cursor("waiting", cursor, int, str)
        after = (place[0], place[1]) if place is not None else (0, "")
        streams = await self._streams(token)
        for of_server in streams.values():
            for stream in of_server:
                stream.after = max(stream.after, after[0] - 1)
        found: list[_Found] = []
        safe: list[_Found] = []
        for _ in range(MAX_READS):
            found += await self._read_on(streams, limit + 1, after)
            unread = [s.after for part in streams.values() for s in part if not s.is_read]
            # In order only up to where all streams were read.
            safe = sorted(each for each in found if not unread or each.offset <= min(unread))
            enough = len(safe) > limit or sum(len(e.entry.body) for e in safe) > PAGE_BYTES
            if enough or not unread:
                break
        rows = _within(safe[:limit])
        is_last = len(rows) == len(found) and all(
            stream.is_read for part in streams.values() for stream in part
        )
        last = rows[-1][:2] if rows else (min(unread, default=0), "")
        following = None if is_last else make_cursor("waiting", *last)
        return WaitingPage([_message(each.entry) for each in rows], following)

    async def _streams(self, token: str) -> dict[int, list[_Stream]]:
        """The streams that the device follows, by server, each from its cursor on."""
        home = self._shards.number_of(device_stream(token))
        fields = await self._record(home, token)
        numbers = {self._shards.number_of(stream) for stream in elsewhere_of(fields)} - {home}
        records = {home: fields}
        parts = await gather(self._record(number, token) for number in numbers)
        records.update(zip(numbers, parts, strict=True))
        return {
            number: [
                _Stream(name.removeprefix(DEVICE_CURSOR), int(value))
                for name, value in record.items()
                if name.startswith(DEVICE_CURSOR)
            ]
            for number, record in records.items()
        }

    async def _record(self, number: int, token: str) -> dict[str, bytes]:
        server = self._shards[number]
        return as_fields(await server.command("HGETALL", server.key(record_name(token))))

    async def _read_on(
        self, streams: dict[int, list[_Stream]], limit: int, after: tuple[int, str]
    ) -> list[_Found]:
        """One more page of each stream that is not read to its end."""
        found: list[_Found] = []
        for number, of_server in streams.items():
            unread = [stream for stream in of_server if not stream.is_read]
            if not unread:
                continue
            wanted = [WantedPages(stream.name, stream.after, limit) for stream in unread]
            reading = await LogReader(self._shards[number]).read(wanted)
            for stream, page in zip(unread, reading.pages, strict=True):
                stream.is_read = page.complete
                for entry in page.entries:
                    stream.after = entry.offset
                    passed = (entry.offset, stream.name) <= after
                    if (
                        not passed
                        and entry.control is None
                        and not has_expired(entry, reading.now_us)
                    ):
                        found.append(_Found(entry.offset, stream.name, entry))
        return found


def _within(rows: list[_Found]) -> list[_Found]:
    """As many as fit, one at least."""
    size_bytes = 0
    for place, each in enumerate(rows):
        size_bytes += len(each.entry.body)
        if place and size_bytes > PAGE_BYTES:
            return rows[:place]
    return rows


def _message(entry: Entry) -> WaitingMessage:
    body = _decode(entry.body)
    return WaitingMessage(body.id, body.stream, body.ts, body.expires, body.data)

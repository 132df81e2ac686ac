"""The outboxes of webhooks: each event goes to the server where its source is from now on.

What an endpoint does not have yet stays due as it was. Attempts and losses are only read as sums of
all servers, so those of a server that leaves go to the first. The table of what is wanted is on
every server: no event is missed before a daemon writes it again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.resharding.layout import Layout, each_key, each_member
from push.resharding.staging import Staging
from push.webhooks.events import OutboxEvent
from push.webhooks.outbox import GONE_FIELD
from push.wire.idents import device_stream, user_stream

EVENTS_PER_CALL = 500
FIELDS_PER_PAGE = 500

SORTED_SETS = (keyspace.WEBHOOK_WAITING, keyspace.WEBHOOK_DUE, keyspace.WEBHOOK_FAILED)

_fill = load_script("webhooks", "fill")

Fields = dict[str, bytes]


class _MessageData(msgspec.Struct):
    token: str
    user: str | None = None


_message_data = msgspec.json.Decoder(_MessageData).decode


async def fill_outboxes(servers: Iterable[RedisClient]) -> None:
    """What scripts have written down is in the outboxes: from there it can be moved."""
    for server in servers:
        left = 1
        while left:
            left = await server.run(_fill, [], [EVENTS_PER_CALL], decode=int)


def owner_of(packed: bytes) -> str | None:
    """The stream by which an event is placed; None: it is of no stream."""
    event = OutboxEvent.unpack("", 0, b"", packed)
    kind, _, name = event.source.partition(":")
    match kind:
        case "device":
            return device_stream(name)
        case "message":
            device = _message_data(event.data)
            return user_stream(device.user) if device.user else device_stream(device.token)
        case "conversation":
            return name
        case "group":
            return event.source
    return None


class Outboxes:
    """Prepares the outboxes on the servers of the new list."""

    def __init__(self, layout: Layout, staging: Staging) -> None:
        self._layout = layout
        self._servers = layout.servers
        self._staging = staging
        self._events: defaultdict[int, Fields] = defaultdict(dict)
        self._place_of: dict[str, int] = {}  # by the id of an event
        self._hashes: defaultdict[tuple[int, str], Fields] = defaultdict(dict)
        self._members: defaultdict[tuple[int, str], list[tuple[str, bytes]]] = defaultdict(list)
        self._lost: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._attempts: defaultdict[tuple[int, str], list[tuple[int, list[bytes]]]] = defaultdict(
            list
        )
        self._wanted: Fields = {}
        self._gone: Fields = {}  # deleted endpoints: something of them may be anywhere

    async def stage(self) -> None:
        for place in self._layout.old:
            await self._read_events(place)
        for place in self._layout.old:
            await each_key(self._servers[place], "webhook-*", self._reader(place))
        await self._write()

    def _refuge(self, place: int) -> int:
        """Where what has no owner goes from a server."""
        return place if place in self._layout.staying else self._layout.new[0]

    async def _read_events(self, place: int) -> None:
        for id, packed in (await self._hash(place, keyspace.WEBHOOK_EVENTS)).items():
            owner = owner_of(packed)
            to = self._layout.new[0] if owner is None else self._layout.new_place(owner)
            self._place_of[id] = to
            self._events[to][id] = packed

    def _reader(self, place: int) -> Callable[[list[str]], Awaitable[None]]:
        async def read(names: list[str]) -> None:
            for name in names:
                await self._read(place, name)

        return read

    async def _read(self, place: int, name: str) -> None:
        if name == keyspace.WEBHOOK_LOG or name.startswith(SORTED_SETS):
            await self._read_members(place, name)
        elif name.startswith((keyspace.WEBHOOK_TRIES, keyspace.WEBHOOK_STATES)):
            is_by_event = name.startswith(keyspace.WEBHOOK_TRIES)
            for field, value in (await self._hash(place, name)).items():
                id = field if is_by_event else value.decode()
                to = self._place_of.get(id, self._refuge(place))
                self._hashes[to, name][field] = value
        elif name == keyspace.WEBHOOK_LOST:
            counts = {field: int(n) for field, n in (await self._hash(place, name)).items()}
            self._lost[self._refuge(place)].update(counts)
        elif name.startswith(keyspace.WEBHOOK_ATTEMPTS):
            await self._read_attempts(place, name)
        elif name == keyspace.WEBHOOK_WANTED:
            found = await self._hash(place, name)
            self._gone |= {field: b"" for field in found if field.startswith(GONE_FIELD)}
            if int(found.get("version", b"0")) >= int(self._wanted.get("version", b"0")):
                self._wanted = found
        else:
            return
        if place in self._layout.staying:
            await self._staging.leave(place, name)

    async def _read_members(self, place: int, name: str) -> None:
        async def read(found: list[tuple[str, bytes]]) -> None:
            for id, score in found:
                to = self._place_of.get(id, self._refuge(place))
                self._members[to, name].append((id, score))

        await each_member(self._servers[place], name, read)

    async def _read_attempts(self, place: int, name: str) -> None:
        server = self._servers[place]
        entries = await server.command("XRANGE", server.key(name), "-", "+")
        self._attempts[self._refuge(place), name] += [
            (int(id.partition(b"-")[0]), fields) for id, fields in entries
        ]

    async def _hash(self, place: int, name: str) -> Fields:
        server, cursor = self._servers[place], b"0"
        found: Fields = {}
        while True:
            cursor, items = await server.command(
                "HSCAN", server.key(name), cursor, "COUNT", FIELDS_PER_PAGE
            )
            found.update((items[i].decode(), items[i + 1]) for i in range(0, len(items), 2))
            if cursor == b"0":
                return found

    async def _write(self) -> None:
        staging = self._staging
        for to, events in self._events.items():
            await staging.put_hash(to, keyspace.WEBHOOK_EVENTS, events)
        for place in self._layout.staying:
            if await self._has(place, keyspace.WEBHOOK_EVENTS):
                await staging.leave(place, keyspace.WEBHOOK_EVENTS)
        for (to, name), fields in self._hashes.items():
            await staging.put_hash(to, name, fields)
        for (to, name), members in self._members.items():
            await staging.put_members(to, name, members)
        for to, counts in self._lost.items():
            fields = {field: b"%d" % n for field, n in counts.items()}
            await staging.put_hash(to, keyspace.WEBHOOK_LOST, fields)
        for (to, name), attempts in self._attempts.items():
            await staging.put_entries(to, name, _in_order(attempts))
        for number, to in enumerate(self._layout.new):
            if self._wanted:
                table = {**self._wanted, **self._gone, "server": b"%d" % number}
                await staging.put_hash(to, keyspace.WEBHOOK_WANTED, table)

    async def _has(self, place: int, name: str) -> bool:
        server = self._servers[place]
        return bool(await server.command("EXISTS", server.key(name)))


def _in_order(attempts: list[tuple[int, list[bytes]]]) -> list[tuple[str, list[bytes]]]:
    """Of several servers as one log: each has an offset of its own."""
    ordered, last = [], 0
    for offset, fields in sorted(attempts, key=lambda one: one[0]):
        last = max(offset, last + 1)
        ordered.append((f"{last}-0", fields))
    return ordered

"""Preparing what is to be where: every key of the old servers is looked at, and goes its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from push.redis import keyspace
from push.redis.keyspace import record_name
from push.resharding.devices import Fields, StoredDevice, elsewhere, moved
from push.resharding.everyone import COLLAPSE, LOG, LOST, Everyone
from push.resharding.kinds import KINDS, How, Kind, kind_of
from push.resharding.layout import Layout, each_key, each_member
from push.resharding.messages import Answers, Records, kept_answer
from push.resharding.staging import Staging
from push.resharding.webhooks import Outboxes
from push.runtime.tasks import Semaphore, gather
from push.wire.idents import STREAM_ALL, device_stream

AT_A_TIME = 256  # keys

Report = Callable[[str], None]
Item = TypeVar("Item")


class Copying:
    """`report` is called with the progress. Nothing that is there is changed."""

    def __init__(self, layout: Layout, staging: Staging, clock: int, report: Report) -> None:
        self.devices = 0
        self.everyone = Everyone(layout, clock)
        self._layout = layout
        self._servers = layout.servers
        self._staging = staging
        self._report = report
        self._answers = Answers(layout)
        self._records = Records(layout, self.everyone, self._answers.owner_of)
        self._turns = Semaphore(AT_A_TIME)
        self._looked_at = 0

    async def run(self) -> None:
        """Raises `UnknownKind`."""
        await self.everyone.read()
        servers = [(place, self._servers[place]) for place in self._layout.old]
        for place, server in servers:
            await each_member(server, "devices", partial(self._devices, place))
        self.everyone.add_up()
        for kind in KINDS:
            if kind.how is How.MEMBERS:
                await self._members(kind)
            elif kind.how is How.HIGHEST:
                await self._highest(kind.name)
        for place, server in servers:
            await each_key(server, "*", partial(self._keys, place))
        for place, server in servers:
            await each_key(server, "message:*", partial(self._messages, place))
        await self.everyone.stage(self._staging)
        await Outboxes(self._layout, self._staging).stage()

    async def _each(self, items: Iterable[Item], work: Callable[[Item], Awaitable[None]]) -> None:
        async def one(item: Item) -> None:
            async with self._turns:
                await work(item)

        await gather(one(item) for item in items)

    async def _hash(self, place: int, name: str) -> Fields:
        server = self._servers[place]
        reply = await server.command("HGETALL", server.key(name))
        return {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}

    async def _parts(self, name: str) -> dict[int, Fields]:
        """What the old servers have under one name, in their order."""
        found = await gather(self._hash(place, name) for place in self._layout.old)
        return {p: part for p, part in zip(self._layout.old, found, strict=True) if part}

    async def _ttl_ms(self, name: str, places: Iterable[int]) -> int:
        servers = [self._servers[place] for place in places]
        found = await gather(server.command("PTTL", server.key(name)) for server in servers)
        return max(0, *map(int, found))

    async def _put(
        self, name: str, before: dict[int, Fields], after: dict[int, Fields], ttl_ms: int = 0
    ) -> None:
        """A hash that is in parts on some servers is to be so on others."""
        for place, fields in after.items():
            if fields != before.get(place):
                await self._staging.put_hash(place, name, fields, ttl_ms)
        for place in before.keys() - after.keys():
            if place in self._layout.staying:
                await self._staging.leave(place, name)

    # Devices

    async def _devices(self, place: int, found: list[tuple[str, bytes]]) -> None:
        await self._each([token for token, _ in found], partial(self._device, place))
        self.devices += len(found)
        self._report(f"{self.devices} devices prepared")

    async def _device(self, place: int, token: str) -> None:
        name = record_name(token)
        home = await self._hash(place, name)
        if not home:
            return
        others = {self._layout.old_place(stream) for stream in elsewhere(home)} - {place}
        found = await gather(self._hash(other, name) for other in others)
        parts = {p: part for p, part in zip(others, found, strict=True) if part}
        record = StoredDevice(token, place, home, parts)
        await self._put(name, record.parts, moved(record, self._layout, self.everyone))

    async def _stray_record(self, place: int, token: str) -> None:
        """A part that no record at home knows of is nobody's."""
        home = self._layout.old_place(device_stream(token))
        if home == place or place not in self._layout.staying:
            return
        server = self._servers[home]
        fields = await server.command("HKEYS", server.key(record_name(token)))
        streams = elsewhere(dict.fromkeys((field.decode() for field in fields), b""))
        if place not in {self._layout.old_place(stream) for stream in streams}:
            await self._staging.leave(place, record_name(token))

    # Sorted sets

    async def _members(self, kind: Kind) -> None:
        filled: set[int] = set()
        for place in self._layout.old:

            async def add(found: list[tuple[str, bytes]]) -> None:
                groups: defaultdict[int, list[tuple[str, bytes]]] = defaultdict(list)
                for member, score in found:
                    for to in self._places_of(kind, member):
                        groups[to].append((member, score))
                for to, members in groups.items():
                    filled.add(to)
                    await self._staging.put_members(to, kind.name, members)

            await each_member(self._servers[place], kind.name, add)
        for place in self._layout.staying:
            if place not in filled:
                await self._staging.leave(place, kind.name)

    async def _highest(self, name: str) -> None:
        parts = await self._parts(name)
        highest: Fields = {}
        for fields in parts.values():
            for field, value in fields.items():
                highest[field] = max(value, highest.get(field, b"0"), key=int)
        if highest:
            await self._put(name, parts, dict.fromkeys(self._layout.new, highest))

    def _places_of(self, kind: Kind, member: str) -> Iterable[int]:
        if member == STREAM_ALL and kind.name == "expiry":
            return self._layout.new if self.everyone.offsets else ()
        return [self._layout.new_place(kind.owner_of(member))]

    # All other keys

    async def _keys(self, place: int, names: list[str]) -> None:
        await self._each(names, partial(self._key, place))
        self._looked_at += len(names)
        self._report(f"{self._looked_at} keys looked at")

    async def _key(self, place: int, name: str) -> None:
        kind = kind_of(name)
        rest = name[len(kind.name) :]
        match kind.how:
            case How.WHOLE if name not in (LOG, LOST, COLLAPSE):
                to = self._layout.new_place(kind.owner_of(rest))
                if to != place:
                    await self._staging.move(place, to, name)
            case How.FIRST if place != self._layout.new[0]:
                await self._staging.move(place, self._layout.new[0], name)
            case How.ONCE:
                await self._once(place, name, rest)
            case How.RECORD:
                await self._stray_record(place, rest)
            case How.ENDS:
                if place in self._layout.staying:
                    await self._staging.leave(place, name)

    async def _once(self, place: int, name: str, key: str) -> None:
        parts = await self._parts(name)
        if next(iter(parts), None) != place:
            return  # it has expired, or is seen to on the first server that has a part
        to: dict[str, bytes] = {}
        for at, fields in parts.items():
            if "reply" in fields:
                id, _ = kept_answer(fields)
                server = self._servers[at]
                found = await server.command(
                    "HGET", server.key(keyspace.message_name(id)), keyspace.LEDGER_TO
                )
                if found is not None:
                    to[id] = found
        placed, claim = self._answers.placed(name, parts, to)
        ttl_ms = await self._ttl_ms(name, parts)
        await self._put(name, parts, placed, ttl_ms)
        if claim:
            name = f"{keyspace.CLAIM}{key}"
            await self._staging.put_hash(self._layout.new_place(name), name, claim, ttl_ms)

    async def _messages(self, place: int, names: list[str]) -> None:
        await self._each(names, partial(self._message, place))
        self._looked_at += len(names)
        self._report(f"{self._looked_at} keys looked at")

    async def _message(self, place: int, name: str) -> None:
        parts = await self._parts(name)
        if next(iter(parts), None) != place:
            return
        placed = self._records.placed(name.removeprefix("message:"), parts)
        await self._put(name, parts, placed, await self._ttl_ms(name, parts))

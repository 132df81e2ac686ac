"""What is kept of a message: its record in the ledger, and the answer for its idempotency key.

The record has parts, which are on the servers of the streams concerned. A line of a device goes
with the stream by which the device was addressed, its own or its user's. Counters go with the
stream; those of a message to everyone stay where they were counted, but for what moves with the
devices (see everyone.py). What a server that leaves has counted goes to one that stays: all that is
read is the sum.

The same idempotency key again must not make a second message, whatever the list is. The answer to a
push is kept on every server that had a part of it, as one piece. Afterwards the parts are others,
so it is kept by stream: `s:<stream>`, how many connectors received it then (-1: unknown), with the
id that the message has. publish.lua writes only to streams of which it finds nothing there. With
several servers the key has a claim to that id as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

import msgspec

from push.pushing.targets import as_target, streams_of
from push.redis.keyspace import (
    ACKNOWLEDGED,
    LEDGER_ADDRESSED,
    LEDGER_CLOSED_AT,
    LEDGER_CLOSED_WITH,
    LEDGER_EVENT_COUNT,
    LEDGER_EXPIRES,
    LEDGER_LINE,
    LEDGER_OFFSET,
    LEDGER_OFFSET_IN,
    LEDGER_TIME,
    LEDGER_TO,
    LEDGER_TOKENS,
    LEDGER_TRACE,
    LEDGER_WRITTEN,
    MESSAGE,
    WAITING,
)
from push.resharding.everyone import Everyone, MovedCounts
from push.resharding.layout import Layout
from push.wire.idents import STREAM_ALL, device_stream, user_stream

Fields = dict[str, bytes]

_BY_STREAM = "s:"
BY_DEVICE = ("token", "tokens")
BY_USER = ("user", "users")
_HEAD = (
    LEDGER_TO,
    LEDGER_TIME,
    LEDGER_EXPIRES,
    LEDGER_OFFSET,
    LEDGER_TRACE,
    LEDGER_CLOSED_AT,
    LEDGER_CLOSED_WITH,
)


class Records:
    """Says where the parts of a message's record belong. `owner_of(id)`: of a record that
    an idempotency key leads to, None of others."""

    def __init__(
        self, layout: Layout, everyone: Everyone, owner_of: Callable[[str], str | None]
    ) -> None:
        self._layout = layout
        self._everyone = everyone
        self._owner_of = owner_of

    def placed(self, id: str, parts: Mapping[int, Fields]) -> dict[int, Fields]:
        """The parts as they are to be, by server; `parts` as they are."""
        if not all("to" in fields for fields in parts.values()):
            return {}  # it came too late for a record that had expired: nobody can read it
        ((kind, name),) = msgspec.json.decode(next(iter(parts.values()))["to"]).items()
        if kind in BY_DEVICE:
            return self._lines(parts, _streams_by_device)
        if kind in BY_USER:
            return self._lines(parts, _streams_by_user)
        if kind == "all":
            return self._of_everyone(id, parts)
        owner = self._owner_of(id) or f"{MESSAGE}{id}"
        if kind != "ip":
            owner = f"{kind}:{name}"  # a topic, a group: as its stream is named
        return self._counters({place: self._layout.new_place(owner) for place in parts}, parts)

    # Lines

    def _lines(
        self, parts: Mapping[int, Fields], streams_by_line: Callable[[Fields], dict[str, str]]
    ) -> dict[int, Fields]:
        """Each line, and where the entries in the streams are, with its stream."""
        placed: defaultdict[int, Fields] = defaultdict(dict)
        offsets: defaultdict[int, dict[str, bytes]] = defaultdict(dict)
        for fields in parts.values():
            for name, stream in streams_by_line(fields).items():
                if name not in fields:
                    continue
                place = self._layout.new_place(stream)
                placed[place][name] = _better(placed[place].get(name), fields[name])
                offsets[place][stream] = fields.get(
                    LEDGER_OFFSET_IN + stream, fields[LEDGER_OFFSET]
                )
        for place, fields in placed.items():
            fields |= _head(parts)
            fields[LEDGER_OFFSET] = max(offsets[place].values())
            counts = [
                int(part[LEDGER_EVENT_COUNT])
                for part in parts.values()
                if LEDGER_EVENT_COUNT in part
            ]
            if counts:
                fields[LEDGER_EVENT_COUNT] = b"%d" % max(counts)
            for stream, offset in offsets[place].items():
                if offset != fields[LEDGER_OFFSET]:
                    fields[LEDGER_OFFSET_IN + stream] = offset
        return dict(placed)

    # Counters

    def _counters(self, to: Mapping[int, int], parts: Mapping[int, Fields]) -> dict[int, Fields]:
        """The counters of each part go where `to` says, and are added up there."""
        sums: defaultdict[int, Counter[str]] = defaultdict(Counter)
        placed: dict[int, Fields] = {}
        for place, fields in parts.items():
            sums[to[place]].update(_counts_in(fields))
            placed.setdefault(to[place], _head(parts)).update(
                {
                    name: value
                    for name, value in fields.items()
                    if name in (LEDGER_OFFSET, LEDGER_CLOSED_WITH)
                }
            )
        for place, fields in placed.items():
            fields |= _written(sums[place])
        return placed

    def _of_everyone(self, id: str, parts: Mapping[int, Fields]) -> dict[int, Fields]:
        if id in self._everyone.closed:
            code = self._everyone.closed[id]
            parts = {place: _closed(fields, code) for place, fields in parts.items()}
        refuge = self._layout.new_place(f"{MESSAGE}{id}")
        to = {place: place if place in self._layout.new else refuge for place in parts}
        if id not in self._everyone.offsets:
            return self._counters(to, parts)
        counts = self._everyone.counts_of(id)
        sums = _moved({place: _counts_in(fields) for place, fields in parts.items()}, counts)
        placed: dict[int, Fields] = {}
        for place in self._layout.new:
            fields = placed[place] = _head(parts)
            fields[LEDGER_OFFSET] = b"%d" % self._everyone.offsets[id]
            total: Counter[str] = Counter()
            for old, counted in sums.items():
                if to.get(old, old) == place:
                    total.update(counted)
            fields |= _written(total)
        return placed


def _moved(sums: dict[int, Counter[str]], counts: MovedCounts) -> dict[int, Counter[str]]:
    """The counts, once devices have taken with them what they had not done."""
    for (old, new), number in counts.waiting.items():
        sums.setdefault(new, Counter())
        of_old = sums.setdefault(old, Counter())
        again = min(counts.again[old, new], of_old[ACKNOWLEDGED])
        had = min(counts.had[old, new], of_old[LEDGER_WRITTEN])
        of_old.subtract({LEDGER_ADDRESSED: number, LEDGER_WRITTEN: had, ACKNOWLEDGED: again})
        sums[new].update(
            {LEDGER_ADDRESSED: number, LEDGER_WRITTEN: min(had, counts.keep[old, new])}
        )
    for pair in counts.had.keys() - counts.waiting.keys():
        of_old = sums.setdefault(pair[0], Counter())
        of_old[LEDGER_WRITTEN] -= min(counts.had[pair], of_old[LEDGER_WRITTEN])
    for new, number in counts.new.items():
        sums.setdefault(new, Counter())[LEDGER_ADDRESSED] += number
    return sums


def _head(parts: Mapping[int, Fields]) -> Fields:
    """What all parts of a record say alike."""
    every = list(parts.values())
    head = {
        LEDGER_TO: every[0][LEDGER_TO],
        LEDGER_TIME: b"%d" % min(int(fields[LEDGER_TIME]) for fields in every),
        LEDGER_EXPIRES: b"%d" % max(int(fields[LEDGER_EXPIRES]) for fields in every),
    }
    # A push that was completed by its key has a trace of each request: one of them is kept.
    traces = [fields[LEDGER_TRACE] for fields in every if LEDGER_TRACE in fields]
    if traces:
        head[LEDGER_TRACE] = min(traces)
    return head


def _counts_in(fields: Fields) -> Counter[str]:
    return Counter({name: int(value) for name, value in fields.items() if name not in _HEAD})


def _written(counts: Counter[str]) -> Fields:
    """As fields: `n` always, it tells that there are counters."""
    counts.setdefault(LEDGER_ADDRESSED, 0)
    return {
        name: b"%d" % count for name, count in counts.items() if count or name == LEDGER_ADDRESSED
    }


def _closed(fields: Fields, code: str) -> Fields:
    """The entry of the message leaves the log, as close_message.lua has it."""
    if LEDGER_CLOSED_WITH in fields or fields[LEDGER_OFFSET] == b"0":
        return fields
    counts = _counts_in(fields)
    waiting = counts[LEDGER_ADDRESSED] - sum(
        n for name, n in counts.items() if name not in (LEDGER_ADDRESSED, LEDGER_WRITTEN)
    )
    counts[code] += max(waiting, 0)
    return {**fields, **_written(counts), LEDGER_CLOSED_WITH: code.encode()}


def _better(before: bytes | None, value: bytes) -> bytes:
    """Of two lines for a device that was addressed by two users, the one that says more: what the
    device did, rather than that it waits."""
    if before is None or before[:1] == WAITING.encode():
        return value
    return value if value[:1] == ACKNOWLEDGED.encode() else before


def _streams_by_device(fields: Fields) -> dict[str, str]:
    """The stream to which each line belongs, of a message to devices."""
    return {name: device_stream(name[2:]) for name in fields if name.startswith(LEDGER_LINE)}


def _streams_by_user(fields: Fields) -> dict[str, str]:
    """The same for a message to users, with the fields that the users have themselves."""
    streams = _streams_by_device(fields)
    for name, tokens in fields.items():
        if name.startswith(LEDGER_TOKENS):
            stream = streams[name] = user_stream(name[2:])
            streams |= {LEDGER_LINE + token: stream for token in tokens.decode().split()}
    return streams


class Answers:
    """Says where the answers for an idempotency key belong."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        # What `PushByIp` pushed without a stream has its record where the key is.
        self._owners: dict[str, str] = {}

    def owner_of(self, id: str) -> str | None:
        """The owner of the record of message `id`, if it came with a key and without a stream."""
        return self._owners.get(id)

    def placed(
        self, name: str, parts: Mapping[int, Fields], to: Mapping[str, bytes]
    ) -> tuple[dict[int, Fields], Fields]:
        """What is to be kept under the key `name` on each server, and the key's claim, if there
        was none. `to`: the targets of messages, by id."""
        first = next(iter(parts.values()))
        if "reply" not in first and not any(field.startswith(_BY_STREAM) for field in first):
            self._owners[first["id"].decode()] = name
            return {self._layout.new_place(name): first}, {}
        id, receivers = "", {}
        for place, fields in parts.items():
            id, here = self._receivers_of(place, fields, to)
            receivers.update(here)
        head = {"digest": first["digest"], "id": id.encode()}
        placed: defaultdict[int, Fields] = defaultdict(lambda: dict(head))
        for stream, count in receivers.items():
            places = [self._layout.new_place(stream)]
            for place in self._layout.new if stream == STREAM_ALL else places:
                placed[place][_BY_STREAM + stream] = b"%d" % count
        alone = len(self._layout.old) == 1
        return dict(placed), head if alone and len(self._layout.new) > 1 else {}

    def _receivers_of(
        self, place: int, fields: Fields, to: Mapping[str, bytes]
    ) -> tuple[str, dict[str, int]]:
        """The id, and how many connectors received it by stream, of the part on one server."""
        by_stream = {
            name[len(_BY_STREAM) :]: int(value)
            for name, value in fields.items()
            if name.startswith(_BY_STREAM)
        }
        if "reply" not in fields:
            return fields["id"].decode(), by_stream
        id, counts = kept_answer(fields)
        target = as_target(msgspec.Raw(to[id])) if id in to else None
        streams = streams_of(target) if target else []
        if len(self._layout.old) > 1 and streams != [STREAM_ALL]:
            streams = [s for s in streams if self._layout.old_place(s) == place]
        return id, by_stream | dict(zip(streams, counts, strict=False))


def kept_answer(fields: Fields) -> tuple[str, list[int]]:
    """What publish.lua has kept: the message's id, and how many connectors each stream had."""
    _, _, id, *counts = msgspec.msgpack.decode(fields["reply"])
    return str(id), [int(count) for count in counts]

"""The delivery ledger: what became of a message (architecture, "The ledger").

Scripts that publish, move cursors and remove entries write it. This module reads it, and adds what
happens to messages that are in no log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Hashable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.keyspace import (
    ACKNOWLEDGED,
    CANCELLED,
    DROPPED,
    DROPPED_CONGESTED,
    EXPIRED,
    LEDGER_ADDRESSED,
    LEDGER_EXPIRES,
    LEDGER_LINE,
    LEDGER_OFFSET,
    LEDGER_TIME,
    LEDGER_TO,
    LEDGER_TOKENS,
    LEDGER_WRITTEN,
    message_name,
)
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.runtime.timers import Debounced, SingleFlight

log = Logger()

FLUSH_SECONDS = 0.5
MAX_WAITING = 100_000
COUNTS_PER_CALL = 1000
SETTLED_SECONDS = 5  # after this nothing more comes from devices that were online

WRITTEN = LEDGER_WRITTEN
CONGESTED = DROPPED_CONGESTED
STATES = {
    ACKNOWLEDGED: "acknowledged",
    EXPIRED: "expired",
    CANCELLED: "cancelled",
    DROPPED[0]: "dropped",
}

_count_ephemeral = load_script("streams", "count_ephemeral")
_encode = msgspec.msgpack.Encoder().encode


class CountedSession(Protocol):
    """A session; `token` is None for one of a user without a device."""

    @property
    def token(self) -> str | None: ...


class DeliveryCounts(msgspec.Struct, frozen=True):
    """What became of a message, counted in devices. Times in milliseconds since 1970 UTC.

    `to` is the JSON that was given to `publish`; `offset` 0: the message was never stored.
    """

    id: str
    ts: int
    expires: int
    to: msgspec.Raw
    offset: int
    addressed: int
    stored: int
    written: int
    acknowledged: int
    expired: int
    cancelled: int
    dropped: dict[str, int]


class DeviceLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a message for one device; `ts` is when, in milliseconds since 1970 UTC."""

    token: str
    state: str
    ts: int
    user: str | None = None
    reason: str | None = None


class Ledger:
    """Reads what the scripts have counted: on each server, for the streams that it has."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def to(self, id: str) -> msgspec.Raw | None:
        """The targets of message `id`, as given to `publish`; None when it is unknown."""
        calls = [
            server.command("HGET", server.key(message_name(id)), LEDGER_TO)
            for server in self._shards
        ]
        for kept in await gather(calls):
            if kept is not None:
                return msgspec.Raw(kept)
        return None

    async def counts_of(self, id: str) -> DeliveryCounts | None:
        """The counts of message `id`; None when it is unknown or was longer ago than is kept."""
        return _sum([self._count(id, *part) for part in await self._parts(id)])

    def _count(self, id: str, fields: dict[str, bytes], over: bool) -> DeliveryCounts:
        """What one server has counted."""
        lines = _lines(fields)
        addressed = int(fields.get(LEDGER_ADDRESSED, len(lines)))
        written = int(fields.get(LEDGER_WRITTEN, 0)) + sum(line.written for line in lines)
        ends: Counter[str] = Counter(line.state for line in lines)
        dropped: Counter[str] = Counter(line.reason for line in lines if line.state == "dropped")
        for code, name in STATES.items():
            ends[name] += int(fields.get(code, 0))
        for name, value in fields.items():
            if name.startswith(DROPPED) and int(value):
                dropped[name[2:]] += int(value)
        expired = ends["expired"]
        if over:
            expired += addressed - written - sum(dropped.values())
        return DeliveryCounts(
            id=id,
            ts=int(fields[LEDGER_TIME]),
            expires=int(fields[LEDGER_EXPIRES]),
            to=msgspec.Raw(fields[LEDGER_TO]),
            offset=int(fields[LEDGER_OFFSET]),
            addressed=addressed,
            stored=addressed if fields[LEDGER_OFFSET] != b"0" else 0,
            written=written,
            acknowledged=ends["acknowledged"],
            expired=expired,
            cancelled=ends["cancelled"],
            dropped=dict(dropped),
        )

    async def devices(self, id: str, turns_of: Hashable = "") -> list[DeviceLine] | None:
        """A line for each addressed device, by token; None when the message is unknown. `turns_of`:
        the owner of the turns that this waits for (see `PatientCalls`).

        Empty for a message that was not addressed to devices or users.
        """
        parts = await self._parts(id, turns_of)
        if not parts:
            return None
        found = [line for part in parts for line in _device_lines(*part)]
        return sorted(found, key=lambda line: line.token)

    async def _parts(
        self, id: str, turns_of: Hashable = None
    ) -> list[tuple[dict[str, bytes], bool]]:
        """What each server has of a message, and whether it is over: it was for devices
        that were online, and for the others it came too late."""

        def read(server: RedisClient) -> Coroutine[Any, Any, Any]:
            call = partial(server.command, "HGETALL", server.key(message_name(id)))
            if turns_of is None:
                return call()
            return server.patient_calls.run(turns_of, "ledger", call)

        calls = [read(server) for server in self._shards]
        parts = []
        for server, reply in zip(self._shards, await gather(calls), strict=True):
            fields = {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}
            if fields:
                now_ms = server.clock.now_ms()
                settled = now_ms > int(fields[LEDGER_TIME]) + SETTLED_SECONDS * 1000
                parts.append((fields, fields[LEDGER_OFFSET] == b"0" and settled))
        return parts


def _sum(parts: list[DeliveryCounts]) -> DeliveryCounts | None:
    """What several servers have counted of a message."""
    if not parts:
        return None
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    written, stored = sum(part.written for part in parts), sum(part.stored for part in parts)
    addressed = sum(part.addressed for part in parts)
    if not parts[0].offset:
        # What is in no log reaches the sessions that follow when it comes to their connector. Those
        # that did not when it was published were reached all the same: it was for them, too.
        addressed = max(addressed, written + sum(dropped.values()))
    return DeliveryCounts(
        id=parts[0].id,
        ts=min(part.ts for part in parts),
        expires=max(part.expires for part in parts),
        to=parts[0].to,
        offset=parts[0].offset,
        addressed=addressed,
        stored=stored,
        written=written,
        acknowledged=sum(part.acknowledged for part in parts),
        # A server may have counted for another's devices what was in no log.
        expired=max(0, sum(part.expired for part in parts)),
        cancelled=sum(part.cancelled for part in parts),
        dropped=dict(dropped),
    )


def _device_lines(fields: dict[str, bytes], over: bool) -> list[DeviceLine]:
    users = {
        token: name[2:]
        for name, tokens in fields.items()
        if name.startswith(LEDGER_TOKENS)
        for token in tokens.decode().split()
    }
    return [
        DeviceLine(
            line.token,
            "expired" if over and line.state == "stored" else line.state,
            line.ts,
            users.get(line.token),
            line.reason or None,
        )
        for line in _lines(fields)
    ]


class _Line(msgspec.Struct):
    token: str
    state: str
    written: bool
    ts: int
    reason: str


def _lines(fields: dict[str, bytes]) -> list[_Line]:
    """The lines per device, as outcomes.lua writes them."""
    lines = []
    for name, value in fields.items():
        if not name.startswith(LEDGER_LINE):
            continue
        state, ts, reason = value.decode().split(" ", 2)
        written = state[1] == "1"
        waiting = "written" if written else "stored"
        lines.append(_Line(name[2:], STATES.get(state[0], waiting), written, int(ts), reason))
    return lines


class EphemeralCounts:
    """What happens to messages that are in no log, written to the ledger in batches.

    A batch whose fate is not known is given up: it may have been counted, and nothing is to be
    counted twice.
    """

    def __init__(self, reactor: Clock, server: RedisClient) -> None:
        self._server = server
        self._counts: dict[tuple[str, str, str, str], int] = {}
        self._writes = SingleFlight(self._write, _log_failure)
        self._soon = Debounced(reactor, FLUSH_SECONDS, self._writes.request)

    def count(self, stream: str, token: str | None, id: str, code: str, count: int = 1) -> None:
        """It happened to `count` devices, to `token` if the message is of a device or user."""
        counts = self._counts
        if token is None or len(counts) >= MAX_WAITING:
            return  # a user without a device: the ledger counts devices
        if not counts:
            self._soon.request()
        key = (id, token, code, stream) if is_listed(stream) else (id, "", code, "")
        counts[key] = counts.get(key, 0) + count

    def happened(
        self, stream: str, ids: Sequence[str], holders: Sequence[CountedSession], code: str
    ) -> None:
        """The same to each of the messages `ids` for all of `holders`."""
        if is_listed(stream):
            for id in ids:
                for holder in holders:
                    self.count(stream, holder.token, id, code)
            return
        devices = sum([holder.token is not None for holder in holders])
        if devices:
            for id in ids:
                self.count(stream, "", id, code, devices)

    async def stop(self) -> None:
        """Write what waits."""
        self._soon.cancel()
        if self._counts:
            await self._writes.run()
        else:
            await self._writes.finished()

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        items = [[*what[:3], count, what[3]] for what, count in counts.items()]
        for start in range(0, len(items), COUNTS_PER_CALL):
            part = items[start : start + COUNTS_PER_CALL]
            try:
                await self._server.run(_count_ephemeral, [], [_encode(part)])
            except StoreUnavailable as error:
                log.debug(
                    "Counts of messages that are in no log are lost: {reason}",
                    reason=error.reason,
                    event="ledger.postponed",
                )


def is_listed(stream: str) -> bool:
    """Whether the ledger keeps a line per device (see ledger.lua)."""
    return stream.startswith(("dev:", "user:"))


def _log_failure(failure: Failure) -> None:
    log.failure("The ledger could not be written", failure=failure, event="ledger.failed")

"""The registry in Redis, for clusters without ZooKeeper: every entry is a lease.

A lease ends by the clock of the Redis server (architecture, rule 1), so the clocks of the machines
do not matter. Changes are announced on a channel; each announcement names the one before it, so a
lost one shows and is repaired by a reading (rule 2). Besides, every renewal reads all entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple, TypeVar

from push.cluster.registry.entry import Key, RegistryEntry, encode_entry
from push.cluster.registry.interface import RegistryUnavailable
from push.cluster.registry.own_entries import NameConflict
from push.cluster.registry.reconciler import ReconcilingRegistry, RegistrySnapshot
from push.cluster.registry.timing import Timing
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.replies import Argument, Decode
from push.redis.scripts import Script, load_script
from push.runtime.ports import Clock

_lease = load_script("cluster", "lease")
_withdraw = load_script("cluster", "withdraw")

CHANNEL = "cluster"


class _News(NamedTuple):
    """An announcement: `kind` is `put`, `gone` (withdrawn) or `lapsed`; only `put` has an entry."""

    before: int
    revision: int
    kind: bytes
    key: Key
    raw: bytes


class _Withdrawn(NamedTuple):
    now_us: int


class _Leased(NamedTuple):
    """What lease.lua answers: all entries, and those under our names that are another's."""

    now_us: int
    revision: int
    era: int
    entries: dict[Key, bytes]
    conflicts: dict[Key, NameConflict]


TimedAnswer = TypeVar("TimedAnswer", _Withdrawn, _Leased)


def _withdrawn(reply: int) -> _Withdrawn:
    return _Withdrawn(int(reply))


def _leased(reply: list[Any]) -> _Leased:
    now_us, revision, era, pairs, conflicts = reply
    return _Leased(
        int(now_us),
        int(revision),
        int(era),
        {_key(pairs[i]): pairs[i + 1] for i in range(0, len(pairs), 2)},
        {
            _key(conflicts[i]): NameConflict(conflicts[i + 1].decode(), int(conflicts[i + 2]))
            for i in range(0, len(conflicts), 3)
        },
    )


class RedisLease(ReconcilingRegistry):
    """A registry in `server`, which the caller starts and stops; stop the registry first.

    `alone`: nobody else can use this Redis (the embedded one), so another entry under our
    name is a dead process's and is replaced at once.
    """

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        random: Random,
        timing: Timing | None = None,
        *,
        alone: bool = False,
    ) -> None:
        timing = timing or Timing()
        # What lives renews its entry several times within a lease.
        super().__init__(reactor, random, timing, return_seconds=timing.lease)
        self._server = server
        self._alone = alone
        self._keys = [server.key(f"{keyspace.CLUSTER}{name}") for name in ("entries", "state")]
        self._channel = server.channel(CHANNEL)
        self._revision = 0
        # Announcements received while a reading is on its way; None while none is.
        self._overtaking: list[_News] | None = None

    def _open(self) -> None:
        self._server.on_restored(self._wake)
        # Subscribed first, read then: an announcement in between is not missed.
        subscribing = self._server.channels.subscribe(CHANNEL, self._announced)
        subscribing.addCallbacks(lambda _: self._wake(), lambda _: None)

    async def _close(self) -> None:
        self._server.channels.unsubscribe(CHANNEL)

    def _away(self) -> str | None:
        return self._server.problem

    async def _exchange(self, own: Mapping[Key, RegistryEntry], *, fresh: bool) -> RegistrySnapshot:
        arguments: list[Argument] = [
            int(self._timing.lease * MICROSECONDS),
            self._channel,
            1 if self._alone else 0,
        ]
        for key, entry in own.items():
            arguments += [_field(key), entry.boot, encode_entry(entry)]
        self._overtaking = []
        leased = await self._run(_lease, arguments, _leased)
        self._overtaken(leased.revision, leased.entries)
        return RegistrySnapshot(leased.entries, leased.conflicts, leased.era)

    async def _remove(self, entry: RegistryEntry) -> None:
        await self._run(_withdraw, [self._channel, _field(entry.key), entry.boot], _withdrawn)

    async def _run(
        self, script: Script, arguments: list[Argument], decode: Decode[TimedAnswer]
    ) -> TimedAnswer:
        """A script's answer; the time in it was noted."""
        server = self._server
        try:
            answer = await server.run(script, self._keys, arguments, decode=decode)
        except StoreUnavailable as error:
            raise RegistryUnavailable(error.reason) from None
        server.clock.observe(answer.now_us)
        return answer

    def _announced(self, payload: bytes) -> None:
        before, revision, kind, field, raw = payload.split(b" ", 4)
        news = _News(int(before), int(revision), kind, _key(field), raw)
        if self._overtaking is not None:
            self._overtaking.append(news)
        if self._follows(news):
            if news.kind == b"put":
                self._view.put(news.key, news.raw)
            elif news.kind == b"gone":
                self._view.withdraw(news.key)

    def _overtaken(self, revision: int, entries: dict[Key, bytes]) -> None:
        """Put into a reading what was announced, after it was made, before it came."""
        overtaking, self._overtaking = self._overtaking or [], None
        self._revision = revision
        for news in overtaking:
            if self._follows(news):
                if news.kind == b"put":
                    entries[news.key] = news.raw
                elif news.kind == b"gone":
                    entries.pop(news.key, None)

    def _follows(self, news: _News) -> bool:
        """Whether it is the next; a gap asks for a reading, and so does a lapsed lease, since only
        a whole reading shows how much is missing at once."""
        if news.revision <= self._revision:
            return False
        if news.before != self._revision or news.kind == b"lapsed":
            self._wake(self._timing.notice)
        if news.before != self._revision:
            return False
        self._revision = news.revision
        return True


def _field(key: Key) -> str:
    return "/".join(key)


def _key(field: bytes) -> Key:
    service, _, instance = field.decode("utf-8", "replace").partition("/")
    return (service, instance)

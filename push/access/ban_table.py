"""The bans that a process knows: who is banned until when, found without a look at each ban."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import msgspec

from push.access.network_table import NetworkTable

BanKind = Literal["ip", "token", "user"]
KINDS: tuple[BanKind, ...] = ("ip", "token", "user")

# So many ends of bans that were replaced may be kept beside those of the bans that there are.
SPARE_ENDS = 1000


class ActiveBan(msgspec.Struct, frozen=True, order=True):
    """`name`: a token, a user, or an address or network as `normal_network` writes it.

    `until`: milliseconds since 1970 UTC; None: until it is lifted.
    """

    kind: BanKind
    name: str
    until: int | None

    @property
    def key(self) -> str:
        """As it is stored."""
        return f"{self.kind}:{self.name}"


def ban_of(key: str, until_ms: int) -> ActiveBan | None:
    """The ban that is stored under `key`, None of what is none. `until_ms`: 0 if it has no end."""
    kind, _, name = key.partition(":")
    for known in KINDS:
        if kind == known:
            return ActiveBan(known, name, until_ms or None)
    return None


class BanTable:
    """Bans by their key (`ActiveBan.key`), each with its end in milliseconds, 0 = none.

    Bans that have ended stay until `take_ended` finds them: callers compare ends with the time.
    """

    def __init__(self) -> None:
        self._ends_ms: dict[str, int] = {}
        self._networks = NetworkTable()
        self._by_end: list[tuple[int, str]] = []  # a heap; some are of bans that were replaced

    def __len__(self) -> int:
        return len(self._ends_ms)

    @property
    def is_worn(self) -> bool:
        """Whether it holds so much that is of no use that a new table is better."""
        return len(self._by_end) > 2 * len(self._ends_ms) + SPARE_ENDS

    def set(self, key: str, until_ms: int) -> None:
        if key.startswith("ip:"):
            with suppress(ValueError):  # by another version: it bans nobody, but it is counted
                self._networks.set(key[3:], until_ms)
        self._ends_ms[key] = until_ms
        if until_ms:
            heapq.heappush(self._by_end, (until_ms, key))

    def remove(self, key: str) -> None:
        """Does nothing for one that is not there."""
        if self._ends_ms.pop(key, None) is not None and key.startswith("ip:"):
            with suppress(ValueError):
                self._networks.remove(key[3:])

    def take_ended(self, now_ms: int, at_most: int) -> list[tuple[str, int]]:
        """Remove bans that have ended, and return each with its end."""
        taken: list[tuple[str, int]] = []
        while self._by_end and self._by_end[0][0] <= now_ms and len(taken) < at_most:
            until_ms, key = heapq.heappop(self._by_end)
            if self._ends_ms.get(key) == until_ms:
                self.remove(key)
                taken.append((key, until_ms))
        return taken

    def matching(self, ip: str, token: str | None, user: str | None) -> Iterator[tuple[str, int]]:
        """The bans of a caller, each with its kind and end; some may have ended."""
        if token is not None:
            until_ms = self._ends_ms.get(f"token:{token}")
            if until_ms is not None:
                yield "token", until_ms
        if user is not None:
            until_ms = self._ends_ms.get(f"user:{user}")
            if until_ms is not None:
                yield "user", until_ms
        if ip and self._networks:
            for until_ms in self._networks.matching(ip):
                yield "ip", until_ms


class NewBans:
    """What sessions are to be compared with: bans that are new, or all of them (`of_all`).

    `kicks`: kicks that are kept for connectors that did not confirm them, as JSON.
    """

    # Of more it is cheaper to judge each session by the whole table.
    MOST = 1000

    def __init__(self) -> None:
        self.of_all = False
        self.kicks: list[bytes] = []
        self._tokens: set[str] = set()
        self._users: set[str] = set()
        self._networks = NetworkTable()
        self._count = 0

    @property
    def are_there(self) -> bool:
        return self.of_all or self._count > 0

    def add(self, ban: ActiveBan) -> None:
        self._count += 1
        if self._count > self.MOST:
            self.of_all = True
        elif ban.kind == "token":
            self._tokens.add(ban.name)
        elif ban.kind == "user":
            self._users.add(ban.name)
        else:
            with suppress(ValueError):  # as in `BanTable.set`
                self._networks.set(ban.name, 0)

    def name(self, token: str | None, user: str | None) -> bool:
        """Whether one of them may be of this device or user."""
        return self.of_all or token in self._tokens or user in self._users

    @property
    def has_networks(self) -> bool:
        return bool(self._networks)

    def cover(self, ip: str) -> bool:
        """Whether one of them is of this address."""
        return ip in self._networks

"""The bans in Redis, and a table that follows them: only what changed since is read, page by page.

Each ban has the offset at which it was made or changed last, and so has each lift, which Redis
keeps for a day. Between two pages the reactor runs: many bans stop nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from push.access.ban_table import ActiveBan, BanTable, NewBans, ban_of
from push.redis.client import RedisClient
from push.redis.scripts import load_script

PAGE = 500
FORGOTTEN_AT_A_TIME = 500
# A table of another size than Redis has is read again as a whole, but not at once: one process
# forgets bans that have ended a little earlier than another.
DOUBTS = 3

_read = load_script("devices", "read_bans")
_forget = load_script("devices", "forget_bans")


class _LogPosition(NamedTuple):
    """Up to which offset changes and lifts were read, and at which time of the server. `lifts`
    "now": none yet."""

    changes: str
    lifts: str
    read_at: str


_BEGINNING = _LogPosition("0", "now", "0")


class _Page(NamedTuple):
    stored: int  # how many bans there are
    position: _LogPosition
    bans: list[tuple[str, int]]
    lifted: list[str]
    is_last: bool


class BanLog:
    """Follows the bans on `server`. `table`: as they were read last. `new`: the bans that were read
    and that sessions were not compared with yet; after a comparison the owner replaces it."""

    def __init__(self, server: RedisClient) -> None:
        self.table = BanTable()
        self.new = NewBans()
        self._server = server
        self._position = _BEGINNING
        self._doubts = 0

    async def read(self) -> None:
        """Bring the table up to date. Raises `StoreUnavailable`: it is tried again from there."""
        is_usable = self._position != _BEGINNING and not self.table.is_worn
        if is_usable and self._doubts < DOUBTS and await self._read_changes():
            return
        await self._read_all()

    async def _read_changes(self) -> bool:
        """Whether they can still be told."""
        while True:
            page = await self._page(self._position)
            if page is None:
                return False
            _apply(page, self.table)
            for key, until_ms in page.bans:
                ban = ban_of(key, until_ms)
                if ban is not None:
                    self.new.add(ban)
            self._position = page.position
            if page.is_last:
                self._doubts = self._doubts + 1 if page.stored != len(self.table) else 0
                return True

    async def _read_all(self) -> None:
        """Until all are there, the table from before holds."""
        table, position, is_last = BanTable(), _BEGINNING, False
        while not is_last:
            page = await self._page(position)
            if page is None:  # it took so long that lifts were forgotten meanwhile
                table, position = BanTable(), _BEGINNING
                continue
            _apply(page, table)
            position, is_last = page.position, page.is_last
        self.table, self._position, self._doubts = table, position, 0
        self.new.of_all = True

    async def _page(self, after: _LogPosition) -> _Page | None:
        reply: list[Any] = await self._server.run(_read, [], [*after, PAGE])
        if not reply:
            return None
        stored, lifts_position, now, changes, ends, lifts = reply
        keys = [key.decode() for key in changes[::2]]
        return _Page(
            stored,
            _LogPosition(
                changes[-1].decode() if changes else after.changes,
                lifts_position.decode(),
                now.decode(),
            ),
            [(key, int(until)) for key, until in zip(keys, ends, strict=True)],
            [key.decode() for key in lifts[::2]],
            len(changes) < 2 * PAGE and len(lifts) < 2 * PAGE,
        )

    async def page(
        self, after: int, at_most: int, now_ms: int
    ) -> tuple[list[ActiveBan], int | None]:
        """A page of the bans that hold, in the order in which they were made or changed, and after
        which offset the next one begins; None: there is none. Raises `StoreUnavailable`."""
        reply: list[Any] = await self._server.run(_read, [], [after, "", 0, at_most + 1])
        _, _, _, changes, ends, _ = reply
        found = [
            ban_of(key.decode(), int(until))
            for key, until in zip(changes[: 2 * at_most : 2], ends, strict=False)
            if until == b"0" or int(until) > now_ms
        ]
        has_more = len(changes) > 2 * at_most
        next_after = int(changes[2 * at_most - 1]) if has_more else None
        return [ban for ban in found if ban is not None], next_after

    async def forget_ended(self, now_ms: int) -> None:
        """Here and in Redis. Raises `StoreUnavailable`."""
        while ended := self.table.take_ended(now_ms, FORGOTTEN_AT_A_TIME):
            await self._server.run(_forget, [], [*_flat(ended)])


def _apply(page: _Page, table: BanTable) -> None:
    for key in page.lifted:
        table.remove(key)
    for key, until_ms in page.bans:
        table.set(key, until_ms)


def _flat(ended: list[tuple[str, int]]) -> Iterator[str | int]:
    for pair in ended:
        yield from pair

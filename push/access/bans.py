"""Bans: addresses, devices and users that may not connect, until a time or until the ban is lifted.

All bans are in one hash. Every process that admits devices has a copy (`push.redis.shared_copy`),
so that a check costs no round trip. A change is answered when every process has it, or is named.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.access.ban_log import BanLog
from push.access.ban_table import ActiveBan, BanKind, NewBans
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.redis.shared_copy import Announce, Lease, SharedCopy, only_here, read_clock
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.runtime.timers import SingleFlight
from push.wire.errors import RequestError

log = Logger()

CHANNEL = "bans"

_ban = load_script("devices", "ban")
_keep_kick = load_script("devices", "keep_kick")

KEPT_KICK_SECONDS = 3600
KEPT_KICKS = 1000


async def keep_kick(server: RedisClient, kick: bytes) -> None:
    """Keep a kick that connectors did not confirm: each reads it before it next lets a session do
    anything, if that is within an hour and before 1000 others. Raises `StoreUnavailable`."""
    await server.run(_keep_kick, [], [kick, KEPT_KICK_SECONDS, KEPT_KICKS], durable=True)


class CheckBan(Protocol):
    """Raises `RequestError` `banned` for a caller that must not connect, with the seconds after
    which it may, if the ban ends. Raises `StoreUnavailable` when that cannot be known now."""

    async def __call__(
        self, *, ip: str = "", token: str | None = None, user: str | None = None
    ) -> None:
        pass


async def nobody_is_banned(
    *, ip: str = "", token: str | None = None, user: str | None = None
) -> None:
    """A `CheckBan` without bans."""


# Ends the sessions of those that are banned now; returns when they have ended.
EndBanned = Callable[[NewBans], Awaitable[None]]

_Kicks = list[tuple[int, bytes]]  # each with its place


async def _no_sessions(_new: NewBans) -> None:
    pass


class Bans:
    """The bans of a deployment, in the first server, `at_most` of them (0: any number).

    `end_banned`, `announce`: see `EndBanned` and `Announce`.
    """

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        lease: Lease,
        end_banned: EndBanned = _no_sessions,
        announce: Announce = only_here,
        *,
        at_most: int = 0,
    ) -> None:
        self._server = server
        self._end_banned = end_banned
        self._announce = announce
        self._at_most = at_most
        self._last_kick = 0
        self._log = BanLog(server)
        self._forgetting = SingleFlight(self._forget_ended, _log_failure)
        # Changes that come while processes are asked share the next question.
        self._announcing = SingleFlight(self._ask_all, _known_to_those_who_wait)
        self._silent: list[str] = []
        self._copy = SharedCopy(reactor, server, lease, CHANNEL, self._read, self._apply)

    def start(self) -> None:
        self._copy.start()

    def stop(self) -> None:
        self._copy.stop()
        self._forgetting.cancel()
        self._announcing.cancel()

    async def _read(self) -> _Kicks:
        """With the time, by which bans end. Returns kicks that are kept, since the last read."""
        kicks: _Kicks = []
        # At once, as answers may be late. They come in this order: bans end by the new time.
        await gather([read_clock(self._server), self._read_kicks(kicks), self._log.read()])
        return kicks

    async def _read_kicks(self, kicks: _Kicks) -> None:
        since = f"({self._last_kick}"
        reply = await self._server.command(
            "ZRANGEBYSCORE", self._server.key(keyspace.KICKS), since, "+inf", "WITHSCORES"
        )
        for kick, place in zip(reply[::2], reply[1::2], strict=True):
            kicks.append((int(float(place)), kick))

    async def _apply(self, kicks: _Kicks) -> None:
        """What was not compared to the end, because of an error, is compared the next time."""
        new = self._log.new
        new.kicks = [kick for _, kick in kicks]
        if new.are_there or kicks:
            await self._end_banned(new)
            self._log.new = NewBans()
        self._last_kick = max([self._last_kick, *(place for place, _ in kicks)])
        self._forgetting.request()

    async def _forget_ended(self) -> None:
        try:
            await self._log.forget_ended(self.now_ms())
        except StoreUnavailable as error:
            log.debug(
                "Bans that have ended were not forgotten: {reason}",
                reason=error.reason,
                event="bans.forgetting_postponed",
            )

    @property
    def is_valid(self) -> bool:
        """Whether nothing changed since they were read, as far as this process was told."""
        return self._copy.is_valid

    @property
    def is_current(self) -> bool:
        """Whether `check_now` judges by every change that was answered."""
        return self._copy.is_current

    async def wait_until_current(self) -> None:
        """Return when every change that was answered before this call is applied, sessions that
        must end included. Raises `StoreUnavailable`."""
        await self._copy.wait_until_current()

    async def page(self, after: int, at_most: int) -> tuple[list[ActiveBan], int | None]:
        """A page of those that hold now, in the order in which they were made or changed, and after
        which offset the next one begins (0: the first); None: this is the last.

        Raises `StoreUnavailable`.
        """
        return await self._log.page(after, at_most, self.now_ms())

    async def add(self, ban: ActiveBan) -> list[str]:
        """It holds from now on, in place of an earlier one of the same. Returns the nodes that did
        not confirm it: they find out before they next admit anybody.

        Raises `RequestError` `not_allowed` when there are as many as there may be.
        """
        arguments: list[Argument] = [ban.key, ban.until or 0, self._at_most]
        async with self._copy.changes:
            outcome = await self._server.run(_ban, [], arguments, durable=True, decode=int)
            if outcome < 0:
                await self._log.forget_ended(self.now_ms())
                outcome = await self._server.run(_ban, [], arguments, durable=True, decode=int)
            if outcome < 0:
                raise RequestError(
                    "not_allowed", f"there are {self._at_most} bans, which is the limit"
                )
            return await self._announced()

    async def lift(self, kind: BanKind, name: str) -> list[str]:
        """Raises `RequestError` `not_found` when there is no such ban. Returns as `add`."""
        arguments: list[Argument] = [f"{kind}:{name}", "", 0]
        async with self._copy.changes:
            if not await self._server.run(_ban, [], arguments, durable=True, decode=bool):
                raise RequestError("not_found", f"there is no ban of this {kind}")
            return await self._announced()

    async def _announced(self) -> list[str]:
        """Every process was asked after this call began; the nodes that did not confirm."""
        await self._announcing.run()
        return self._silent

    async def _ask_all(self) -> None:
        self._silent = await self._announce()

    async def check(
        self, *, ip: str = "", token: str | None = None, user: str | None = None
    ) -> None:
        """Judge by every change that was answered before this call (`CheckBan`)."""
        if not self._copy.is_current:
            await self._copy.wait_until_current()
        self.check_now(ip=ip, token=token, user=user)

    def check_now(self, *, ip: str = "", token: str | None = None, user: str | None = None) -> None:
        """Judge by the copy as it is. Raises `RequestError` `banned`."""
        table = self._log.table
        if not table:
            return
        now_ms = self.now_ms()
        found = [
            (until_ms or math.inf, kind)
            for kind, until_ms in table.matching(ip, token, user)
            if not until_ms or until_ms > now_ms
        ]
        if not found:
            return
        until_ms, kind = max(found)
        what = {"ip": "address", "token": "device", "user": "user"}[kind]
        if until_ms == math.inf:
            raise RequestError("banned", f"this {what} is banned until the ban is lifted")
        raise RequestError(
            "banned",
            f"this {what} is banned until {until_ms:.0f} (ms since 1970 UTC)",
            after_seconds=math.ceil((until_ms - now_ms) / 1000),
        )

    def now_ms(self) -> int:
        """The time of the server, in milliseconds since 1970 UTC."""
        return self._server.clock.now_ms()


def _log_failure(failure: Failure) -> None:
    log.failure("Bans that have ended were not forgotten", failure, event="bans.not_forgotten")


def _known_to_those_who_wait(_failure: Failure) -> None:
    """It is raised where the change was made."""

"""Bans: addresses, devices and users that may not connect, until a time or until the ban is lifted.

All bans are in one hash. Every process that admits devices has a copy (`push.redis.shared_copy`),
so that a check costs no round trip. A change is answered when every process has it, or is named.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Literal, Protocol

import msgspec

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.scripts import load_script
from push.redis.shared_copy import Lease, SharedCopy
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.wire.addresses import parse_network
from push.wire.errors import RequestError

CHANNEL = "bans"
FORGOTTEN_AT_A_TIME = 1000

BanKind = Literal["ip", "token", "user"]

_ban = load_script("devices", "ban")
_forget = load_script("devices", "forget_bans")
_keep_kick = load_script("devices", "keep_kick")

KEPT_KICK_SECONDS = 3600
KEPT_KICKS = 1000


async def keep_kick(server: RedisClient, order: bytes) -> None:
    """Keep a kick that connectors did not confirm: each reads it before it next lets a session do
    anything, if that is within an hour and before 1000 others. Raises `StoreUnavailable`."""
    await server.run(_keep_kick, [], [order, KEPT_KICK_SECONDS, KEPT_KICKS], durable=True)


class ActiveBan(msgspec.Struct, frozen=True, order=True):
    """`name`: a token, a user, or an address or network as `normal_network` writes it.

    `until`: milliseconds since 1970 UTC; None: until it is lifted.
    """

    kind: BanKind
    name: str
    until: int | None


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


# Asks every process to apply what was changed; the nodes that did not confirm it.
Announce = Callable[[], Awaitable[list[str]]]


async def _only_here() -> list[str]:
    return []


class Bans:
    """The bans of a deployment, in the first server. `on_read()`: they may have changed.

    `announce`: see `Announce`.
    """

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        lease: Lease,
        on_read: Callable[[], None] = lambda: None,
        announce: Announce = _only_here,
    ) -> None:
        self._server = server
        self._on_read = on_read
        self._announce = announce
        self.kept_kicks: list[bytes] = []
        self._last_kick = 0
        self._names: dict[tuple[str, str], int] = {}  # single addresses among them
        self._networks: list[tuple[IPv4Network | IPv6Network, int]] = []
        self._copy = SharedCopy(reactor, server, lease, CHANNEL, self._read, self._apply)

    def start(self) -> None:
        self._copy.start()

    def stop(self) -> None:
        self._copy.stop()

    async def _read(self) -> tuple[list[ActiveBan], list[tuple[int, bytes]]]:
        """With the time, by which bans end: the estimate of it runs a little slow. Beside the
        bans: kicks that are kept, since the last read, each with its place."""
        # At once, as answers may be late. They come in this order: bans end by the new time.
        found: list[Any] = await gather([self._read_time(), self._read_kicks(), self._read_all()])
        _, kicks, (bans, ended) = found
        if ended:
            await self._server.run(_forget, [], ended[: 2 * FORGOTTEN_AT_A_TIME])
        return bans, kicks

    async def _read_kicks(self) -> list[tuple[int, bytes]]:
        since = f"({self._last_kick}"
        reply = await self._server.command(
            "ZRANGEBYSCORE", self._server.key(keyspace.KICKS), since, "+inf", "WITHSCORES"
        )
        return [
            (int(float(place)), order) for order, place in zip(reply[::2], reply[1::2], strict=True)
        ]

    async def _read_time(self) -> None:
        seconds, microseconds = await self._server.command("TIME")
        self._server.clock.observe(int(seconds) * MICROSECONDS + int(microseconds))

    def _apply(self, found: tuple[list[ActiveBan], list[tuple[int, bytes]]]) -> None:
        bans, kicks = found
        names: dict[tuple[str, str], int] = {}
        networks = []
        for ban in bans:
            if ban.kind == "ip" and "/" in ban.name:
                networks.append((parse_network(ban.name), ban.until or 0))
            else:
                names[ban.kind, ban.name] = ban.until or 0
        self._names, self._networks = names, networks
        self.kept_kicks = [order for _, order in kicks]
        try:
            self._on_read()
        finally:
            self.kept_kicks = []
        self._last_kick = max([self._last_kick, *(place for place, _ in kicks)])

    @property
    def is_valid(self) -> bool:
        """Whether nothing changed since they were read, as far as this process has heard."""
        return self._copy.is_valid

    @property
    def is_current(self) -> bool:
        """Whether `check_now` judges by every change that was answered."""
        return self._copy.is_current

    async def wait_until_current(self) -> None:
        """Return when every change that was answered before this call is applied, sessions that
        must end included. Raises `StoreUnavailable`."""
        await self._copy.wait_until_current()

    async def all(self) -> list[ActiveBan]:
        """All that hold now, by kind and name. Raises `StoreUnavailable`."""
        bans, _ = await self._read_all()
        return sorted(bans, key=lambda ban: (ban.kind, ban.name))

    async def _read_all(self) -> tuple[list[ActiveBan], list[bytes]]:
        """Those that hold now; and those that have ended, each as it is kept and its end."""
        reply = await self._server.command("HGETALL", self._server.key(keyspace.BANS))
        now_ms = self.now_ms()
        found: list[ActiveBan] = []
        ended: list[bytes] = []
        for field, value in zip(reply[::2], reply[1::2], strict=True):
            kind, _, name = field.decode().partition(":")
            until_ms = int(value)
            if not until_ms or until_ms > now_ms:
                found.append(ActiveBan(kind, name, until_ms or None))
            else:
                ended += [field, value]
        return found, ended

    async def add(self, ban: ActiveBan) -> list[str]:
        """It holds from now on, in place of an earlier one of the same. Returns the nodes that did
        not confirm it: they find out before they next admit anybody."""
        what = f"{ban.kind}:{ban.name}"
        await self._server.run(_ban, [], [what, ban.until or 0], durable=True)
        return await self._announce()

    async def lift(self, kind: BanKind, name: str) -> list[str]:
        """Raises `RequestError` `not_found` when there is no such ban. Returns as `add`."""
        arguments = [f"{kind}:{name}", ""]
        if not await self._server.run(_ban, [], arguments, durable=True, decode=bool):
            raise RequestError("not_found", f"there is no ban of this {kind}")
        return await self._announce()

    async def check(
        self, *, ip: str = "", token: str | None = None, user: str | None = None
    ) -> None:
        """Judge by every change that was answered before this call (`CheckBan`)."""
        if not self._copy.is_current:
            await self._copy.wait_until_current()
        self.check_now(ip=ip, token=token, user=user)

    def check_now(self, *, ip: str = "", token: str | None = None, user: str | None = None) -> None:
        """Judge by the copy as it is. Raises `RequestError` `banned`."""
        if not self._names and not self._networks:
            return
        now_ms = self.now_ms()
        found = [
            (until_ms or math.inf, kind)
            for kind, until_ms in self._matching(ip, token, user)
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

    def _matching(
        self, ip: str, token: str | None, user: str | None
    ) -> Iterator[tuple[BanKind, int]]:
        """The bans of a caller, each with its end; some may have ended."""
        ip = ip.partition("%")[0]
        names: tuple[tuple[BanKind, str | None], ...] = (
            ("token", token),
            ("user", user),
            ("ip", ip),
        )
        for kind, name in names:
            until_ms = self._names.get((kind, name)) if name is not None else None
            if until_ms is not None:
                yield kind, until_ms
        if not ip or not self._networks:
            return
        try:
            address = ip_address(ip)
        except ValueError:
            return  # the peer of a unix socket
        for network, until_ms in self._networks:
            if address in network:
                yield "ip", until_ms

    def now_ms(self) -> int:
        """The time of the server, in milliseconds since 1970 UTC."""
        return self._server.clock.now_us() // 1000

"""Who may not connect: addresses, devices and users, until a time or until it is lifted.

All bans are in one hash. Every process that lets devices in has a copy, so that a ban costs no
round trip; it is read anew when one changes, when messages may have been missed, and every minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.redis.client import RedisServer
from push.redis.errors import StoreUnavailable
from push.redis.periodic import Periodic
from push.redis.scripts import load_script
from push.runtime.tasks import Jobs
from push.wire.addresses import Networks
from push.wire.errors import Refusal

log = Logger()

READ_SECONDS = 60.0
CHANNEL = "bans"
FORGOTTEN_AT_A_TIME = 1000

Kind = Literal["ip", "token", "user"]

_ban = load_script("devices", "ban")
_forget = load_script("devices", "forget_bans")


class Ban(msgspec.Struct, frozen=True, order=True):
    """`name`: a token, a user, or an address or network as `normal_network` writes it.

    `until`: milliseconds since 1970 UTC; None: until it is lifted.
    """

    kind: Kind
    name: str
    until: int | None


class CheckBan(Protocol):
    """Raises `Refusal` `banned` for who must not connect."""

    def __call__(self, *, ip: str = "", token: str | None = None, user: str | None = None) -> None:
        pass


def nobody_is_banned(*, ip: str = "", token: str | None = None, user: str | None = None) -> None:
    """A `CheckBan` without bans."""


class Bans(Periodic):
    """The bans of a deployment, in the first server. `on_read()`: they may have changed."""

    def __init__(
        self, reactor: Any, server: RedisServer, on_read: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(reactor, server, READ_SECONDS, "The bans could not be read")
        self._on_read = on_read
        self._names: dict[tuple[str, str], int] = {}
        self._networks: list[tuple[Networks, int]] = []
        self._jobs = Jobs()
        self._listening: Deferred[None] | None = None
        server.on_restored(self._read_soon)

    def start(self) -> None:
        super().start()
        self._listening = self._server.hear(CHANNEL, lambda _: self._read_soon())
        self._listening.addErrback(lambda _: None)  # it is heard when the server is there

    def stop(self) -> None:
        super().stop()
        self._jobs.cancel()

    def _read_soon(self) -> None:
        self._jobs.run(self._read(), lambda failure: log.failure("Bans not read", failure))

    async def _read(self) -> None:
        try:
            await self.turn()
        except StoreUnavailable as error:
            log.debug("The bans could not be read: {reason}", reason=error.reason)

    async def turn(self) -> None:
        """Read them."""
        names: dict[tuple[str, str], int] = {}
        networks = []
        bans, ended = await self._read_all()
        for ban in bans:
            if ban.kind == "ip":
                networks.append((Networks([ban.name]), ban.until or 0))
            else:
                names[ban.kind, ban.name] = ban.until or 0
        self._names, self._networks = names, networks
        self._on_read()
        if ended:
            await self._server.run(_forget, [], ended[: 2 * FORGOTTEN_AT_A_TIME])

    async def all(self) -> list[Ban]:
        """All that hold now, by kind and name. Raises `StoreUnavailable`."""
        bans, _ = await self._read_all()
        return sorted(bans, key=lambda ban: (ban.kind, ban.name))

    async def _read_all(self) -> tuple[list[Ban], list[bytes]]:
        """Those that hold now; and those that have ended, each as it is kept and its end."""
        reply = await self._server.command("HGETALL", self._server.key("bans"))
        now_ms = self.now_ms()
        found: list[Ban] = []
        ended: list[bytes] = []
        for field, value in zip(reply[::2], reply[1::2], strict=True):
            kind, _, name = field.decode().partition(":")
            until_ms = int(value)
            if not until_ms or until_ms > now_ms:
                found.append(Ban(kind, name, until_ms or None))
            else:
                ended += [field, value]
        return found, ended

    async def add(self, ban: Ban) -> None:
        """It holds from now on, in place of an earlier one of the same."""
        what = f"{ban.kind}:{ban.name}"
        await self._server.run(_ban, [], [what, ban.until or 0], durable=True)

    async def lift(self, kind: Kind, name: str) -> None:
        """Raises `Refusal` `not_found` when there is no such ban."""
        if not await self._server.run(_ban, [], [f"{kind}:{name}", ""], durable=True):
            raise Refusal("not_found", f"there is no ban of this {kind}")

    def check(self, *, ip: str = "", token: str | None = None, user: str | None = None) -> None:
        """Raises `Refusal` `banned` for who must not connect."""
        if not self._names and not self._networks:
            return
        for kind, name in (("token", token), ("user", user)):
            until_ms = self._names.get((kind, name)) if name is not None else None
            if until_ms is not None:
                self._refuse(kind, until_ms)
        for network, until_ms in self._networks:
            if ip in network:
                self._refuse("ip", until_ms)

    def _refuse(self, kind: str, until_ms: int) -> None:
        if until_ms and until_ms <= self.now_ms():
            return
        what = {"ip": "address", "token": "device", "user": "user"}[kind]
        end = f"until {until_ms} (ms since 1970 UTC)" if until_ms else "until it is lifted"
        raise Refusal("banned", f"this {what} is banned {end}")

    def now_ms(self) -> int:
        """The time of the server, in milliseconds since 1970 UTC."""
        return self._server.clock.now_us() // 1000

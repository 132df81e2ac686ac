"""Orders between connectors: end a session that lives elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.logger import Logger

from push.store.server import RedisServer

log = Logger()


class Order(msgspec.Struct):
    """End `session` with the DISCONNECT code `code`."""

    session: str
    code: str


class ControlChannel:
    """How a connector is reached by its boot id."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def end_session(self, boot: str, session: str, code: str) -> None:
        """Tell the connector of `boot`. If it is not there, its sessions are not either."""
        channel = self._server.channel(_name(boot))
        order = msgspec.json.encode(Order(session, code))
        await self._server.command("PUBLISH", channel, order)

    async def listen(self, boot: str, obey: Callable[[Order], None]) -> None:
        """Call `obey` with every order to this connector, from now on."""

        def receive(payload: bytes) -> None:
            try:
                order = msgspec.json.decode(payload, type=Order)
            except msgspec.DecodeError:
                log.warn("An order could not be read: {payload!r}", payload=payload[:200])
                return
            obey(order)

        await self._server.hear(_name(boot), receive)


def _name(boot: str) -> str:
    return f"connector:{boot}"

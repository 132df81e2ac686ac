"""Orders to connectors: end a session that lives elsewhere, leave the cluster."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.logger import Logger

from push.redis.client import RedisClient
from push.wire.signals import DisconnectCode

log = Logger()


class EndSessionCommand(msgspec.Struct, tag="end"):
    """End `session` with the DISCONNECT code `code`."""

    session: str
    code: str


class DrainCommand(msgspec.Struct, tag="drain"):
    """Send all sessions elsewhere, so many a second (0: the usual rate), and end."""

    rate_per_second: float = 0


_decode = msgspec.json.Decoder(EndSessionCommand | DrainCommand).decode


def read_order(payload: bytes) -> EndSessionCommand | DrainCommand:
    """A command that was received; raises ValueError or RecursionError for one that is not ours."""
    order = _decode(payload)  # msgspec's errors are ValueErrors
    if isinstance(order, EndSessionCommand):
        DisconnectCode(order.code)
    return order


class ControlChannel:
    """How a connector is reached by its boot id."""

    def __init__(self, server: RedisClient) -> None:
        self._server = server

    async def end_session(self, boot: str, session: str, code: str) -> None:
        """End a session of the connector `boot`. If the connector has ended, so has the session."""
        await self._give(boot, EndSessionCommand(session, code))

    async def drain(self, boot: str, rate_per_second: float) -> None:
        """Let the connector `boot` send its sessions elsewhere."""
        await self._give(boot, DrainCommand(rate_per_second))

    async def _give(self, boot: str, order: EndSessionCommand | DrainCommand) -> None:
        channel = self._server.channel(_name(boot))
        await self._server.command("PUBLISH", channel, msgspec.json.encode(order))

    async def listen(
        self, boot: str, obey: Callable[[EndSessionCommand | DrainCommand], None]
    ) -> None:
        """Call `obey` with every order to this connector, from now on."""

        def receive(payload: bytes) -> None:
            try:
                order = read_order(payload)
            except (ValueError, RecursionError):
                log.warn(
                    "A command of another node could not be read: {payload!r}",
                    payload=payload[:200],
                    event="cluster.order_unreadable",
                )
                return
            obey(order)

        await self._server.subscribe_channel(_name(boot), receive)


def _name(boot: str) -> str:
    return f"connector:{boot}"

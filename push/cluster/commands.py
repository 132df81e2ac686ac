"""Commands to connectors: end a session that lives elsewhere, leave the cluster."""

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


def read_command(payload: bytes) -> EndSessionCommand | DrainCommand:
    """A command that was received; raises ValueError or RecursionError for one that is not ours."""
    command = _decode(payload)  # msgspec's errors are ValueErrors
    if isinstance(command, EndSessionCommand):
        DisconnectCode(command.code)
    return command


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

    async def _give(self, boot: str, command: EndSessionCommand | DrainCommand) -> None:
        channel = self._server.channel(_name(boot))
        await self._server.command("PUBLISH", channel, msgspec.json.encode(command))

    async def listen(
        self, boot: str, execute: Callable[[EndSessionCommand | DrainCommand], None]
    ) -> None:
        """Call `execute` with every command to this connector, from now on."""

        def receive(payload: bytes) -> None:
            try:
                command = read_command(payload)
            except (ValueError, RecursionError):
                log.warn(
                    "A command of another node could not be read: {payload!r}",
                    payload=payload[:200],
                    event="cluster.order_unreadable",
                )
                return
            execute(command)

        await self._server.channels.subscribe(_name(boot), receive)


def _name(boot: str) -> str:
    return f"connector:{boot}"

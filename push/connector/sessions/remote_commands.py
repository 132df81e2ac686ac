"""Sessions that end for a reason elsewhere: taken over, kicked, forgotten.

A command reaches the connector of a session by its boot id; for own sessions the way is short.
"""

from __future__ import annotations

import msgspec
from twisted.logger import Logger

from push.access.ban_table import NewBans
from push.cluster.commands import DrainCommand, EndSessionCommand
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.matching import KICKED_REASON, test_of
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.services import GatewayServices
from push.connector.sessions.walking import walk
from push.devices.session_queries import KeptKick
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock
from push.wire.errors import RequestError
from push.wire.signals import TAKEN_OVER_REASON, DisconnectCode

log = Logger()

_decode_kick = msgspec.json.Decoder(KeptKick).decode

EARLY_ORDER_SECONDS = 10.0
SESSIONS_PER_CALL = 500
_REASONS = {DisconnectCode.TAKEN_OVER: TAKEN_OVER_REASON}


class RemoteCommands:
    """Carries out commands, and sends those for sessions of other connectors.

    Commands may be lost while Redis is unreachable, or while this process is stopped: `verify`
    finds the sessions that are not their device's any more.
    """

    def __init__(
        self, reactor: Clock, services: GatewayServices, boot: str, node: str, port: GatewayPort
    ) -> None:
        self._reactor = reactor
        self._control = services.control
        self._devices = services.devices
        self._session_ending = services.sessions.ending
        self._bans = services.bans
        self._drain = services.drain_ordered
        self._boot = boot
        self._node = node
        self._port = port
        self._early: dict[str, tuple[EndSessionCommand, float]] = {}

    async def listen(self) -> None:
        await self._control.listen(self._boot, self._take)

    def _take(self, command: EndSessionCommand | DrainCommand) -> None:
        if isinstance(command, DrainCommand):
            self._drain(command.rate_per_second)
        else:
            self._execute(command)

    async def end_session(
        self, boot: str, session: str, code: str = DisconnectCode.TAKEN_OVER
    ) -> None:
        """End a session that has lost its device, here or on the connector that has it. When this
        returns nothing that it asked for is done any more."""
        if boot == self._boot:
            former = self._port.sessions.get(session)
            self._execute(EndSessionCommand(session, code))
            if former is not None:
                await self._port.requests.until_done([former])
        else:
            await self._devices.end_elsewhere(boot, session)

    async def verify(self) -> None:
        """End the sessions whose device was taken over by another connection."""
        held = [c for c in self._port.sessions.values() if c.token is not None]
        for start in range(0, len(held), SESSIONS_PER_CALL):
            part = held[start : start + SESSIONS_PER_CALL]
            try:
                lost = await self._session_ending.lost([(str(c.token), c.session_id) for c in part])
            except StoreUnavailable as error:
                log.debug(
                    "Sessions not verified: {reason}",
                    reason=error.reason,
                    event="sessions.verification_postponed",
                )
                return  # when Redis is reachable again they are
            for place in lost:
                self.end_if_lost(part[place])

    async def end_banned(self, new: NewBans) -> None:
        """End the sessions of those that must not connect any more, or that were kicked when this
        connector did not confirm it. Return when they have ended.

        One that is being opened is judged before it is accepted, and refused as others are.
        """
        for kick in new.kicks:
            await self._end_kicked(kick)
        if new.are_there:
            await walk(
                self._reactor,
                self._port.sessions,
                lambda device: self._end_if_newly_banned(device, new),
            )

    def _end_if_newly_banned(self, device: DeviceSession, new: NewBans) -> None:
        if not device.protocol.is_established:
            return
        if new.name(device.token, device.user) or (
            new.has_networks and new.cover(device.connection.ip)
        ):
            self.end_if_banned(device)

    async def _end_kicked(self, kept: bytes) -> None:
        kick = _decode_kick(kept)
        if kick.filter.node not in (None, self._node):
            return
        fits = test_of(kick.filter)

        def end_if_kicked(device: DeviceSession) -> None:
            if device.connected_ms < kick.before_ms and fits(device):
                code = DisconnectCode.KICKED
                self._port.disconnect(device.connection, code, KICKED_REASON)

        await walk(self._reactor, self._port.sessions, end_if_kicked)

    def end_if_banned(self, device: DeviceSession) -> None:
        """A live session whose address, device or user is banned gets DISCONNECT `kicked`,
        with the reason and how long the ban still lasts, and ends."""
        try:
            self._bans.check_now(ip=device.connection.ip, token=device.token, user=device.user)
        except RequestError as refusal:
            code = DisconnectCode.KICKED
            self._port.disconnect(device.connection, code, refusal.detail, refusal.after_seconds)

    def end_if_lost(self, device: DeviceSession) -> None:
        """Redis says that the device has another session, or was deleted. Its record tells which:
        on that depends whether its client reconnects."""
        if not device.is_over:
            self._port.subscriptions.request_refresh(device)

    def execute_early_command(self, device: DeviceSession) -> None:
        """This connector has a session from now on; the command to end it may have come before."""
        command, _ = self._early.pop(device.session_id, (None, 0.0))
        if command is not None:
            self._execute(command)

    def _execute(self, command: EndSessionCommand) -> None:
        device = self._port.sessions.get(command.session)
        if device is not None:
            code = DisconnectCode(command.code)
            self._port.disconnect(
                device.connection, code, _REASONS.get(code, "by order of an operator")
            )
            return
        # The command may have overtaken the answer with which this connector has the session.
        now = self._reactor.seconds()
        for session, (_, came_at) in list(self._early.items()):
            if now - came_at > EARLY_ORDER_SECONDS:
                del self._early[session]
        self._early[command.session] = (command, now)

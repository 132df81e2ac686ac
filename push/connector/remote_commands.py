"""Sessions that end for a reason elsewhere: taken over, kicked, forgotten.

An order reaches the connector of a session by its boot id; for one's own sessions the way is short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.logger import Logger

from push.access.bans import Bans
from push.cluster.commands import ControlChannel, DrainCommand, EndSessionCommand
from push.connector.transport.connection import DeviceConnection
from push.devices.sessions import Sessions
from push.redis.errors import StoreUnavailable
from push.session.transitions import State
from push.wire.errors import RequestError
from push.wire.signals import DisconnectCode

log = Logger()

EARLY_ORDER_SECONDS = 10.0
SESSIONS_PER_CALL = 500
_REASONS = {DisconnectCode.TAKEN_OVER: "a newer connection has this token"}


class Disconnect(Protocol):
    """Ends a session from our side."""

    def __call__(
        self,
        connection: DeviceConnection,
        code: DisconnectCode,
        reason: str,
        after_seconds: int | None = None,
    ) -> None: ...


class RemoteCommands:
    """Carries out orders on `sessions`, and sends those for sessions of other connectors.

    Orders may be lost while Redis is away, or while this process stands still: `verify` finds the
    sessions that are not their device's any more (`opener` asks their records).
    """

    def __init__(
        self,
        reactor: Any,
        control: ControlChannel,
        opener: Sessions,
        boot: str,
        sessions: Mapping[str, DeviceConnection],
        disconnect: Disconnect,
        drain: Callable[[float], None],
    ) -> None:
        self._reactor = reactor
        self._control = control
        self._opener = opener
        self._boot = boot
        self._sessions = sessions
        self._disconnect = disconnect
        self._drain = drain
        self._early: dict[str, tuple[EndSessionCommand, float]] = {}

    async def listen(self) -> None:
        await self._control.listen(self._boot, self._take)

    def _take(self, order: EndSessionCommand | DrainCommand) -> None:
        if isinstance(order, DrainCommand):
            self._drain(order.rate_per_second)
        else:
            self._execute(order)

    async def end_session(
        self, boot: str, session: str, code: str = DisconnectCode.TAKEN_OVER
    ) -> None:
        """End a session, here or on the connector that has it."""
        if boot == self._boot:
            self._execute(EndSessionCommand(session, code))
        else:
            await self._control.end_session(boot, session, code)

    async def verify(self) -> None:
        """End the sessions whose device was taken over by another connection."""
        held = [c for c in self._sessions.values() if c.token is not None]
        for start in range(0, len(held), SESSIONS_PER_CALL):
            part = held[start : start + SESSIONS_PER_CALL]
            try:
                lost = await self._opener.lost([(str(c.token), c.session_id) for c in part])
            except StoreUnavailable as error:
                log.debug("Sessions not verified: {reason}", reason=error.reason)
                return  # when it is back they are
            for place in lost:
                self.lost(part[place])

    def end_banned(self, bans: Bans) -> None:
        """End the sessions of those that must not connect any more.

        One that is being opened is judged before it is accepted, and refused as others are.
        """
        for connection in list(self._sessions.values()):
            if connection.session.state is State.OPEN:
                self.judge(connection, bans)

    def judge(self, connection: DeviceConnection, bans: Bans) -> None:
        """End a session whose address, device or user is banned."""
        try:
            bans.check_now(ip=connection.ip, token=connection.token, user=connection.user)
        except RequestError as refusal:
            code = DisconnectCode.KICKED
            self._disconnect(connection, code, refusal.detail, refusal.after_seconds)

    def lost(self, connection: DeviceConnection) -> None:
        """The store says that the device has another session."""
        if not connection.closed and connection.session_id in self._sessions:
            reason = "another connection has this token"
            self._disconnect(connection, DisconnectCode.TAKEN_OVER, reason)

    def opened(self, connection: DeviceConnection) -> None:
        """A session is known here from now on; the order to end it may have come before."""
        order, _ = self._early.pop(connection.session_id, (None, 0.0))
        if order is not None:
            self._execute(order)

    def _execute(self, order: EndSessionCommand) -> None:
        connection = self._sessions.get(order.session)
        if connection is not None:
            code = DisconnectCode(order.code)
            self._disconnect(connection, code, _REASONS.get(code, "by order of an operator"))
            return
        # The order may have overtaken the answer that makes the session known here.
        now = self._reactor.seconds()
        for session, (_, came_at) in list(self._early.items()):
            if now - came_at > EARLY_ORDER_SECONDS:
                del self._early[session]
        self._early[order.session] = (order, now)

"""Sessions that are over: what they acknowledged and that they have ended is stored with their
devices' records."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.sharded_streams import ShardedStreams
from push.devices.session_ending import EndedSession
from push.devices.sessions import Sessions
from push.runtime.ports import Clock
from push.runtime.timers import Debounced, sleep
from push.session.subscription import FailedAttempts

log = Logger()

AGAIN_SECONDS = 1.0


class SessionEnds:
    """`run` runs a coroutine whose errors are logged. The ends of one turn are stored together."""

    def __init__(
        self,
        reactor: Clock,
        streams: ShardedStreams,
        sessions: Sessions,
        run: Callable[[Coroutine[Any, Any, None]], Deferred[None]],
    ) -> None:
        self._reactor = reactor
        self._streams = streams
        self._sessions = sessions
        self._run = run
        self._stopping = False
        self._due: list[DeviceSession] = []
        self._ends: dict[str, Deferred[None]] = {}  # that are being stored, by session
        self._end_of_turn = Debounced(reactor, 0, self._store_due)

    def stop(self) -> None:
        """From now on the end of a session is tried once, and at once."""
        self._stopping = True
        self._store_due()

    def store(self, device: DeviceSession) -> None:
        """Begin to store the end of a session; one without a token has no record."""
        if device.token is not None:
            self._ends[device.session_id] = Deferred()
            self._due.append(device)
            if self._stopping:
                self._store_due()
            else:
                self._end_of_turn.request()

    async def are_stored(self) -> None:
        """Return when the ends of until now are stored, if Redis can be reached."""
        for stored in list(self._ends.values()):
            waiter: Deferred[None] = Deferred()
            stored.chainDeferred(waiter)
            await waiter

    def _store_due(self) -> None:
        due, self._due = self._due, []
        if due:
            self._run(self._close(due))

    def _stored(self, session: str) -> None:
        """Or could not be at once."""
        stored = self._ends.pop(session, None)
        if stored is not None:
            stored.callback(None)

    async def _close(self, devices: list[DeviceSession]) -> None:
        while devices:
            await self._streams.cursors.flush()
            now = self._reactor.seconds()
            ended = [EndedSession(str(d.token), d.session_id, _left_of(d, now)) for d in devices]
            unstored = {each.session for each in await self._sessions.ending.close(ended)}
            for device in devices:
                self._stored(device.session_id)
            devices = [device for device in devices if device.session_id in unstored]
            if devices and self._stopping:
                log.debug(
                    "The ends of {count} sessions were not stored",
                    count=len(devices),
                    event="session.end_not_stored",
                )
                return
            if devices:
                # Else they would be online for as long as this connector is.
                await sleep(self._reactor, AGAIN_SECONDS)


def _left_of(device: DeviceSession, now: float) -> list[FailedAttempts]:
    window = device.protocol.window
    return window.failed_attempts(device.subscriptions.values(), now) if window else []

"""Leaving without harm: sessions are sent to other connectors, batch by batch.

Of a batch nothing more is handed out, what it has is acknowledged or some seconds pass, cursors are
stored, and each session is told where to go. Devices that would all reconnect at once are told to
wait for a random part of some seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from push.connector.sessions.device_session import DeviceSession, Phase, SessionConnection
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.sharded_streams import ShardedCursors
from push.runtime.ports import Clock
from push.runtime.tasks import gather_deferreds
from push.runtime.timers import sleep
from push.session.transitions import State
from push.wire.addresses import is_loopback_peer
from push.wire.codecs.carriers import EVENT_STREAMS
from push.wire.event_stream.request import stream_url
from push.wire.signals import DisconnectCode

log = Logger()

BATCH_SECONDS = 0.5
ACKNOWLEDGED_SECONDS = 5.0
LOOK_SECONDS = 0.05
PROGRESS_SECONDS = 10.0
# Longer than the pause between two batches, so that devices arrive in an even stream; and no longer
# than needed: a device that waits is offline, and where it was sent may be drained meanwhile.
MAX_AFTER_SECONDS = 1
SERVERS_TOLD = 8


class Drain:
    """Empties a connector.

    `others(carrier, ip)` are the URLs of other connectors for a device there, best first.
    """

    def __init__(
        self,
        reactor: Clock,
        cursors: ShardedCursors,
        others: Callable[[str, str], Sequence[str]],
        port: GatewayPort,
    ) -> None:
        self.draining = False
        self._reactor = reactor
        self._cursors = cursors
        self._others = others
        self._port = port
        self._batches: list[Deferred[None]] = []

    def servers(self, connection: SessionConnection) -> list[str]:
        """Where else a device may go."""
        carrier = connection.carrier
        urls = self._others(carrier, connection.ip)[:SERVERS_TOLD]
        return [stream_url(url) for url in urls] if carrier in EVENT_STREAMS else list(urls)

    async def run(self, rate_per_second: float) -> None:
        """Send all sessions away, `rate_per_second` of them; returns when the last was told.

        Without another connector nobody is sent anywhere: it returns at once. Cancelled, it stops
        where it is.
        """
        self.draining = True
        waiting = list(self._port.sessions.values())
        if not self._have_elsewhere(waiting):
            return
        log.info(
            "Draining: {count} sessions are sent to other connectors",
            count=len(waiting),
            event="drain.started",
        )
        try:
            while waiting:
                await self._send_all_away(waiting, rate_per_second)
                # Those that were being opened when the drain began.
                waiting = [
                    each for each in self._port.sessions.values() if each.phase is Phase.OPEN
                ]
        except CancelledError:
            for sending in self._batches:
                sending.addErrback(lambda failure: failure.trap(CancelledError))
                sending.cancel()
            raise

    def _have_elsewhere(self, connections: Sequence[DeviceSession]) -> bool:
        """Whether any of them can be sent anywhere; asked once for those who are told the same."""
        asked = set()
        for device in connections:
            alike = device.connection.carrier, is_loopback_peer(device.connection.ip)
            if alike not in asked:
                asked.add(alike)
                if self._others(device.connection.carrier, device.connection.ip):
                    return True
        return False

    async def _send_all_away(self, waiting: list[DeviceSession], rate_per_second: float) -> None:
        random.shuffle(waiting)  # nobody's devices are the first or the last
        size = max(1, round(rate_per_second * BATCH_SECONDS))
        told_at = self._reactor.seconds()
        while waiting:
            batch, waiting = waiting[:size], waiting[size:]
            self._batches.append(Deferred.fromCoroutine(self._send_away(batch)))
            await sleep(self._reactor, len(batch) / max(rate_per_second, 0.001))
            if self._reactor.seconds() - told_at >= PROGRESS_SECONDS:
                told_at = self._reactor.seconds()
                log.info(
                    "Draining: {count} sessions are left",
                    count=len(self._port.sessions),
                    event="drain.remaining",
                )
        await gather_deferreds(self._batches)

    async def _send_away(self, batch: list[DeviceSession]) -> None:
        for device in batch:
            device.phase = Phase.LEAVING
            for subscription in device.subscriptions.values():
                subscription.live = False
        until = self._reactor.seconds() + ACKNOWLEDGED_SECONDS
        while self._reactor.seconds() < until and any(map(_is_waited_for, batch)):
            await sleep(self._reactor, LOOK_SECONDS)
        await self._cursors.flush()
        for device in batch:
            if not device.is_over:
                self._port.disconnect(
                    device.connection,
                    DisconnectCode.DRAINING,
                    "this connector is being emptied",
                    MAX_AFTER_SECONDS,
                    self.servers(device.connection),
                )


def _is_waited_for(device: DeviceSession) -> bool:
    """Whether something that was handed out is not acknowledged yet."""
    window = device.protocol.window
    if window is None or not window.acknowledges_here:
        return False
    return window.used > 0 and device.protocol.state is State.OPEN

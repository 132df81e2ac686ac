"""Messages that were not acknowledged in time are sent again, as the log has them now."""

from __future__ import annotations

from twisted.logger import Logger

from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.sharded_streams import ShardedStreams
from push.connector.transport.counters import Counters
from push.redis.connection.errors import StoreUnavailable
from push.redis.keyspace import is_device_stream
from push.runtime.owner_queue import FairSemaphore
from push.runtime.ports import Clock
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Entry
from push.session.subscription import EXPIRED, GONE, OutstandingMessage, Subscription

log = Logger()

READS_AT_A_TIME = 8


class Redelivery:
    """Sends copies; of a cursor that passes what is gone or given up the server is told."""

    def __init__(
        self,
        reactor: Clock,
        streams: ShardedStreams,
        delivery_policy: DeliveryPolicy,
        counters: Counters,
        port: GatewayPort,
    ) -> None:
        self._reactor = reactor
        self._streams = streams
        self._delivery_policy = delivery_policy
        self._counters = counters
        self._cursors = streams.cursors
        self._port = port
        self._turns = FairSemaphore(READS_AT_A_TIME)
        self._waiting: dict[DeviceSession, dict[OutstandingMessage, None]] = {}

    async def send(self, device: DeviceSession, due: list[OutstandingMessage]) -> None:
        """Look `due` up and send them; without Redis they are due again later.

        To a device that takes nothing now, nothing is sent again.
        """
        waiting = self._waiting.get(device)
        if waiting is not None:
            waiting.update(dict.fromkeys(due))  # they go with those that wait for their turn
            return
        self._waiting[device] = dict.fromkeys(due)
        try:
            async with self._turns.turn(device.user or device):
                await self._send(device, list(self._waiting.pop(device)))
        finally:
            self._waiting.pop(device, None)

    async def _send(self, device: DeviceSession, due: list[OutstandingMessage]) -> None:
        if device.is_over or device.connection.blocked:
            return
        try:
            for first in due:
                if not first.done:
                    await self._look_up(device, first)
        except StoreUnavailable as error:
            log.debug(
                "Redelivery postponed: {reason}", reason=error.reason, event="redelivery.postponed"
            )

    async def _look_up(self, device: DeviceSession, first: OutstandingMessage) -> None:
        """Send the first message of a stream again if the log still has it.

        If not, the messages after it that are gone go too: else each would take room in the window
        until it has waited for its own turn.
        """
        subscription = first.subscription
        [(_, entry, gone)] = await self._in_log(subscription, [first])
        self._again(device, first, entry, gone)
        if entry is None:
            window = device.protocol.window
            behind = window.unfinished(subscription) if window is not None else []
            for delivery, entry, gone in await self._in_log(subscription, behind):
                if entry is None:
                    self._again(device, delivery, None, gone)

    async def _in_log(
        self, subscription: Subscription, deliveries: list[OutstandingMessage]
    ) -> list[tuple[OutstandingMessage, Entry | None, str]]:
        """Each with what the log has of it; without that, with how it ended."""
        reader = self._streams.servers[subscription.shard].reader
        offsets = [delivery.offset for delivery in deliveries]
        entries, expired = await reader.get(subscription.stream, offsets)
        # The cursor removes expired messages from a device's own log, the sweeper from the others.
        ended = EXPIRED if is_device_stream(subscription.stream) else GONE
        found: list[tuple[OutstandingMessage, Entry | None, str]] = []
        for delivery in deliveries:
            if delivery.offset in expired:
                found.append((delivery, None, ended))
            else:
                found.append((delivery, entries.get(delivery.offset), GONE))
        return found

    def _again(
        self,
        device: DeviceSession,
        delivery: OutstandingMessage,
        entry: Entry | None,
        gone: str,
    ) -> None:
        if device.is_over or device.connection.blocked:
            return
        now = self._reactor.seconds()
        data, moved = self._delivery_policy.redeliver(device.protocol, delivery, entry, now, gone)
        if data:
            self._counters.redelivered += 1
            device.connection.write(data)
        if moved is not None:
            self._cursors[moved.shard].moved(device, moved)
            self._port.catch_up.wake(device)

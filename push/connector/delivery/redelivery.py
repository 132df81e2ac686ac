"""Messages that were not acknowledged in time are sent again, as the log has them now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from push.connector.delivery.sharded_streams import Sources
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.counters import Counters
from push.redis.errors import StoreUnavailable
from push.redis.keys import is_device_stream
from push.runtime.tasks import Turns
from push.session.entry import Entry
from push.session.handout import Handout
from push.session.window import EXPIRED, GONE, Delivery

log = Logger()

READS_AT_A_TIME = 8


class Redelivery:
    """Sends copies; of a cursor that passes what is gone or given up the server is told."""

    def __init__(
        self,
        reactor: Any,
        sources: Sources,
        handout: Handout,
        counters: Counters,
        wake: Callable[[DeviceConnection], None],
    ) -> None:
        self._reactor = reactor
        self._sources = sources
        self._handout = handout
        self._counters = counters
        self._cursors = sources.cursors
        self._wake = wake
        self._turns = Turns(READS_AT_A_TIME)
        self._waiting: dict[DeviceConnection, dict[Delivery, None]] = {}

    async def send(self, connection: DeviceConnection, due: list[Delivery]) -> None:
        """Look `due` up and send them; if Redis is away they are due again later.

        To a connection that takes nothing now, nothing is sent again.
        """
        waiting = self._waiting.get(connection)
        if waiting is not None:
            waiting.update(dict.fromkeys(due))  # they go with those that wait for their turn
            return
        self._waiting[connection] = dict.fromkeys(due)
        try:
            async with self._turns:
                await self._send(connection, list(self._waiting.pop(connection)))
        finally:
            self._waiting.pop(connection, None)

    async def _send(self, connection: DeviceConnection, due: list[Delivery]) -> None:
        if connection.closed or connection.blocked:
            return
        try:
            for follow in {delivery.follow: None for delivery in due}:
                deliveries = [delivery for delivery in due if delivery.follow is follow]
                offsets = [delivery.offset for delivery in deliveries]
                reader = self._sources.of(follow).reader
                entries, expired = await reader.get(follow.stream, offsets)
                for delivery in deliveries:
                    entry, gone = entries.get(delivery.offset), GONE
                    if delivery.offset in expired:
                        entry = None
                        if is_device_stream(follow.stream):
                            gone = EXPIRED  # the cursor takes it from the log, not the sweeper
                    self._again(connection, delivery, entry, gone)
        except StoreUnavailable as error:
            log.debug("Redelivery put off: {reason}", reason=error.reason)

    def _again(
        self, connection: DeviceConnection, delivery: Delivery, entry: Entry | None, gone: str
    ) -> None:
        if connection.closed or connection.blocked:
            return
        now = self._reactor.seconds()
        data, moved = self._handout.again(connection.session, delivery, entry, now, gone)
        if data:
            self._counters.redelivered += 1
            connection.write(data)
        if moved is not None:
            self._cursors.moved(connection, moved)
            self._wake(connection)

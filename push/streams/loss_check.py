"""Loss that shows no gap (architecture, rule 3).

The last message of a stream, say, is found by sweeping all followed logs, every minute and whenever
the subscriber has reconnected. A subscriber that no longer receives anything is found by a nonce
that it must receive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.runtime.timers import Debounced, Periodic, SingleFlight
from push.streams.channel import Channel
from push.streams.gap_repair import GapRepair
from push.streams.log import LogReader

log = Logger()

SWEEP_SECONDS = 60.0
SWEEP_STREAMS_PER_CALL = 512
NONCE_SECONDS = 5.0
RETRY_SECONDS = 1.0


class LossCheck:
    """Of one server's `channels`. `nonce_channel` is this connector's own."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        reader: LogReader,
        channels: Mapping[str, Channel],
        repair: GapRepair,
        nonce_channel: str,
    ) -> None:
        self._server = server
        self._reader = reader
        self._channels = channels
        self._repair = repair
        self._nonce_channel = nonce_channel
        self._nonce = 0
        self._nonce_received = 0
        self._messages_before = 0
        self._jobs = TaskGroup()
        self._sweeps = SingleFlight(self._sweep, _log_failure)
        self._sweep_soon = Debounced(reactor, RETRY_SECONDS, self.sweep)
        self._sweep_regularly = Periodic(reactor, SWEEP_SECONDS, self.sweep, _log_failure)
        self._send_regularly = Periodic(reactor, NONCE_SECONDS, self._send_nonce, _log_failure)

    def start(self) -> None:
        self._jobs.run(self._listen_for_nonce(), _log_failure)
        self._sweep_regularly.start()
        self._send_regularly.start()

    def stop(self) -> None:
        self._sweep_regularly.stop()
        self._send_regularly.stop()
        self._sweep_soon.cancel()
        self._sweeps.cancel()
        self._jobs.cancel()

    def sweep(self) -> None:
        """Look for messages in all followed logs that the channels did not bring."""
        self._sweeps.request()

    async def _sweep(self) -> None:
        try:
            channels = [c for c in self._channels.values() if c.known]
            for part in _parts(channels, SWEEP_STREAMS_PER_CALL):
                ahead = await self._reader.ahead([(c.stream, c.last) for c in part])
                for stream in ahead:
                    channel = self._channels.get(stream)
                    if channel is not None and channel.known and not channel.repairing:
                        if channel.somebody_live:
                            self._repair.start(channel)
                        else:
                            channel.known = False
        except StoreUnavailable as error:
            log.debug(
                "Check of the followed streams postponed: {reason}",
                reason=error.reason,
                event="streams.sweep_postponed",
            )
            self._sweep_soon.request()

    async def _listen_for_nonce(self) -> None:
        await self._server.channels.subscribe(self._nonce_channel, self._receive_nonce)

    def _receive_nonce(self, payload: bytes) -> None:
        self._nonce_received = int(payload)

    def _send_nonce(self) -> None:
        if self._server.problem is not None:
            self._nonce = self._nonce_received = 0
            return
        messages = self._server.channels.handlers.messages
        if self._nonce != self._nonce_received:
            if messages != self._messages_before:
                # It receives, but is late: what was published before the nonce is still coming.
                self._messages_before = messages
                return
            self._server.rebuild("the subscriber did not receive what was published to it")
            self._nonce = self._nonce_received = 0
            return
        self._messages_before = messages
        self._nonce += 1
        self._jobs.run(self._publish_nonce(self._nonce), _log_failure)

    async def _publish_nonce(self, nonce: int) -> None:
        channel = self._server.channel(self._nonce_channel)
        try:
            await self._server.command("PUBLISH", channel, nonce)
        except StoreUnavailable as error:
            log.debug(
                "Nonce not published: {reason}",
                reason=error.reason,
                event="streams.nonce_postponed",
            )


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Followed streams could not be checked", failure=failure, event="streams.check_failed"
    )


def _parts(items: list[Channel], size: int) -> Iterable[list[Channel]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

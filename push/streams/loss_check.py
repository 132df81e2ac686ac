"""Loss that shows no gap (architecture, rule 3).

The last message of a stream, say, is found by sweeping all followed logs, every minute and whenever
the subscriber's connection was made anew; a subscriber that receives nothing any more, by a nonce
that it must receive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.runtime.tasks import TaskGroup
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
        reactor: Any,
        server: RedisClient,
        reader: LogReader,
        channels: Mapping[str, Channel],
        repair: GapRepair,
        nonce_channel: str,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._reader = reader
        self._channels = channels
        self._repair = repair
        self._nonce_channel = nonce_channel
        self._nonce = 0
        self._nonce_heard = 0
        self._heard_before = 0
        self._sweep_call: Any = None
        self._sweeping = False
        self._sweep_again = False
        self._jobs = TaskGroup()
        self._sweep_loop = LoopingCall(self.sweep)
        self._nonce_loop = LoopingCall(self._send_nonce)
        self._sweep_loop.clock = self._nonce_loop.clock = reactor

    def start(self) -> None:
        self._jobs.run(self._listen_for_nonce(), _log_failure)
        self._sweep_loop.start(SWEEP_SECONDS, now=False)
        self._nonce_loop.start(NONCE_SECONDS, now=False)

    def stop(self) -> None:
        for loop in (self._sweep_loop, self._nonce_loop):
            if loop.running:
                loop.stop()
        if self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None
        self._jobs.cancel()

    def sweep(self) -> None:
        """Look for messages in all followed logs that the channels did not bring."""
        if self._sweeping:
            self._sweep_again = True
            return
        self._sweeping = True
        self._jobs.run(self._sweep(), _log_failure)

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
            log.debug("Sweep put off: {reason}", reason=error.reason)
            self._sweep_later()
        finally:
            self._sweeping = False
            if self._sweep_again:
                self._sweep_again = False
                self.sweep()

    def _sweep_later(self) -> None:
        if self._sweep_call is None:
            self._sweep_call = self._reactor.callLater(RETRY_SECONDS, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep_call = None
        self.sweep()

    async def _listen_for_nonce(self) -> None:
        await self._server.subscribe_channel(self._nonce_channel, self._hear_nonce)

    def _hear_nonce(self, payload: bytes) -> None:
        self._nonce_heard = int(payload)

    def _send_nonce(self) -> None:
        if self._server.problem is not None:
            self._nonce = self._nonce_heard = 0
            return
        heard = self._server.subscriptions.heard
        if self._nonce != self._nonce_heard:
            if heard != self._heard_before:
                # Not deaf, but late: what was published before the nonce is still coming.
                self._heard_before = heard
                return
            self._server.rebuild("the subscriber did not hear what was published to it")
            self._nonce = self._nonce_heard = 0
            return
        self._heard_before = heard
        self._nonce += 1
        self._jobs.run(self._publish_nonce(self._nonce), _log_failure)

    async def _publish_nonce(self, nonce: int) -> None:
        channel = self._server.channel(self._nonce_channel)
        try:
            await self._server.command("PUBLISH", channel, nonce)
        except StoreUnavailable as error:
            log.debug("Nonce not published: {reason}", reason=error.reason)


def _log_failure(failure: Failure) -> None:
    log.failure("Followed streams could not be checked", failure=failure)


def _parts(items: list[Channel], size: int) -> Iterable[list[Channel]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

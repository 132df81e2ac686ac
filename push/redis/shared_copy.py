"""Copies of shared state that a process judges by, without a round trip to Redis for each request.

A copy is *valid* if it was read after the last notice of a change that this process received; it is
*current* if, beside that, the process has lately made sure that it receives notices at all (a
`Lease`). A process that was paused, or whose subscriptions were cut, finds its lease over, and does
so before a writer that asks it to confirm a change (`push.cluster.survey`) has given up waiting.
A request that needs a copy which is not current waits for a read that begins after it asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock
from push.runtime.tasks import Rounds, TaskGroup
from push.runtime.timers import Debounced, Periodic, SingleFlight

log = Logger()

NONCE_SECONDS = 0.5
# Shorter than a write waits for its readers (2 s): a reader that could not be asked knows it before
# the write is answered.
LEASE_SECONDS = 1.5
# Those who judge by a copy wait while it is changed and read: changes that come one after the other
# are made in rounds, and between two of them is so many times as much time.
REST_OF_CHANGES = 4.0
READ_SECONDS = 60.0  # a copy is read at least so often, in case all else fails
RETRY_SECONDS = 1.0

Content = TypeVar("Content")
# Asks every process to apply what was changed; the nodes that did not confirm it.
Announce = Callable[[], Awaitable[list[str]]]


async def only_here() -> list[str]:
    """An `Announce` where there is no other process."""
    return []


async def read_clock(server: RedisClient) -> None:
    """What is in a copy may end by itself, and the estimate of the server's clock runs a little
    slow. Raises `StoreUnavailable`."""
    seconds, microseconds = await server.command("TIME")
    server.clock.observe(int(seconds) * MICROSECONDS + int(microseconds))


class Lease:
    """Until when the subscriptions on `server` are known to miss nothing.

    This process publishes a nonce on a channel of its own, named by its boot id. When it is
    received, everything that was published before it was has been received as well.
    """

    def __init__(self, reactor: Clock, server: RedisClient, boot: str) -> None:
        self._reactor = reactor
        self._server = server
        self._channel = f"lease:{boot}"
        self.until = 0.0  # of what is known so, whether the connection still is the same
        self._losses = -1  # of connections, when the nonce was sent that was received last
        self._last = 0
        self._sent: dict[int, tuple[float, int]] = {}  # nonce → when, and losses until then
        self._jobs = TaskGroup()
        self._renewals = Periodic(reactor, NONCE_SECONDS, self._renew, _log_failure)
        server.on_restored(self._restored)

    def start(self) -> None:
        self._server.channels.subscribe(self._channel, self._receive)
        self._renewals.start(now=True)

    def stop(self) -> None:
        self._renewals.stop()
        self._server.channels.unsubscribe(self._channel)
        self._jobs.cancel()

    @property
    def holds(self) -> bool:
        is_same_connection = self._losses == self._server.channels.losses
        return is_same_connection and self._reactor.seconds() < self.until

    def _restored(self) -> None:
        if self._renewals.is_started:
            self._renew()

    def _renew(self) -> None:
        now = self._reactor.seconds()
        for nonce, (sent_at, _) in list(self._sent.items()):
            if now - sent_at > LEASE_SECONDS:
                del self._sent[nonce]
        if self._server.problem is None:
            self._last += 1
            self._sent[self._last] = now, self._server.channels.losses
            self._jobs.run(self._publish(self._last), _log_failure)

    async def _publish(self, nonce: int) -> None:
        try:
            await self._server.command("PUBLISH", self._server.channel(self._channel), nonce)
        except StoreUnavailable as error:
            log.debug(
                "A nonce was not published: {reason}",
                reason=error.reason,
                event="shared_state.nonce_postponed",
            )

    def _receive(self, payload: bytes) -> None:
        sent_at, losses = self._sent.pop(int(payload), (0.0, -1))
        if losses == self._server.channels.losses:
            self._losses, self.until = losses, max(self.until, sent_at + LEASE_SECONDS)


class SharedCopy(Generic[Content]):
    """What `read()` returns, read again at each notice on `channel`.

    `apply(content)` follows each read, and the copy is valid when it has returned. Reads follow one
    another, so what is applied never goes back; one that began before a notice is applied for those
    that asked before it began, and does not make the copy valid: the next read begins at once.

    `read()` raises `StoreUnavailable`; it is tried again. What is copied is changed inside
    `async with copy.changes`.
    """

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        lease: Lease,
        channel: str,
        read: Callable[[], Awaitable[Content]],
        apply: Callable[[Content], Awaitable[None]],
    ) -> None:
        self._server = server
        self._lease = lease
        self._channel = channel
        self._read = read
        self._apply = apply
        self._is_subscribed = False
        self._epoch = 0  # how often it was invalidated
        self._losses = -1  # of subscriptions' connections, when what is applied began to be read
        self._read_epoch = -1
        self._reads = SingleFlight(self._renew, self._failed)
        self._retry = Debounced(reactor, RETRY_SECONDS, self._retry_if_needed)
        self._regular = Periodic(reactor, READ_SECONDS, self._reads.request, _log_failure)
        self.changes = Rounds(reactor, REST_OF_CHANGES)
        server.on_restored(self._restored)

    def start(self) -> None:
        subscribing = self._server.channels.subscribe(self._channel, lambda _: self.invalidate())
        subscribing.addCallbacks(self._subscribed, lambda _: None)
        self._regular.start()

    def stop(self) -> None:
        self._regular.stop()
        self._server.channels.unsubscribe(self._channel)
        self._retry.cancel()
        self._reads.cancel()
        self.changes.stop()

    @property
    def is_valid(self) -> bool:
        """Whether nothing changed since it was read, as far as this process was notified."""
        same_connection = self._losses == self._server.channels.losses
        return same_connection and self._read_epoch == self._epoch

    @property
    def is_current(self) -> bool:
        """Whether it may be judged by: every change that was answered is in it."""
        return self._lease.holds and self.is_valid

    def invalidate(self) -> None:
        """It has changed: it is read again, and not current until then."""
        self._epoch += 1
        self._reads.request()

    async def wait_until_current(self) -> None:
        """Return once what was applied holds every change that was answered before this call.

        All that wait share the reads. Raises `StoreUnavailable`.
        """
        if self.is_current:
            return
        try:
            await self._reads.run()
        except StoreUnavailable:
            raise
        except Exception as error:
            if isinstance(error, CancelledError) and self._regular.is_started:
                raise  # the caller was cancelled
            raise StoreUnavailable(f"{self._channel} could not be read") from None

    def _subscribed(self, _: object) -> None:
        if self._regular.is_started:  # not stopped meanwhile
            self._is_subscribed = True
            self.invalidate()

    def _restored(self) -> None:
        if self._regular.is_started:
            self._reads.request()

    async def _renew(self) -> None:
        epoch, losses = self._epoch, self._server.channels.losses
        # Else notices between the read and the subscription would be missed.
        receives = self._is_subscribed and self._server.is_subscribed
        await self._apply(await self._read())
        if receives:
            self._read_epoch, self._losses = epoch, losses

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreUnavailable):
            reason = failure.value.reason
            log.debug(
                "{channel} not read: {reason}",
                channel=self._channel,
                reason=reason,
                event="shared_state.postponed",
            )
        else:
            _log_failure(failure)
        if self._regular.is_started:
            self._retry.request()

    def _retry_if_needed(self) -> None:
        if not self.is_valid and self._server.problem is None:
            self._reads.request()


def _log_failure(failure: Failure) -> None:
    log.failure("A copy of shared state was not read", failure, event="shared_state.failed")

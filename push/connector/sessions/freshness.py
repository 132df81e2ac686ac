"""Whether what a connector knows of its sessions holds every change that was answered.

A connector learns of changes by its subscriptions. While it cannot be sure of those (the process
was stopped for a while, or they were cut), it reads a session's record again before it answers a
request of that session or hands it what waits in logs; and it holds back what comes on channels
until it knows which records have changed (delivery.md, "Writes in effect").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.access.bans import Bans
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import GatewayPort
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.redis.shared_copy import LEASE_SECONDS, Lease
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.runtime.timers import sleep
from push.session.subscription import Subscription
from push.streams.log import LogReader
from push.wire.idents import device_stream, user_stream

log = Logger()

SESSIONS_PER_CALL = 512
RETRY_SECONDS = 1.0
# One session that cannot be brought up to date, because a server is offline, holds up the others
# for no longer; what it is not to be handed itself waits in logs.
HOLD_SECONDS = 1.0


class Freshness:
    """Of the sessions of one connector. Questions and leases go through the first server."""

    def __init__(
        self,
        reactor: Clock,
        shards: Shards,
        lease: Lease,
        bans: Bans,
        port: GatewayPort,
    ) -> None:
        self._reactor = reactor
        self._shards = shards
        self._lease = lease
        self._bans = bans
        self._port = port
        self._readers = [LogReader(server) for server in shards]
        self._verified_losses = -1  # of subscriptions, when all sessions were verified last
        self._verifying = False
        # Sessions that are known to be outdated.
        self._doubtful: dict[DeviceSession, Deferred[None]] = {}
        self._doubted_at = 0.0
        self._jobs = TaskGroup()
        shards.first.on_restored(self.verify)

    def stop(self) -> None:
        self._jobs.cancel()

    # What may be done

    @property
    def _is_verified(self) -> bool:
        return self._verified_losses == self._shards.first.channels.losses

    def is_current(self, device: DeviceSession) -> bool:
        """Whether this session may be judged by what is known."""
        return self._lease.holds and self._is_verified and device not in self._doubtful

    async def make_current(self, device: DeviceSession) -> None:
        """Return when the session is as its record said when this call began, or after that.

        Raises `StoreUnavailable`.
        """
        if self.is_current(device):
            return
        stream = _own_stream(device)
        problem = self._shards.of(stream).problem
        if problem is not None:
            raise StoreUnavailable(problem)
        await self._port.subscriptions.refreshed(device)

    def may_hand_out(self, device: DeviceSession, ready_until: float = 0.0) -> bool:
        """Whether this session may be handed what waits in logs. `ready_until`: see
        `make_ready`."""
        if self._reactor.seconds() < ready_until:
            return device not in self._doubtful
        return self.is_current(device) and self._bans.is_current

    async def make_ready(self, device: DeviceSession) -> float:
        """Return when this session may be handed what waits in logs, or has ended: the time until
        which it may, without a lease too. A daemon that changes something after this call began
        waits longer than that for this connector.

        Raises `StoreUnavailable`. While the first server is offline, nobody can ban or kick.
        """
        until = self._reactor.seconds() + LEASE_SECONDS
        knows_all = self.is_current(device)
        await self.make_current(device)
        if self._shards.first.is_subscribed:
            knows_all = knows_all or self._bans.is_current
            await self._bans.wait_until_current()
        # What was not read is known as long as the lease has told, which may have begun before.
        return min(until, self._lease.until) if knows_all else until

    def is_late(self) -> bool:
        """Whether changes may have been answered before this connector has received them."""
        return not self._lease.holds

    def may_hand_on(self, server: RedisClient) -> bool:
        """Whether sessions may be handed what comes on the channels of `server`."""
        first = self._shards.first
        if server is not first and not first.is_subscribed:
            return True  # nobody can ask this connector to apply anything
        if self._doubtful and self._reactor.seconds() < self._doubted_at + HOLD_SECONDS:
            return False
        if not self._bans.is_valid:
            return False  # they are being read: who is banned or was kicked gets nothing more
        # Of one server the channels have an order: what ends a stream comes before what is
        # published after it.
        return self._is_verified and (len(self._shards) == 1 or self._lease.holds)

    # Sessions that are outdated

    async def apply(self, connections: Iterable[DeviceSession]) -> None:
        """The records of these sessions have changed. Return when that is applied."""
        if self._lease.holds:
            waiting = [self._port.subscriptions.refreshed(each) for each in connections]
        else:
            # The node that asks has answered already, maybe: until it is applied they get nothing.
            waiting = [self._doubt(each) for each in connections]
        for each in waiting:
            await each

    def _doubt(self, device: DeviceSession) -> Deferred[None]:
        """Hand out nothing more until the record was read again; fires when it was."""
        for subscription in device.subscriptions.values():
            subscription.live = False
        applied: Deferred[None] = Deferred()
        self._doubted_at = self._reactor.seconds()
        self._doubtful[device] = applied
        refreshed = self._port.subscriptions.refreshed(device)
        refreshed.addCallback(self._settled, device, applied)
        return applied

    def _settled(self, _: None, device: DeviceSession, applied: Deferred[None]) -> None:
        if self._doubtful.get(device) is applied:
            del self._doubtful[device]
        self._port.catch_up.wake(device)
        applied.callback(None)

    def verify(self) -> None:
        """Find out which records have changed while subscriptions were cut."""
        if not self._verifying:
            self._verifying = True
            self._jobs.run(self._verify(), _log_failure)

    async def _verify(self) -> None:
        try:
            while not self._is_verified:
                losses = self._shards.first.channels.losses
                # What they have read may be from before.
                for device in self._port.opening.values():
                    self._port.subscriptions.mark_outdated(device)
                try:
                    async for device in self._changed():
                        self._doubt(device)
                except StoreUnavailable as error:
                    log.debug(
                        "Sessions not verified: {reason}",
                        reason=error.reason,
                        event="sessions.verification_postponed",
                    )
                    await sleep(self._reactor, RETRY_SECONDS)
                else:
                    self._verified_losses = losses
        finally:
            self._verifying = False

    async def _changed(self) -> Any:
        """The sessions in whose own stream is something that they have not seen: every change of a
        record, or of the groups of a user, is told there."""
        own = [(each, _own_follow(each)) for each in self._port.sessions.values()]
        known = [
            (each, subscription)
            for each, subscription in own
            if subscription is not None and each.protocol.is_established
        ]
        for number in {subscription.shard for _, subscription in known}:
            here = [
                (each, subscription) for each, subscription in known if subscription.shard == number
            ]
            for part in _parts(here):
                places = {subscription.stream: subscription.position for _, subscription in part}
                for _, subscription in part:
                    places[subscription.stream] = min(
                        places[subscription.stream], subscription.position
                    )
                ahead = set(await self._readers[number].ahead(list(places.items())))
                for device, subscription in part:
                    if subscription.stream in ahead and not device.is_over:
                        yield device


def _own_stream(device: DeviceSession) -> str:
    if device.token is not None:
        return device_stream(device.token)
    return user_stream(str(device.user))


def _own_follow(device: DeviceSession) -> Subscription | None:
    return device.subscriptions.get(_own_stream(device))


def _parts(
    items: list[tuple[DeviceSession, Subscription]],
) -> Iterator[list[tuple[DeviceSession, Subscription]]]:
    for start in range(0, len(items), SESSIONS_PER_CALL):
        yield items[start : start + SESSIONS_PER_CALL]


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Sessions could not be verified", failure=failure, event="sessions.verification_failed"
    )

"""Which channels this process subscribes to, whatever happens to the connection.

The wanted channels are kept here, and subscribed again on every connection. Commands of one reactor
turn leave together, 512 channels each. A channel is unsubscribed only once its subscription was
confirmed, so that a confirmation always belongs to the latest wish.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.protocols import ChannelHandlers, Handler, SubscriberProtocol
from push.runtime.ports import Clock
from push.runtime.tasks import within
from push.runtime.timers import Debounced

CHANNELS_PER_COMMAND = 512


class SubscribedChannels:
    """Wanted channels with their handlers, and the connection of the moment. `prefix` begins the
    name of each channel."""

    def __init__(self, reactor: Clock, prefix: bytes) -> None:
        self._prefix = prefix
        self.losses = 0  # of connections: messages may have been missed whenever it has grown
        self.handlers = ChannelHandlers()
        self._protocol: SubscriberProtocol | None = None
        self._sent: set[bytes] = set()
        self._confirmed: set[bytes] = set()
        self._waiters: dict[bytes, list[Deferred[None]]] = {}
        self._changed: set[bytes] = set()
        self._soon = Debounced(reactor, 0, self._flush)

    def subscribe(self, name: str, handler: Handler) -> Deferred[None]:
        """Subscribe to the channel `name`; the Deferred fires once Redis confirmed it (now, if it
        has).

        It waits as long as Redis is unreachable, or until `unsubscribe`: the caller cancels it at
        its deadline. There is one handler a channel.
        """
        channel = self._prefix + name.encode()
        self.handlers[channel] = handler
        if channel in self._confirmed:
            return succeed(None)
        waiter: Deferred[None] = Deferred(lambda d: self._forget_waiter(channel, d))
        self._waiters.setdefault(channel, []).append(waiter)
        self._changed.add(channel)
        self._soon.request()
        return waiter

    def unsubscribe(self, name: str) -> None:
        """End the subscription to the channel; callers that wait for it are released."""
        channel = self._prefix + name.encode()
        if self.handlers.pop(channel, None) is not None:
            self._changed.add(channel)
            self._soon.request()
            for waiter in self._waiters.pop(channel, ()):
                waiter.callback(None)

    async def restore(self, protocol: SubscriberProtocol) -> None:
        """Subscribe everything wanted on a new connection, and wait until all is confirmed."""
        self.lost()
        self._protocol = protocol
        channels = list(self.handlers)
        for batch in _batches(channels):
            # What changed meanwhile was seen to by `_flush`.
            batch = [c for c in batch if c in self.handlers and c not in self._sent]
            if batch:
                self._sent.update(batch)
                await protocol.call(b"SUBSCRIBE", *batch, replies=len(batch))
                self._confirm(batch)
        self._flush()

    def lost(self) -> None:
        """The connection is gone; wishes and waiters stay."""
        self.losses += 1
        self._protocol = None
        self._sent.clear()
        self._confirmed.clear()

    def stop(self) -> None:
        self._protocol = None
        self._soon.cancel()

    def _forget_waiter(self, channel: bytes, waiter: Deferred[None]) -> None:
        waiters = self._waiters.get(channel, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[channel]

    def _flush(self) -> None:
        if self._protocol is None:
            self._changed.clear()  # `restore` goes by the wishes, not by the changes
            return
        changed, self._changed = self._changed, set()
        added = [c for c in changed if c in self.handlers and c not in self._sent]
        removed = [c for c in changed if c not in self.handlers and c in self._confirmed]
        for batch in _batches(added):
            self._sent.update(batch)
            answer = self._protocol.call(b"SUBSCRIBE", *batch, replies=len(batch))
            answer.addCallbacks(lambda _, batch=batch: self._confirm(batch), _ignore_lost)
        for batch in _batches(removed):
            self._sent.difference_update(batch)
            self._confirmed.difference_update(batch)
            answer = self._protocol.call(b"UNSUBSCRIBE", *batch, replies=len(batch))
            answer.addErrback(_ignore_lost)

    def _confirm(self, batch: list[bytes]) -> None:
        for channel in batch:
            if channel not in self._sent:
                continue
            self._confirmed.add(channel)
            if channel not in self.handlers:
                self._changed.add(channel)
                self._soon.request()
            for waiter in self._waiters.pop(channel, ()):
                waiter.callback(None)


def _ignore_lost(_failure: object) -> None:
    """The connection ended before the answer: `restore` starts from the wishes again."""


def _batches(channels: list[bytes]) -> list[list[bytes]]:
    step = CHANNELS_PER_COMMAND
    return [channels[i : i + step] for i in range(0, len(channels), step)]


def no_subscription() -> StoreUnavailable:
    """Redis has not confirmed in time."""
    return StoreUnavailable("Redis confirmed no subscription in time")


async def subscribed_in_time(subscribed: Deferred[Any], seconds: float, reactor: Clock) -> None:
    """Wait for what `subscribe` returned. Raises `StoreUnavailable` when Redis does not
    confirm within `seconds`."""
    await within(seconds, reactor, subscribed, no_subscription)

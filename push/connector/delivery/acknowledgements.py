"""What devices have acknowledged: stored, counted, shown, and room for more."""

from __future__ import annotations

from push.connector.delivery.catch_up import CatchUp
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.sharded_streams import ShardedStreams
from push.connector.transport.counters import Counters
from push.observe.session_events import SessionEvents
from push.session.events import LateAcknowledged, OnlineAcknowledged, Progress
from push.session.subscription import ACKNOWLEDGED


class Acknowledgements:
    """`progressed` comes for each message of each device: nothing in it is called that need not
    be."""

    def __init__(
        self,
        counters: Counters,
        streams: ShardedStreams,
        session_events: SessionEvents,
        catch_up: CatchUp,
    ) -> None:
        self._counters = counters
        self._streams = streams
        self._cursors = streams.cursors
        self._session_events = session_events
        self._catch_up = catch_up

    def progressed(self, device: DeviceSession, progress: Progress) -> None:
        subscription, messages = progress.subscription, progress.messages
        self._counters.acknowledged += len(messages)
        self._cursors[subscription.shard].moved(device, subscription)
        self._session_events.acknowledged(device, subscription.shard, messages)
        if not subscription.live or device in self._catch_up.held_up:
            self._catch_up.wake(device)

    def late(self, device: DeviceSession, event: LateAcknowledged) -> None:
        delivery = event.late.delivery
        self._counters.acknowledged += 1
        shard = delivery.subscription.shard
        self._cursors[shard].late(device, event.late)
        self._session_events.acknowledged(device, shard, [delivery])

    def online(self, device: DeviceSession, event: OnlineAcknowledged) -> None:
        """It is in no log."""
        self._counters.acknowledged += 1
        self._streams.counts.count(event.stream, device.token, event.id, ACKNOWLEDGED)
        self._session_events.acknowledged_online(device, event.id)

"""Messages that a session will never get: counted, and told to those that watch its device."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from push.connector.sessions.device_session import DeviceSession
from push.connector.transport.counters import Counters
from push.observe.session_events import SessionEvents
from push.redis.keyspace import DROPPED
from push.runtime.log_detail import detail
from push.session.entry import Entry
from push.session.server import ServerSession
from push.session.subscription import TOO_LARGE, Subscription

log = Logger()


class Drops:
    def __init__(
        self, counters: Counters, sessions: Mapping[str, DeviceSession], events: SessionEvents
    ) -> None:
        self._counters = counters
        self._sessions = sessions
        self._events = events

    def note(
        self, session: ServerSession, subscription: Subscription, entry: Entry, outcome: str
    ) -> None:
        """`outcome`: `TOO_LARGE` or `UNACKNOWLEDGED`."""
        device = self._sessions.get(session.session_id)
        if device is not None:
            self._events.dropped(device, entry.id, outcome.removeprefix(DROPPED))
        if detail.debug:
            log.debug(
                "{message_id} of {stream} dropped: {reason}",
                message_id=entry.id,
                stream=subscription.stream,
                reason=outcome,
                event="message.dropped",
            )
        if outcome == TOO_LARGE:
            self._counters.dropped_too_large += 1
        else:
            self._counters.dropped_unacknowledged += 1

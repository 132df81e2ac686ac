"""What a connector tells of its sessions: the one place for what is measured, shown and kept."""

from __future__ import annotations

from collections.abc import Sequence

from push.observe.ack_latency import AckLatency
from push.observe.audit import AuditTrail
from push.observe.events import Events
from push.observe.timelines import ObservedSession, Timelines
from push.session.entry import HandedOut
from push.wire.api.operate.events import EventKind
from push.wire.errors import shortened
from push.wire.text import visible

MAX_CODE_CHARACTERS = 64  # a client says its own
MAX_REASON_CHARACTERS = 120
CONNECTION_LOST = "connection_lost"
# The sessions of a stream that many follow are not told one by one of a gap that was repaired.
MAX_FOLLOWERS_TOLD = 32


class SessionEvents:
    """Called by the parts of a connector. What nobody looks at costs next to nothing."""

    def __init__(
        self, events: Events, timelines: Timelines, ack_latency: AckLatency, audit: AuditTrail
    ) -> None:
        self.ack_latency = ack_latency
        self._audit = audit
        self._events = events
        self._timelines = timelines
        self._acknowledging = timelines.acknowledging

    def connected(self, session: ObservedSession) -> None:
        self._keep("connected", session, "", "")
        self._show("connected", session)

    def disconnected(self, session: ObservedSession, code: str, reason: str) -> None:
        """A session that was opened is over."""
        code, reason = _short(code, MAX_CODE_CHARACTERS), _short(reason, MAX_REASON_CHARACTERS)
        self._timelines.settle_session(session)
        self._keep("disconnected", session, code, reason)
        self._show("disconnected", session, code=code, reason=reason)

    def redirected(self, session: ObservedSession, code: str, reason: str) -> None:
        """A session was told other connectors."""
        self._keep("redirected", session, code, reason)
        self._show("redirected", session, code=code, reason=reason)

    def sent_away(self, token: str | None, ip: str, code: str, reason: str) -> None:
        """A CONNECT was answered with other connectors. Its credentials were not looked at: it says
        it is of the device `token`."""
        if token is not None:
            self._timelines.count_claimed(token, "redirected", reason)
        self._events.record("redirected", token=token, ip=ip, code=code, reason=reason)

    def refused(self, request: str, token: str | None, ip: str, status: int) -> None:
        """The credentials of a `CONNECT`, or the key of a `SUB`, are not right."""
        self._audit.note_refused(None, ip, request, token or "", status)

    def acknowledged(
        self, session: ObservedSession, shard: int, messages: Sequence[HandedOut]
    ) -> None:
        """The cursor moved over `messages`, whose stream is on server number `shard`; or had done
        so before, because they were given up.

        It comes for each message of each device: nothing here is called that need not be.
        """
        self._acknowledging[session] = self._timelines.second_ms
        session.unsettled += len(messages)
        connected_us = session.connected_ms * 1000
        for message in messages:
            if message.offset >= connected_us:
                self.ack_latency.note(shard, message.offset)
        if self._events.wants_acknowledged:
            for message in messages:
                self._show("acknowledged", session, message=message.id)

    def acknowledged_online(self, session: ObservedSession, message_id: str) -> None:
        """A message that is in no log was acknowledged."""
        self._acknowledging[session] = self._timelines.second_ms
        session.unsettled += 1
        if self._events.wants_acknowledged:
            self._show("acknowledged", session, message=message_id)

    def dropped(self, session: ObservedSession, message_id: str, reason: str) -> None:
        """The session will never get a message, or not another copy."""
        if session.token is not None:
            self._timelines.count(session.token, session.session_id, "dropped", reason)
        self._show("dropped", session, message=message_id, reason=reason)

    def lost(self, count: int, reason: str, session: ObservedSession) -> None:
        """The same of so many messages, which all sessions of a stream lost: those that look now
        are not shown each of them for each session."""
        if session.token is not None:
            self._timelines.count(session.token, session.session_id, "dropped", reason, count)

    def repaired(self, stream: str, sessions: Sequence[ObservedSession]) -> None:
        """What the channel of `stream` lost was read from the log for the sessions that follow."""
        if len(sessions) <= MAX_FOLLOWERS_TOLD:
            for session in sessions:
                self._keep("repaired", session, "", stream)
        one = sessions[0] if len(sessions) == 1 else None
        self._events.record(
            "repaired",
            token=one.token if one else None,
            user=one.user if one else None,
            session=one.session_id if one else None,
            reason=stream,
            n=len(sessions),
        )

    async def store_all(self) -> None:
        """Store what is not stored yet, for the last time."""
        await self._timelines.store_all()

    def _keep(self, event: EventKind, session: ObservedSession, code: str, reason: str) -> None:
        if session.token is not None:
            self._timelines.add(session.token, event, session.session_id, code, reason)

    def _show(
        self,
        event: EventKind,
        session: ObservedSession,
        *,
        message: str | None = None,
        code: str | None = None,
        reason: str | None = None,
    ) -> None:
        if self._events.wants(event):
            self._events.record(
                event,
                token=session.token,
                user=session.user,
                session=session.session_id,
                ip=session.ip,
                message=message,
                code=code,
                reason=reason,
            )


def _short(text: str, most: int) -> str:
    return visible(shortened(text, most))

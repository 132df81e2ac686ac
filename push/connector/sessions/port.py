"""What the parts of a connector need of its gateway, and through it of each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twisted.internet.defer import Deferred

from push.connector.limits.read_queue import ReadQueue
from push.connector.sessions.device_session import DeviceSession, SessionConnection
from push.connector.sessions.sharded_streams import ShardedStreams
from push.observe.session_events import SessionEvents
from push.runtime.tasks import OwnedTasks
from push.session.entry import Entry
from push.session.events import Event
from push.session.subscription import Subscription
from push.wire.signals import DisconnectCode


class FollowedStreams(Protocol):
    """What sessions follow, by their records (`delivery.subscriptions`)."""

    def changed(self, device: DeviceSession, entry: Entry) -> None:
        """An entry for the connector: act on it."""

    def truncated(self, device: DeviceSession, subscription: Subscription, to: int) -> None:
        """Unexpired messages were dropped that the session had not read."""

    def request_refresh(self, device: DeviceSession) -> None:
        """Read the record again; a session that is not its device's any more ends."""

    def refreshed(self, device: DeviceSession) -> Deferred[None]:
        """Fires when the session is as its record says from now on, or is over."""

    def mark_outdated(self, device: DeviceSession) -> None:
        """The session is being opened, and what was read for it may be from before a change."""


class EventHandler(Protocol):
    """Who acts on what protocols say (`connector.protocol_events`)."""

    def handle(self, connection: SessionConnection, events: list[Event]) -> None: ...


class ReadingOn(Protocol):
    """Sessions that are behind (`connector.delivery.catch_up`)."""

    def wake(self, device: DeviceSession) -> None:
        """Read on for a session that is behind, if it has room."""

    def wake_later(self, device: DeviceSession) -> None:
        """The same, in a later turn."""


class Deadlines(Protocol):
    """When connections are to be looked at (`connector.transport.timing_wheel`)."""

    def watch(self, connection: SessionConnection) -> None:
        """Look at it when its protocol next has something to do."""


class RunningRequests(Protocol):
    """What devices have asked for (`connector.requests.dispatch`)."""

    async def until_done(self, devices: Iterable[DeviceSession]) -> None:
        """Return when the requests of these are done that are being carried out now."""


class GatewayPort(Protocol):
    """The gateway, as its parts see it. `sessions` and `opening` are by session id: those that the
    cluster knows, and those that CONNECT is opening."""

    @property
    def sessions(self) -> dict[str, DeviceSession]: ...

    @property
    def opening(self) -> dict[str, DeviceSession]: ...

    @property
    def streams(self) -> ShardedStreams: ...

    @property
    def events(self) -> EventHandler: ...

    @property
    def session_events(self) -> SessionEvents: ...

    @property
    def subscriptions(self) -> FollowedStreams: ...

    @property
    def catch_up(self) -> ReadingOn: ...

    @property
    def requests(self) -> RunningRequests: ...

    @property
    def reads(self) -> ReadQueue: ...

    @property
    def wheel(self) -> Deadlines: ...

    @property
    def tasks(self) -> OwnedTasks[SessionConnection]:
        """What waits for Redis, or for others. An error in it ends its connection."""

    def now_ms(self) -> int:
        """The time of the day in milliseconds, by the first Redis server's clock."""

    def disconnect(
        self,
        connection: SessionConnection,
        code: DisconnectCode,
        reason: str,
        after_seconds: int | None = None,
        servers: list[str] | None = None,
    ) -> None:
        """End a connection from our side; one that has ended already stays as it ended."""

"""What a session follows, from CONNECT on and as it changes (architecture, rules 4 and 5).

The record of the device decides: it has a cursor for every stream that the device follows. An entry
in the device's own log says that it changed, and the record is read again; so it does not matter
how often or how late such an entry is seen. A user without a device has no record: an entry in the
user's stream says that the groups changed, and those are read again. Who leaves a group is named in
the group's own log too, so that it ends at that place for everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from push.connector.delivery.sharded_streams import ShardedStreams
from push.connector.transport.connection import DeviceConnection
from push.devices.sessions import FollowRecord, Sessions
from push.redis.errors import StoreUnavailable
from push.session.entry import Entry
from push.session.transitions import State
from push.session.window import Subscription
from push.wire.idents import GROUP_PREFIX, USER_PREFIX, Snowflake, device_stream, user_stream

RETRY_SECONDS = 1.0
EVERYONE = "*"


class FollowNotice(msgspec.Struct):
    """A PUSH of kind `subscription` or `unfollow`."""

    id: str
    stream: str
    kind: str
    ts: int
    offset: str | msgspec.UnsetType
    data: None = None


class TruncationNotice(msgspec.Struct):
    """A PUSH of kind `truncated`: what `stream` had behind `from` and up to `to` is lost."""

    id: str
    stream: str
    begin: str = msgspec.field(name="from")
    to: str
    ts: int
    kind: str = "truncated"
    data: None = None


class SessionSubscriptions:
    """Brings about what sessions follow.

    `gone(connection)`: its device was deleted; `lost(connection)`: another session has it;
    `judge(connection)`: the session is another user's now: end it if that user is banned.
    """

    def __init__(
        self,
        reactor: Any,
        sources: ShardedStreams,
        sessions: Sessions,
        snowflake: Snowflake,
        *,
        own: Callable[[DeviceConnection, Any], None],
        now_ms: Callable[[], int],
        wake: Callable[[DeviceConnection], None],
        gone: Callable[[DeviceConnection], None],
        lost: Callable[[DeviceConnection], None],
        judge: Callable[[DeviceConnection], None],
    ) -> None:
        self._reactor = reactor
        self._sources = sources
        self._sessions = sessions
        self._snowflake = snowflake
        self._own = own
        self._now_ms = now_ms
        self.wake = wake
        self._gone = gone
        self._lost = lost
        self._judge = judge

    def begin(
        self, connection: DeviceConnection, subscriptions: Iterable[Subscription]
    ) -> Deferred[list[None]]:
        """Follow; fires when all channels are heard."""
        heard = []
        for subscription in subscriptions:
            connection.subscriptions[subscription.stream] = subscription
            confirmed = self._sources.follow(connection, subscription)
            heard.append(confirmed.addCallback(_mark_heard, subscription))
        return gatherResults(heard, consumeErrors=True)

    def end(self, connection: DeviceConnection) -> None:
        """Follow nothing any more."""
        for subscription in connection.subscriptions.values():
            self._sources.unfollow(connection, subscription)

    def changed(self, connection: DeviceConnection, entry: Entry) -> None:
        """An entry for the connector: act on it."""
        control = entry.control or {}
        operation = control.get("op")
        if operation == "removed":
            self._removed(connection, entry, control["stream"], control["users"])
        elif operation == "groups":
            if connection.token is None:
                self._refresh_soon(connection)
        else:
            self._record_changed(connection, entry, control)

    def _removed(self, connection: DeviceConnection, entry: Entry, stream: str, users: str) -> None:
        """`users`, by spaces, follow a group no longer; `*`: nobody does.

        Who came back after that is not meant.
        """
        subscription = connection.subscriptions.get(stream)
        if subscription is None or entry.offset <= subscription.start_offset:
            return
        if users == EVERYONE or connection.user in users.split(" "):
            self._unfollow(connection, subscription)

    def _record_changed(
        self, connection: DeviceConnection, entry: Entry, control: dict[str, str]
    ) -> None:
        """The device's record says something new.

        What the entry itself ends, ends now: a message published behind it is not handed out.
        """
        user = control.get("user")
        kept = user_stream(user) if user else ""
        ended = control.get("ended", "").split()
        own = connection.subscriptions.get(device_stream(str(connection.token)))
        for stream, subscription in list(connection.subscriptions.items()):
            of_another = stream.startswith(USER_PREFIX) and stream != kept
            if not of_another and stream not in ended:
                continue
            # The clocks of two servers tell nothing: what is followed still comes back.
            comparable = own is not None and own.shard == subscription.shard
            if subscription.position < entry.offset if comparable else of_another:
                self._unfollow(connection, subscription)
        self._refresh_soon(connection)

    def refreshed(self, connection: DeviceConnection) -> Deferred[None]:
        """Fires when the session follows what the record says from now on, or is over."""
        waiter: Deferred[None] = Deferred()
        connection.refresh_waiters += (waiter,)
        self._refresh_soon(connection)
        return waiter

    def _refresh_soon(self, connection: DeviceConnection) -> None:
        """Read the record again. A read that is under way was asked for before: it is not applied.

        A session that is being opened reads it before it is accepted (see `settle`).
        """
        if connection.refreshing or connection.session.state is State.CONNECTING:
            connection.refresh_again = True
            return
        connection.refreshing = True
        self._own(connection, self._refresh(connection))

    async def settle(self, connection: DeviceConnection) -> None:
        """The record changed while the session was being opened: as it says now, before the session
        is accepted."""
        while connection.refresh_again and not connection.is_gone():
            connection.refreshing = True
            await self._refresh(connection)

    def truncated(self, connection: DeviceConnection, subscription: Subscription, to: int) -> None:
        """Unexpired messages were dropped that the session had not read: it is told."""
        notice = TruncationNotice(
            self._snowflake.next_id(),
            subscription.stream,
            str(subscription.position),
            str(to),
            self._now_ms(),
        )
        connection.session.notify(msgspec.json.encode(notice))
        connection.flush()
        if connection.token is not None and subscription.stream == device_stream(connection.token):
            self._refresh_soon(connection)  # the entry that told of a change may be among them

    async def _refresh(self, connection: DeviceConnection) -> None:
        """Bring about what the record says, until nothing has changed since it was asked for."""
        waiters: tuple[Deferred[None], ...] = ()
        try:
            again = True
            while again and not connection.closed:
                connection.refresh_again = False
                waiters += connection.refresh_waiters
                connection.refresh_waiters = ()
                try:
                    record = await self._record(connection)
                except StoreUnavailable:
                    await deferLater(self._reactor, RETRY_SECONDS)
                    continue
                if connection.refresh_again:
                    continue  # what was asked for before a change is not applied after it
                if record is None:
                    self._gone(connection)
                    return
                if record.session != connection.session_id and connection.token is not None:
                    self._lost(connection)
                    return
                self._identify(connection, record.user)
                await self._apply(connection, record)
                done, waiters = waiters, ()
                _fire(done)
                again = connection.refresh_again
        finally:
            connection.refreshing = False
            waiters += connection.refresh_waiters
            connection.refresh_waiters = ()
            _fire(waiters)

    def _identify(self, connection: DeviceConnection, user: str | None) -> None:
        """The session is this user's from now on. What a JWT allowed another user ends."""
        if connection.user != user:
            connection.user = user
            connection.jwt_topics = ()
            if connection.session.state is State.OPEN:  # else CONNECT is refused
                self._judge(connection)

    async def _record(self, connection: DeviceConnection) -> FollowRecord | None:
        """What a session is to follow now; None: its device was deleted."""
        if connection.token is not None:
            return await self._sessions.following(connection.token, connection.session_id)
        assert connection.user is not None, "a session has a device or a user"
        record = await self._sessions.following_of_user(connection.user)
        others = [
            subscription
            for stream, subscription in connection.subscriptions.items()
            if not stream.startswith(GROUP_PREFIX)
        ]
        return FollowRecord(None, record.user, [*others, *record.subscriptions], record.since)

    async def _apply(self, connection: DeviceConnection, record: FollowRecord) -> None:
        if connection.is_gone():
            return
        wanted = {subscription.stream: subscription for subscription in record.subscriptions}
        for stream, subscription in list(connection.subscriptions.items()):
            # Following that ended and began again meanwhile begins where it began the last time.
            if stream in wanted and record.since.get(stream, 0) <= subscription.position:
                continue
            self._unfollow(connection, subscription)
        added = [wanted[stream] for stream in wanted if stream not in connection.subscriptions]
        if added:
            await self.add(connection, added)

    async def add(self, connection: DeviceConnection, added: list[Subscription]) -> None:
        """A live session follows `added` too, and is told."""
        await self.begin(connection, added)
        if connection.is_gone():
            self.end(connection)
            return
        for subscription in added:
            # One that ended while its channel was being subscribed to is not announced.
            if connection.subscriptions.get(subscription.stream) is subscription:
                self._notify(connection, subscription.stream, "follow", str(subscription.position))
        self.wake(connection)

    def remove(self, connection: DeviceConnection, stream: str) -> None:
        """A live session follows `stream` no more, and is told."""
        subscription = connection.subscriptions.get(stream)
        if subscription is not None:
            self._unfollow(connection, subscription)

    def end_stream(self, stream: str) -> None:
        """Nobody follows `stream` any more, and nobody will."""
        for connection in self._sources.followers_of(stream):
            connection.refresh_again = connection.refresh_again or connection.refreshing
            self.remove(connection, stream)

    def _unfollow(self, connection: DeviceConnection, subscription: Subscription) -> None:
        self._sources.unfollow(connection, subscription)
        del connection.subscriptions[subscription.stream]
        self._sources.cursors.ends(connection, subscription)
        if connection.session.window is not None:
            connection.session.window.forget(subscription)
        self._notify(connection, subscription.stream, "unfollow", msgspec.UNSET)

    def _notify(
        self, connection: DeviceConnection, stream: str, kind: str, offset: str | msgspec.UnsetType
    ) -> None:
        notice = FollowNotice(self._snowflake.next_id(), stream, kind, self._now_ms(), offset)
        connection.session.notify(msgspec.json.encode(notice))
        connection.flush()


def _fire(waiters: Iterable[Deferred[None]]) -> None:
    for waiter in waiters:
        waiter.callback(None)


def _mark_heard(result: None, subscription: Subscription) -> None:
    subscription.heard = True
    return result

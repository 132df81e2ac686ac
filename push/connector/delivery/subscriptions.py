"""What a session follows, from CONNECT on and as it changes (architecture, rules 4 and 5).

The record of the device decides: it has a cursor for every stream that the device follows. An entry
in the device's own log says that it changed, and the record is read again; so it does not matter
how often or how late such an entry is seen. A user without a device has no record: an entry in the
user's stream says that the groups changed, and those are read again. Who leaves a group is named in
the group's own log too, so that it ends at that place for everyone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import msgspec
from twisted.internet.defer import Deferred

from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.remote_commands import RemoteCommands
from push.connector.sessions.sharded_streams import ShardedStreams
from push.devices.follow_record import FollowRecord
from push.devices.sessions import Sessions
from push.redis.connection.errors import StoreUnavailable
from push.runtime.places import Places
from push.runtime.ports import Clock
from push.runtime.tasks import gather_deferreds
from push.runtime.timers import sleep
from push.runtime.turn_share import TurnShare, TurnTime
from push.session.entry import Entry
from push.session.subscription import Subscription
from push.session.transitions import State
from push.wire.errors import RequestError
from push.wire.idents import GROUP_PREFIX, USER_PREFIX, Snowflake, device_stream, user_stream
from push.wire.signals import TAKEN_OVER_REASON, DisconnectCode

RETRY_SECONDS = 1.0
RECORDS_AT_A_TIME = 8  # that are read again, at first: a new group changes all its members'
# That were read again are applied in a turn of the reactor.
RECORDS_PER_TURN = 64
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
    """A PUSH of kind `truncated`: what `stream` had after `from` and up to `to` is lost."""

    id: str
    stream: str
    begin: str = msgspec.field(name="from")
    to: str
    ts: int
    kind: str = "truncated"
    data: None = None


class _Refresh:
    """One session's reading of its record.

    `again`: what was read, or is being read, may be from before a change. Changes have offsets: up
    to `known` they were before a read that begins now, up to `covered` before the one that is under
    way. `waiters`: for the session to be as the record says; the first `served` of them waited
    for what is being read.
    """

    __slots__ = ("again", "covered", "is_running", "known", "served", "waiters")

    def __init__(self) -> None:
        self.is_running = False
        self.again = False
        self.known = 0
        self.covered = 0
        self.served = 0
        self.waiters: list[Deferred[None]] = []

    def begin_read(self) -> None:
        self.again = False
        self.covered = self.known
        self.served = len(self.waiters)

    def take_served(self) -> list[Deferred[None]]:
        served, self.waiters = self.waiters[: self.served], self.waiters[self.served :]
        self.served = 0
        return served


class SessionSubscriptions:
    """Brings about what sessions follow. A session whose device is another's, or deleted, ends."""

    def __init__(
        self,
        reactor: Clock,
        streams: ShardedStreams,
        sessions: Sessions,
        snowflake: Snowflake,
        commands: RemoteCommands,
        port: GatewayPort,
        turn_time: TurnTime,
    ) -> None:
        self._reactor = reactor
        self._streams = streams
        self._sessions = sessions
        self._snowflake = snowflake
        self._commands = commands
        self._port = port
        # Of the sessions that are read again now, or must be before they are accepted: most have
        # none.
        self._refreshes: dict[DeviceSession, _Refresh] = {}
        self._reading = Places(reactor, RECORDS_AT_A_TIME)
        self._applying = TurnShare(turn_time, RECORDS_PER_TURN)

    def stop(self) -> None:
        self._reading.stop()

    def follow(self, device: DeviceSession, subscriptions: Iterable[Subscription]) -> Deferred[Any]:
        """Follow; fires when all channels are subscribed to."""
        waiting = []
        for subscription in subscriptions:
            device.subscriptions[subscription.stream] = subscription
            hub = self._streams.servers[subscription.shard].hub
            confirmed = hub.follow(subscription.stream, device, subscription)
            if confirmed.called:
                subscription.subscribed = True
            else:
                waiting.append(confirmed.addCallback(_mark_subscribed, subscription))
        return gather_deferreds(waiting)

    def unfollow_all(self, device: DeviceSession) -> None:
        """Follow nothing any more."""
        for subscription in device.subscriptions.values():
            self._streams.unfollow(device, subscription)
        refresh = self._refreshes.get(device)
        if refresh is not None and not refresh.is_running:
            del self._refreshes[device]
            _fire(refresh.waiters)

    def changed(self, device: DeviceSession, entry: Entry) -> None:
        """An entry for the connector: act on it."""
        control = entry.control or {}
        operation = control.get("op")
        if operation == "removed":
            self._removed(device, entry, control["stream"], control["users"])
        elif operation == "groups":
            if device.token is None:
                self.request_refresh(device)
        else:
            self._record_changed(device, entry, control)

    def _removed(self, device: DeviceSession, entry: Entry, stream: str, users: str) -> None:
        """`users`, by spaces, follow a group no longer; `*`: nobody does.

        Users who joined again after that are not meant.
        """
        subscription = device.subscriptions.get(stream)
        if subscription is None or entry.offset <= subscription.start_offset:
            return
        if users == EVERYONE or device.user in users.split(" "):
            self._unfollow(device, subscription)

    def _record_changed(self, device: DeviceSession, entry: Entry, control: dict[str, str]) -> None:
        """The device's record says something new.

        What the entry itself ends, ends now: a message published after it is not handed out.
        """
        user = control.get("user")
        kept = user_stream(user) if user else ""
        ended = control.get("ended", "").split()
        own = device.subscriptions.get(device_stream(str(device.token)))
        for stream, subscription in list(device.subscriptions.items()):
            of_another = stream.startswith(USER_PREFIX) and stream != kept
            if not of_another and stream not in ended:
                continue
            # The clocks of two servers tell nothing: one that is still followed is followed again.
            comparable = own is not None and own.shard == subscription.shard
            if subscription.position < entry.offset if comparable else of_another:
                self._unfollow(device, subscription)
        self.request_refresh(device, entry.offset)

    # Reading the record again

    def is_refreshing(self, device: DeviceSession) -> bool:
        refresh = self._refreshes.get(device)
        return refresh is not None and refresh.is_running

    def is_outdated(self, device: DeviceSession) -> bool:
        """Whether the record changed after it was read for a session that is being opened."""
        refresh = self._refreshes.get(device)
        return refresh is not None and refresh.again

    def mark_outdated(self, device: DeviceSession) -> None:
        self._refresh_of(device).again = True

    def refreshed(self, device: DeviceSession, told_at: int = 0) -> Deferred[None]:
        """Fires when the session follows what the record says from now on, or is over. `told_at`:
        see `request_refresh`."""
        waiter: Deferred[None] = Deferred()
        refresh = self._refresh_of(device)
        if refresh.is_running and 0 < told_at <= refresh.covered and not refresh.again:
            refresh.waiters.insert(0, waiter)
            refresh.served += 1
        else:
            refresh.waiters.append(waiter)
            self.request_refresh(device, told_at)
        return waiter

    def request_refresh(self, device: DeviceSession, told_at: int = 0) -> None:
        """Read the record again. A read that is under way was asked for before: it is not applied,
        unless it was known then already that the device is notified of it at `told_at` (0:
        nobody knows where).

        A session that is being opened reads it before it is accepted (see `refresh_outdated`).
        """
        refresh = self._refresh_of(device)
        refresh.known = max(refresh.known, told_at)
        if refresh.is_running or device.protocol.state is State.CONNECTING:
            if not 0 < told_at <= refresh.covered:
                refresh.again = True
        else:
            refresh.is_running = True
            self._port.tasks.run(device.connection, self._refresh(device, refresh))

    async def refresh_outdated(self, device: DeviceSession) -> None:
        """The record changed while the session was being opened: as it says now, before the session
        is accepted."""
        while self.is_outdated(device) and not device.is_over:
            refresh = self._refresh_of(device)
            refresh.is_running = True
            await self._refresh(device, refresh)

    def _refresh_of(self, device: DeviceSession) -> _Refresh:
        return self._refreshes.setdefault(device, _Refresh())

    def truncated(self, device: DeviceSession, subscription: Subscription, to: int) -> None:
        """Unexpired messages were dropped that the session had not read: it is told."""
        notice = TruncationNotice(
            self._snowflake.next_id(),
            subscription.stream,
            str(subscription.position),
            str(to),
            self._port.now_ms(),
        )
        device.protocol.notify(msgspec.json.encode(notice))
        device.connection.flush()
        if device.token is not None and subscription.stream == device_stream(device.token):
            self.request_refresh(device)  # the entry that announced a change may be among them

    async def _refresh(self, device: DeviceSession, refresh: _Refresh) -> None:
        """Bring about what the record says, until nothing has changed since it was asked for."""
        try:
            is_as_recorded = False
            while not is_as_recorded and not device.is_over:
                try:
                    async with self._reading.place(device) as place:
                        refresh.begin_read()
                        record = await self._record(device)
                        place.kind = "record"
                except StoreUnavailable:
                    await sleep(self._reactor, RETRY_SECONDS)
                    continue
                except RequestError:  # while it was read, a newer connection took the device
                    self._taken_over(device)
                    return
                await self._applying.step()
                if refresh.again:
                    continue  # what was asked for before a change is not applied after it
                if not self._is_held(record, device):
                    return
                self._identify(device, record.user)
                await self._apply(device, record)
                _fire(refresh.take_served())
                is_as_recorded = not refresh.again
        finally:
            refresh.is_running = False
            del self._refreshes[device]
            _fire(refresh.waiters)

    def _is_held(
        self, record: FollowRecord | None, device: DeviceSession
    ) -> TypeGuard[FollowRecord]:
        """Whether the device still has this session; else it ends."""
        if record is None:
            reason = "this device was deleted"
            self._port.disconnect(device.connection, DisconnectCode.KICKED, reason)
            return False
        if record.session != device.session_id and device.token is not None:
            self._taken_over(device)
            return False
        return True

    def _taken_over(self, device: DeviceSession) -> None:
        if device.session_id in self._port.sessions:
            self._port.disconnect(device.connection, DisconnectCode.TAKEN_OVER, TAKEN_OVER_REASON)

    def _identify(self, device: DeviceSession, user: str | None) -> None:
        """The session is this user's from now on. What a JWT allowed another user ends."""
        if device.user != user:
            device.user = user
            device.jwt_topics = ()
            if device.protocol.is_established:  # else CONNECT is refused
                self._commands.end_if_banned(device)

    async def _record(self, device: DeviceSession) -> FollowRecord | None:
        """What a session is to follow now; None: its device was deleted."""
        if device.token is not None:
            return await self._sessions.records.of_device(device.token, device.session_id)
        assert device.user is not None, "a session has a device or a user"
        record = await self._sessions.records.of_user(device.user)
        others = [
            subscription
            for stream, subscription in device.subscriptions.items()
            if not stream.startswith(GROUP_PREFIX)
        ]
        return FollowRecord(None, record.user, [*others, *record.subscriptions], record.since)

    async def _apply(self, device: DeviceSession, record: FollowRecord) -> None:
        if device.is_over:
            return
        wanted = {subscription.stream: subscription for subscription in record.subscriptions}
        for stream, subscription in list(device.subscriptions.items()):
            # Following that ended and began again meanwhile begins where it began the last time.
            if stream in wanted and record.since.get(stream, 0) <= subscription.position:
                continue
            self._unfollow(device, subscription)
        added = [wanted[stream] for stream in wanted if stream not in device.subscriptions]
        if added:
            await self.add(device, added)

    async def add(self, device: DeviceSession, added: list[Subscription]) -> None:
        """A live session follows `added` too, and is notified of each when it does: a server that
        is unreachable holds up its own streams only."""
        await gather_deferreds(
            [self.follow(device, [each]).addCallback(self._added, device, each) for each in added]
        )
        if device.is_over:
            self.unfollow_all(device)

    def _added(self, result: None, device: DeviceSession, subscription: Subscription) -> None:
        # One that ended while its channel was being subscribed to is not announced.
        if not device.is_over and device.subscriptions.get(subscription.stream) is subscription:
            self._notify(device, subscription.stream, "follow", str(subscription.position))
            self._port.catch_up.wake_later(device)

    def remove(self, device: DeviceSession, stream: str) -> None:
        """A live session no longer follows `stream`, and is told."""
        subscription = device.subscriptions.get(stream)
        if subscription is not None:
            self._unfollow(device, subscription)

    def end_stream(self, stream: str) -> None:
        """Nobody follows `stream` any more, and nobody will."""
        for device in self._streams.followers_of(stream):
            if self.is_refreshing(device):
                self.mark_outdated(device)
            self.remove(device, stream)

    def _unfollow(self, device: DeviceSession, subscription: Subscription) -> None:
        self._streams.unfollow(device, subscription)
        del device.subscriptions[subscription.stream]
        self._streams.cursors[subscription.shard].ends(device, subscription)
        if device.protocol.window is not None:
            device.protocol.window.forget(subscription)
        self._notify(device, subscription.stream, "unfollow", msgspec.UNSET)
        self._port.catch_up.wake_later(device)  # its messages have made room for other streams'

    def _notify(
        self, device: DeviceSession, stream: str, kind: str, offset: str | msgspec.UnsetType
    ) -> None:
        notice = FollowNotice(self._snowflake.next_id(), stream, kind, self._port.now_ms(), offset)
        device.protocol.notify(msgspec.json.encode(notice))
        device.connection.flush()


def _fire(waiters: Iterable[Deferred[None]]) -> None:
    for waiter in waiters:
        waiter.callback(None)


def _mark_subscribed(result: None, subscription: Subscription) -> None:
    subscription.subscribed = True
    return result

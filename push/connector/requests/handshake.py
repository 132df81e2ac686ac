"""What a device asks for before and about its session: SUB, CONNECT, AUTH."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET
from twisted.logger import Logger

from push.access.api_keys import Keyring
from push.access.jwt import LEEWAY_SECONDS
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.requests.topics import TopicRequests
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.counters import Counters
from push.devices.registration import Devices
from push.devices.sessions import Opened, Sessions
from push.redis.errors import StoreUnavailable
from push.redis.subscriptions import subscribed_in_time
from push.session.events import ConnectRequested, Ended, RegisterRequested, RenewRequested
from push.wire.bodies import ConnectAccepted, ConnectRefused
from push.wire.errors import RequestError
from push.wire.signals import ConnectStatus

log = Logger()

RETRY_AFTER_SECONDS = 2
REDIRECT_AFTER_SECONDS = 1

# What a client does next depends on why it was refused
# (protocol.md, "CONNECT and CONNECT_ACK: open a session").
_STATUS_OF_CODE = {
    "unknown_token": ConnectStatus.IDENTIFIER_REJECTED,
    "unauthenticated": ConnectStatus.BAD_CREDENTIALS,
    "banned": ConnectStatus.NOT_AUTHORIZED,
    "rate_limited": ConnectStatus.SERVER_UNAVAILABLE,
    "unavailable": ConnectStatus.SERVER_UNAVAILABLE,
}


class Handshake:
    """Registers devices, opens sessions and renews their credentials."""

    def __init__(
        self,
        reactor: Any,
        devices: Devices,
        sessions: Sessions,
        following: SessionSubscriptions,
        topics: TopicRequests,
        keyring: Keyring,
        counters: Counters,
        *,
        node: str,
        open_registration: bool,
        timeout_seconds: float,
        now_ms: Callable[[], int],
        admit: Callable[[], RequestError | None],
        others: Callable[[DeviceConnection], list[str]],
        take_over: Callable[[str, str], Awaitable[None]],
        opened: Callable[[DeviceConnection], None],
        make_current: Callable[[DeviceConnection], Awaitable[None]],
        opening: dict[str, DeviceConnection],
    ) -> None:
        self._reactor = reactor
        self._devices = devices
        self._sessions = sessions
        self._following = following
        self._topics = topics
        self._keyring = keyring
        self._counters = counters
        self._node = node
        self._open_registration = open_registration
        self._timeout_seconds = timeout_seconds
        self._now_ms = now_ms
        self._admit = admit
        self._others = others
        self._take_over = take_over
        self._opened = opened
        self._make_current = make_current
        # The sessions that are being opened, by id: what their device's record said may change.
        self.opening = opening

    async def register(self, connection: DeviceConnection, wanted: RegisterRequested) -> None:
        body = wanted.body
        try:
            self._check_key(body.key)
            pair = await self._devices.register(
                platform=body.platform,
                app=body.app,
                device=body.device,
                token=body.token,
                secret=body.secret,
                ip=connection.ip,
            )
        except (RequestError, StoreUnavailable) as error:
            connection.session.refuse_registration(wanted.message_id, as_refusal(error))
        else:
            self._counters.registered += 1
            connection.session.registered(wanted.message_id, pair.token, pair.secret)
        connection.flush()

    def _check_key(self, key: str | None) -> None:
        if self._open_registration:
            return
        known = self._keyring.authenticate(key) if key is not None else None
        if known is None:
            raise RequestError(
                "unauthenticated", "a key with the scope register is needed", field="key"
            )
        if "register" not in known.scopes:
            raise RequestError("forbidden", "this key has not the scope register", field="key")

    async def connect(self, connection: DeviceConnection, wanted: ConnectRequested) -> list[Ended]:
        """Open the session, or refuse: then the events of its end are returned."""
        session_id = secrets.token_hex(12)
        try:
            refusal = self._admit()
            if refusal is not None:
                return self._send_away(connection, wanted, refusal)
            self.opening[session_id] = connection
            opened = await self._sessions.open(wanted.body, session_id, connection.ip)
            await self._begin(connection, session_id, opened)
            await self._settle(connection)
        except (RequestError, StoreUnavailable) as error:
            return self._refuse(connection, wanted, as_refusal(error))
        finally:
            self.opening.pop(session_id, None)
        if connection.is_gone():
            return []
        self._accept(connection, wanted, opened)
        return []

    async def _begin(self, connection: DeviceConnection, session_id: str, opened: Opened) -> None:
        """Take the device over, and hear its channels before its logs are read."""
        connection.session_id = session_id
        connection.token = opened.token
        connection.user = opened.user
        connection.jwt_topics = opened.topics
        if connection.closed:
            # Gone while its credentials were looked up: the record must not keep it.
            if opened.token is not None:
                await self._sessions.close(opened.token, session_id, [])
            return
        self._opened(connection)
        # Whose device it is is known now, and from now on a ban ends this session as any other.
        await self._check_ban(connection)
        if opened.before is not None:
            await self._take_over(*opened.before)
        subscribed = self._following.begin(connection, opened.subscriptions)
        await subscribed_in_time(subscribed, self._timeout_seconds, self._reactor)
        if connection.is_gone():
            self._following.end(connection)

    async def _settle(self, connection: DeviceConnection) -> None:
        """What changed since the record was read is in effect before the session is accepted; and
        now it is known whose device it is. Raises `RequestError` `banned`."""
        is_settled = False
        while not is_settled:
            await self._following.settle(connection)
            await self._check_ban(connection)
            is_settled = not connection.refresh_again or connection.is_gone()

    async def _check_ban(self, connection: DeviceConnection) -> None:
        await self._devices.check_ban(
            ip=connection.ip, token=connection.token, user=connection.user
        )

    def _accept(
        self, connection: DeviceConnection, wanted: ConnectRequested, opened: Opened
    ) -> None:
        now = self._reactor.seconds()
        body = ConnectAccepted(
            session=connection.session_id,
            user=connection.user,
            node=self._node,
            time=self._now_ms(),
            truncated=opened.truncated,
            streams=UNSET
            if opened.token is not None
            else {
                stream: str(subscription.position)
                for stream, subscription in connection.subscriptions.items()
            },
        )
        connection.session.accept(
            wanted.message_id,
            body,
            wanted.body,
            expires_at=self._expires_at(opened.expires_s),
            now=now,
        )
        self._counters.connected += 1
        connection.flush()

    def _expires_at(self, expires_s: int | None) -> float | None:
        """When credentials end, on the reactor's clock, for an end by the server's clock."""
        if expires_s is None:
            return None
        left_ms = (expires_s + LEEWAY_SECONDS) * 1000 - self._now_ms()
        return float(self._reactor.seconds() + left_ms / 1000)

    def _send_away(
        self, connection: DeviceConnection, wanted: ConnectRequested, refusal: RequestError
    ) -> list[Ended]:
        """There is no room here: to another connector, if there is one."""
        servers = self._others(connection)
        if not servers:
            return self._refuse(connection, wanted, refusal)
        self._counters.redirected += 1
        body = ConnectRefused(
            code=refusal.code, detail=refusal.detail, servers=servers, after=REDIRECT_AFTER_SECONDS
        )
        status = ConnectStatus.USE_ANOTHER_SERVER
        events = connection.session.refuse_connect(wanted.message_id, status, body)
        return [event for event in events if isinstance(event, Ended)]

    def _refuse(
        self, connection: DeviceConnection, wanted: ConnectRequested, refusal: RequestError
    ) -> list[Ended]:
        self._counters.refused += 1
        status = _STATUS_OF_CODE.get(refusal.code, ConnectStatus.BAD_CREDENTIALS)
        comes_back = status in (ConnectStatus.SERVER_UNAVAILABLE, ConnectStatus.NOT_AUTHORIZED)
        after = refusal.after_seconds if comes_back else None
        body = ConnectRefused(code=refusal.code, detail=refusal.detail, after=after)
        events = connection.session.refuse_connect(wanted.message_id, status, body)
        return [event for event in events if isinstance(event, Ended)]

    async def renew(self, connection: DeviceConnection, wanted: RenewRequested) -> None:
        session = connection.session
        try:
            await self._check_ban(connection)
            await self._make_current(connection)
            claims = self._sessions.renew(wanted.body.jwt, connection.user, connection.token)
            # Before anything is waited for: requests that were sent later are judged by it.
            connection.jwt_topics = claims.topics
            await self._topics.judge_again(connection)
        except (RequestError, StoreUnavailable) as error:
            session.refuse_renewal(wanted.message_id, as_refusal(error))
        else:
            expires_at = self._expires_at(claims.expires_s)
            assert expires_at is not None
            session.renewed(wanted.message_id, claims.expires_s * 1000, expires_at)
        connection.flush()


def as_refusal(error: RequestError | StoreUnavailable) -> RequestError:
    if isinstance(error, RequestError):
        return error
    return RequestError("unavailable", error.reason, after_seconds=RETRY_AFTER_SECONDS)

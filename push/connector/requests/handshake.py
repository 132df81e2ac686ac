"""What a device asks for before and about its session: SUB, CONNECT, AUTH."""

from __future__ import annotations

from collections.abc import Awaitable

from msgspec import UNSET
from twisted.logger import Logger

from push.access.jwt import LEEWAY_SECONDS
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.limits.connector_limits import ConnectorLimits
from push.connector.limits.counts import MAX_CONNECTIONS
from push.connector.requests.topics import TopicRequests
from push.connector.sessions.device_session import DeviceSession, Phase, SessionConnection
from push.connector.sessions.drain import Drain
from push.connector.sessions.freshness import Freshness
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.remote_commands import RemoteCommands
from push.connector.sessions.services import GatewayServices, GatewaySettings
from push.connector.transport.counters import Counters
from push.devices.session_ending import EndedSession
from push.devices.session_opening import Opened
from push.redis.connection.errors import StoreUnavailable, as_request_error
from push.redis.connection.subscribed_channels import no_subscription
from push.runtime.log_detail import detail
from push.runtime.ports import Clock
from push.runtime.timers import TimeLimit
from push.session.events import ConnectRequested, RegisterRequested, RenewRequested
from push.wire.bodies import ConnectAccepted, ConnectRefused
from push.wire.errors import STATUS_OF_CODE, RequestError, shortened
from push.wire.idents import user_stream
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
        reactor: Clock,
        services: GatewayServices,
        settings: GatewaySettings,
        port: GatewayPort,
        *,
        commands: RemoteCommands,
        drain: Drain,
        freshness: Freshness,
        subscriptions: SessionSubscriptions,
        topics: TopicRequests,
        limits: ConnectorLimits,
        counters: Counters,
    ) -> None:
        self._reactor = reactor
        self._devices = services.devices
        self._sessions = services.sessions
        self._bans = services.bans
        self._clock = services.shards.first.clock
        self._keyring = services.keyring
        self._failed_keys = services.failed_keys
        self._settings = settings
        self._subscribing = TimeLimit(reactor, services.shards.first.timeout_seconds)
        self._commands = commands
        self._drain = drain
        self._freshness = freshness
        self._subscriptions = subscriptions
        self._topics = topics
        self._limits = limits
        self._counters = counters
        self._port = port
        self._is_stopped = False

    def stop(self) -> None:
        """Open no further sessions."""
        self._is_stopped = True

    async def register(self, connection: SessionConnection, wanted: RegisterRequested) -> None:
        body = wanted.body
        try:
            self._limits.check_memory()
            await self._check_key(body.key, connection.ip)
            pair = await self._devices.register(
                platform=body.platform,
                app=body.app,
                device=body.device,
                token=body.token,
                secret=body.secret,
                ip=connection.ip,
            )
        except (RequestError, StoreUnavailable) as error:
            self._refuse_registration(connection, wanted, as_refusal(error))
        else:
            self._counters.registered += 1
            connection.protocol.registered(wanted.message_id, pair.token, pair.secret)
        connection.flush()

    def _refuse_registration(
        self, connection: SessionConnection, wanted: RegisterRequested, refusal: RequestError
    ) -> None:
        if refusal.field == "key":
            self._note_refused("SUB", wanted.body.token, connection, refusal)
        self._counters.reasons.refuse("SUB", refusal)
        connection.protocol.refuse_registration(wanted.message_id, refusal)

    def _note_refused(
        self, request: str, token: str | None, connection: SessionConnection, refusal: RequestError
    ) -> None:
        """For the audit trail, if it is for the credentials."""
        if refusal.code in ("unauthenticated", "forbidden"):
            status = STATUS_OF_CODE[refusal.code]
            self._port.session_events.refused(request, token, connection.ip, status)

    async def _check_key(self, key: str | None, ip: str) -> None:
        if self._settings.open_registration:
            return
        known = None
        if key is not None:
            await self._keyring.make_current_for(key)
            known = self._keyring.authenticate(key)
        if known is None:
            if key is not None and ip not in self._limits.admission.limits.exempt:
                self._failed_keys.note(ip)
            raise RequestError(
                "unauthenticated", "a key with the scope register is needed", field="key"
            )
        if "register" not in known.scopes:
            raise RequestError("forbidden", "this key has not the scope register", field="key")

    async def connect(self, connection: SessionConnection, wanted: ConnectRequested) -> None:
        """Open the session, or refuse: then the connection ends."""
        device = connection.device = DeviceSession(connection)
        opening = self._port.opening
        try:
            refusal = self._admit()
            if refusal is not None:
                self._send_away(device, wanted, refusal)
                return
            now = self._reactor.seconds()
            self._limits.reconnects.take(wanted.body, connection.ip, now)
            opening[device.session_id] = device
            opened = await self._sessions.opening.open(
                wanted.body, device.session_id, connection.ip
            )
            await self._take_device(device, opened)
        except (RequestError, StoreUnavailable) as error:
            self._refuse(device, wanted, as_refusal(error))
            return
        finally:
            opening.pop(device.session_id, None)
        if not device.is_over:
            self._accept(device, wanted, opened)
            self._port.reads.newcomers.note_outcome(session=True)
            self._port.wheel.watch(connection)
            self._port.catch_up.wake(device)

    def _admit(self) -> RequestError | None:
        limit = self._settings.max_connections
        is_full = limit and (len(self._port.sessions) >= limit or self._limits.admission.is_full)
        if is_full:
            self._limits.counts.acted[MAX_CONNECTIONS] += 1
        if self._is_stopped or self._drain.draining or is_full or not self._limits.may_begin():
            return RequestError(
                "unavailable", "this connector takes no more sessions", after_seconds=10
            )
        return None

    async def _take_device(self, device: DeviceSession, opened: Opened) -> None:
        """Take the device over, and subscribe to its channels before its logs are read. What has
        changed since its record was read is in effect when this returns."""
        device.token, device.user, device.jwt_topics = opened.token, opened.user, opened.topics
        if device.phase is Phase.CLOSED:
            # It went while its credentials were looked up: the record must not keep it.
            if opened.token is not None:
                await self._sessions.ending.close([EndedSession(opened.token, device.session_id)])
            return
        device.connected_ms = self._clock.now_ms()
        self._port.sessions[device.session_id] = device
        self._commands.execute_early_command(device)
        # Whose device it is is known now, and from now on a ban ends this session as any other.
        await self._check_ban(device)
        if opened.before is not None:
            await self._commands.end_session(*opened.before)
        if opened.user is not None:
            others = self._port.streams.followers_of(user_stream(opened.user))
            # Without one that this session has taken over.
            self._limits.check_connections_of_user(1 + sum(not each.is_over for each in others))
        subscribed = self._subscriptions.follow(device, opened.subscriptions)
        await self._subscribing.watch(subscribed, no_subscription)
        if device.is_over:
            self._subscriptions.unfollow_all(device)
        await self._check_ban(device)
        while self._subscriptions.is_outdated(device) and not device.is_over:
            await self._subscriptions.refresh_outdated(device)
            await self._check_ban(device)

    def _check_ban(self, device: DeviceSession) -> Awaitable[None]:
        """Raises `RequestError` `banned`."""
        return self._bans.check(ip=device.connection.ip, token=device.token, user=device.user)

    def _accept(self, device: DeviceSession, wanted: ConnectRequested, opened: Opened) -> None:
        now = self._reactor.seconds()
        body = ConnectAccepted(
            session=device.session_id,
            user=device.user,
            node=self._settings.node,
            time=self._clock.now_ms(),
            truncated=opened.truncated,
            streams=UNSET
            if opened.token is not None
            else {
                stream: str(subscription.position)
                for stream, subscription in device.subscriptions.items()
            },
        )
        device.protocol.accept(
            wanted.message_id,
            body,
            wanted.body,
            expires_at=None if opened.expires_s is None else self._expires_at(opened.expires_s),
            now=now,
        )
        self._counters.connected += 1
        self._port.session_events.connected(device)
        if detail.debug:
            log.debug(
                "{ip} {connection} opened for {token}",
                ip=device.connection.ip,
                connection=device.session_id,
                token=device.token,
                user=device.user,
                event="connection.opened",
            )
        device.connection.flush()
        device.connection.tell_session()

    def _expires_at(self, expires_s: int) -> float:
        """When credentials end, on the reactor's clock, for an end by the server's clock."""
        left_ms = (expires_s + LEEWAY_SECONDS) * 1000 - self._clock.now_ms()
        return float(self._reactor.seconds() + left_ms / 1000)

    def _send_away(
        self, device: DeviceSession, wanted: ConnectRequested, refusal: RequestError
    ) -> None:
        """There is no room here: to another connector, if there is one."""
        servers = self._drain.servers(device.connection)
        if not servers:
            self._refuse(device, wanted, refusal)
            return
        self._counters.redirected += 1
        token = wanted.body.token
        ip = device.connection.ip
        self._port.session_events.sent_away(token, ip, refusal.code, refusal.detail)
        body = ConnectRefused(
            code=refusal.code, detail=refusal.detail, servers=servers, after=REDIRECT_AFTER_SECONDS
        )
        self._answer_refusal(device, wanted, ConnectStatus.USE_ANOTHER_SERVER, body)

    def _refuse(
        self, device: DeviceSession, wanted: ConnectRequested, refusal: RequestError
    ) -> None:
        self._counters.refused += 1
        self._note_refused("CONNECT", wanted.body.token, device.connection, refusal)
        self._counters.reasons.refuse("CONNECT", refusal)
        if detail.debug:
            log.debug(
                "{ip} {connection} refused: {code} {reason}",
                ip=device.connection.ip,
                connection=device.session_id,
                code=refusal.code,
                reason=shortened(refusal.detail),
                event="connection.refused",
            )
        status = _STATUS_OF_CODE.get(refusal.code, ConnectStatus.BAD_CREDENTIALS)
        comes_back = status in (ConnectStatus.SERVER_UNAVAILABLE, ConnectStatus.NOT_AUTHORIZED)
        after = refusal.after_seconds if comes_back else None
        body = ConnectRefused(code=refusal.code, detail=refusal.detail, after=after)
        self._answer_refusal(device, wanted, status, body)

    def _answer_refusal(
        self,
        device: DeviceSession,
        wanted: ConnectRequested,
        status: ConnectStatus,
        body: ConnectRefused,
    ) -> None:
        events = device.protocol.refuse_connect(wanted.message_id, status, body)
        self._port.events.handle(device.connection, events)

    async def renew(self, device: DeviceSession, wanted: RenewRequested) -> None:
        session = device.protocol
        try:
            await self._check_ban(device)
            await self._freshness.make_current(device)
            claims = await self._sessions.renew(wanted.body.jwt, device.user, device.token)
            # Before anything is waited for: requests that were sent later are judged by it.
            device.jwt_topics = claims.topics
            await self._topics.apply_jwt(device)
        except (RequestError, StoreUnavailable) as error:
            session.refuse_renewal(wanted.message_id, as_refusal(error))
        else:
            expires_at = self._expires_at(claims.expires_s)
            session.renewed(wanted.message_id, claims.expires_s * 1000, expires_at)
        device.connection.flush()


def as_refusal(error: RequestError | StoreUnavailable) -> RequestError:
    if isinstance(error, RequestError):
        return error
    return as_request_error(error, after_seconds=RETRY_AFTER_SECONDS)

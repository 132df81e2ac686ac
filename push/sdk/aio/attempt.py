"""One stay at one server, from connecting to leaving, and what outlives it.

`ClientIdentity` is what the client takes from server to server: credentials and the memory of
messages.
`Attempt` performs one connection and reports its end to the policy, which answers with the next
plan.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLContext

import msgspec

from push.sdk.address import ServerAddress
from push.sdk.aio.connection import ClientConnection, ConnectionEnded
from push.sdk.aio.dial import Address, Dialing, dial
from push.sdk.credentials import Credentials, renewal_delay_seconds
from push.sdk.encoding import check_text
from push.sdk.errors import (
    CertificateNotYetValid,
    CertificateUntrusted,
    ConfigurationError,
    ConnectionFailed,
    PushError,
    RegistrationFailed,
    RequestRefused,
)
from push.sdk.logs import log
from push.sdk.reconnect import Policy, ReconnectPlan
from push.sdk.settings import ClientSettings
from push.sdk.tls import client_context
from push.session.client import ClientSession, RequestNotPossible
from push.session.client.events import (
    Connected,
    ConnectionRefused,
    DeviceRegistered,
    MessageReceived,
    RegistrationRefused,
    RequestAnswered,
)
from push.session.client.memory import ClientCursors, Deliveries

SDK_NAME = "push-universe-aio/1"

Store = Callable[[Credentials], Awaitable[None]]


class ClientIdentity:
    """`on_message` is called for each new message, in order.

    `credentials` is the only place that says whether there is a device.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credentials: Credentials | None,
        on_message: Callable[[MessageReceived], None],
        connect_seconds: float,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self.connect_seconds = connect_seconds
        self._device_wanted = settings.jwt is None
        self._registering = asyncio.Lock()
        self._avoided: set[Address] = set()
        self.deliveries = Deliveries()
        self._cursors = ClientCursors()
        self._on_message = on_message
        self._connection: ClientConnection | None = None
        self._jwt: str | None = settings.jwt if isinstance(settings.jwt, str) else None
        self._context: SSLContext | None = None

    def visit(self, server: ServerAddress, policy: Policy) -> Attempt:
        return Attempt(self, server, policy)

    @property
    def must_register(self) -> bool:
        return self.credentials is None and self._device_wanted

    def forget_device(self) -> None:
        """The server does not know the token: register next time."""
        self.credentials = None
        self._device_wanted = True

    def acknowledge(self, message: MessageReceived) -> None:
        """On the present connection, or in memory for the copy that comes on the next."""
        if self._connection is not None:
            self._connection.session.acknowledge(message)
            self._connection.flush_soon()

    def forget_jwt(self) -> None:
        self._jwt = None

    async def jwt(self) -> str | None:
        """The JWT to connect with; asks the application when there is none, or a new one is due."""
        if self._jwt is None and callable(self.settings.jwt):
            made = self.settings.jwt()
            self._jwt = check_text(await made if inspect.isawaitable(made) else made, "jwt")
        return self._jwt

    async def connect(self, server: ServerAddress) -> ClientConnection:
        """Raises `CertificateUntrusted` and `ConnectionFailed`."""
        settings = self.settings
        if server.secure and self._context is None:
            pinned = settings.fingerprint is not None
            self._context = client_context(settings.ca_file, pinned=pinned)
        connection, address = await dial(
            server,
            self._new_connection,
            Dialing(self._context, settings.fingerprint, self.connect_seconds, self._in_order),
        )
        connection.address = address
        return connection

    def _in_order(self, addresses: list[Address]) -> list[Address]:
        """Last, where a connection came to nothing: a proxy may accept for a server that is
        down."""
        if self._avoided.issuperset(addresses):
            self._avoided.clear()
        return sorted(addresses, key=self._avoided.__contains__)

    def met(self, address: Address | None, *, served: bool) -> None:
        """Whether a session was opened at `address`."""
        if served:
            self._avoided.clear()
        elif address is not None:
            self._avoided.add(address)

    def _new_connection(self) -> ClientConnection:
        session = ClientSession(self.deliveries, self._cursors)
        self._connection = ClientConnection(session, self._on_message)
        return self._connection

    async def register_on(
        self, connection: ClientConnection, store: Store
    ) -> RegistrationRefused | ConnectionRefused | None:
        """Register on an open connection if there is no device yet, and have the pair stored; or
        what the server says instead. One at a time. Raises `ConnectionEnded`.
        """
        async with self._registering:
            if self.credentials is not None:
                return None
            answer = await connection.greet(self._send_registration)
            if not isinstance(answer, DeviceRegistered):
                assert isinstance(answer, RegistrationRefused | ConnectionRefused)
                return answer
            await store(Credentials(answer.token, answer.secret))
            return None

    def _send_registration(self, session: ClientSession, now: float) -> int:
        settings = self.settings
        return session.register(
            now,
            platform=settings.platform,
            app=settings.app,
            key=settings.key or None,
            device=settings.device,
        )

    async def register_once(self, servers: Sequence[ServerAddress], store: Store) -> None:
        """Register at the first server that answers, and leave. Raises the last one's error."""
        error: PushError = ConnectionFailed("there is no server to register at")
        for server in servers:
            try:
                connection = await self.connect(server)
            except ConnectionFailed as failed:
                error = failed
                continue
            try:
                refused = await self.register_on(connection, store)
            except ConnectionEnded as ended:
                error = ConnectionFailed(f"{server}: {ended.reason}")
                continue
            finally:
                await connection.close()
            if refused is None:
                return
            error = RegistrationFailed(refused.code, refused.detail)
        raise error


class Attempt:
    """`detail` says, for people, how it ended."""

    def __init__(self, visitor: ClientIdentity, server: ServerAddress, policy: Policy) -> None:
        self._visitor = visitor
        self._server = server
        self._policy = policy
        self._loop = asyncio.get_running_loop()
        self._connection: ClientConnection | None = None
        self._connected: Connected | None = None
        self.detail = ""

    async def open(self, store: Store) -> Connected | ReconnectPlan:
        """Connect, register if need be, open the session; or what to do instead."""
        try:
            jwt = await self._visitor.jwt()
        except Exception as error:  # the application's token service may be unreachable for a while
            log.warning("the application could not make a JWT", exc_info=True)
            self.detail = f"the application could not make a JWT: {error!r}"
            return self._policy.lost(self._loop.time())
        try:
            self._connection = await self._visitor.connect(self._server)
            return await self._greet(self._connection, jwt, store)
        except CertificateNotYetValid as error:
            self.detail = str(error)
            return self._policy.lost(self._loop.time())
        except CertificateUntrusted as error:
            self.detail = str(error)
            return self._policy.untrusted(self.detail, self._loop.time())
        except ConnectionFailed as error:
            self.detail = str(error)
            return self._policy.lost(self._loop.time())
        except ConnectionEnded as ended:
            if ended.goodbye is None and self._connection is not None:
                self._visitor.met(self._connection.address, served=False)
            return self._after(ended)
        except RequestNotPossible as error:  # more than a CONNECT may have: a JWT of 60 KB
            raise ConfigurationError(str(error)) from None

    async def _greet(
        self, connection: ClientConnection, jwt: str | None, store: Store
    ) -> Connected | ReconnectPlan:
        visitor = self._visitor
        if visitor.must_register:
            refused = await visitor.register_on(connection, store)
            if isinstance(refused, RegistrationRefused):
                self.detail = f"registration: {refused.code}: {refused.detail}"
                return self._policy.registration_refused(refused, self._loop.time())
            if refused is not None:
                return self._refused(refused)
        outcome = await connection.greet(lambda session, now: self._send_connect(session, now, jwt))
        if isinstance(outcome, ConnectionRefused):
            return self._refused(outcome)
        assert isinstance(outcome, Connected)
        self._policy.accepted(self._loop.time())
        visitor.met(connection.address, served=True)
        self._connected = outcome
        return outcome

    def _refused(self, refusal: ConnectionRefused) -> ReconnectPlan:
        self.detail = f"{self._server} refused: {refusal.code}: {refusal.detail}"
        return self._policy.refused(refusal, self._loop.time())

    def _send_connect(self, session: ClientSession, now: float, jwt: str | None) -> int:
        settings, credentials = self._visitor.settings, self._visitor.credentials
        return session.connect(
            now,
            token=credentials.token if credentials else None,
            secret=credentials.secret if credentials else None,
            jwt=jwt,
            heartbeat_seconds=settings.heartbeat,
            window_messages=settings.window,
            max_frame_bytes=settings.max_frame,
            sdk=SDK_NAME,
        )

    async def stay(self) -> ReconnectPlan:
        """Until the session ends; a JWT that the application can make is renewed in time."""
        assert self._connection is not None
        renewing: asyncio.Task[None] | None = None
        if callable(self._visitor.settings.jwt):
            renewing = self._loop.create_task(self._keep_renewed())
        try:
            return self._after(await asyncio.shield(self._connection.ended))
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.wait([renewing])

    def _after(self, ended: ConnectionEnded) -> ReconnectPlan:
        self.detail = f"{self._server}: {ended.reason}"
        now = self._loop.time()
        if ended.goodbye is not None:
            return self._policy.disconnected(ended.goodbye, now)
        return self._policy.lost(now)

    async def _keep_renewed(self) -> None:
        """If it fails the session goes on to its old expiry, and the server says so then."""
        assert self._connected is not None
        opened_at = self._loop.time()
        try:
            while True:
                jwt = await self._visitor.jwt()
                passed_ms = int((self._loop.time() - opened_at) * 1000)
                delay = renewal_delay_seconds(jwt or "", self._connected.time_ms + passed_ms)
                if delay is None:
                    return
                await asyncio.sleep(max(delay, 1.0))
                self._visitor.forget_jwt()
                await self.renew(await self._visitor.jwt() or "")
        except Exception as error:
            log.warning("the JWT was not renewed: %s", error)

    # --- Requests -------------------------------------------------------------------------------

    async def publish(self, number: int, body: msgspec.Raw) -> RequestAnswered:
        """Raises `ConnectionFailed`, and `RequestRefused` for what is too large to send."""
        assert self._connection is not None
        try:
            return await self._connection.publish(number, body)
        except ConnectionEnded as ended:
            raise ConnectionFailed(ended.reason) from None
        except RequestNotPossible as error:
            raise RequestRefused("too_large", str(error)) from None

    def publish_unanswered(self, number: int, body: msgspec.Raw) -> None:
        assert self._connection is not None
        try:
            self._connection.publish_unanswered(number, body)
        except ConnectionEnded as ended:
            raise ConnectionFailed(ended.reason) from None
        except RequestNotPossible as error:
            raise RequestRefused("too_large", str(error)) from None

    async def renew(self, jwt: str) -> int | None:
        assert self._connection is not None
        try:
            answer = await self._connection.renew(jwt)
        except ConnectionEnded as ended:
            raise ConnectionFailed(ended.reason) from None
        except RequestNotPossible as error:
            raise RequestRefused("too_large", str(error)) from None
        if not answer.ok:
            raise RequestRefused(answer.code or "unauthenticated", answer.detail)
        return answer.expires_ms

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

"""How a client gets its pair: the step on an open connection, and a connection for that alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from push.sdk.address import ServerAddress
from push.sdk.core.actions import Action, AskServers, Dial, StoreCredentials
from push.sdk.core.connection import ClientConnection, Greeting, hang_up
from push.sdk.core.identity import ClientIdentity
from push.sdk.core.pending import Pending
from push.sdk.credentials import Credentials
from push.sdk.dialing import Address
from push.sdk.errors import ClientClosed, ConnectionFailed, RegistrationFailed
from push.sdk.reconnect import Policy
from push.session.client.events import (
    ConnectionRefused,
    DeviceRegistered,
    RegistrationRefused,
)

Refused = RegistrationRefused | ConnectionRefused


class RegistrationStep:
    """Register on a connection if there is no device yet, and have the pair stored. One at a time:
    a second SUB would be a second device.

    `then(refused)` is called unless the connection ends before; None: there is a device.
    """

    def __init__(
        self,
        identity: ClientIdentity,
        connection: ClientConnection,
        emit: Callable[[Action], None],
        then: Callable[[Refused | None], None],
    ) -> None:
        self._identity = identity
        self._connection = connection
        self._emit = emit
        self._then = then
        self._is_ours = False
        self._done = False

    def go_on(self) -> None:
        """Begin, unless another connection registers just now. Call it again when that is over."""
        if self._done or self._is_ours or self._identity.registering:
            return
        if self._identity.credentials is not None:
            self._finish(None)
            return
        self._is_ours = self._identity.registering = True
        self._connection.ended.then(lambda ended: self._release())
        greeting = self._connection.greet(self._identity.send_registration)
        greeting.then(self._greeted)

    def stored(self, credentials: Credentials) -> None:
        self._identity.credentials = credentials
        self._finish(None)

    def give_up(self) -> None:
        self._done = True
        self._release()

    def _greeted(self, greeting: Pending[Greeting]) -> None:
        if greeting.error is not None:
            return  # the connection ended
        answer = greeting.result()
        if isinstance(answer, DeviceRegistered):
            self._emit(StoreCredentials(Credentials(answer.token, answer.secret)))
        else:
            assert isinstance(answer, RegistrationRefused | ConnectionRefused)
            self._finish(answer)

    def _finish(self, refused: Refused | None) -> None:
        if not self._done:
            self._done = True
            self._release()
            self._then(refused)

    def _release(self) -> None:
        if self._is_ours:
            self._is_ours = self._identity.registering = False
            self._identity.on_registered()


class LoneRegistration:
    """Registers at the first server that answers, and leaves: a `Machine`.

    `result` is the pair, or the error of the last server.
    """

    def __init__(self, identity: ClientIdentity, policy: Policy) -> None:
        self.result: Pending[Credentials] = Pending()
        self.is_over = False
        self._identity = identity
        self._policy = policy
        self._servers: list[ServerAddress] = []
        self._server: ServerAddress | None = None
        self._error: Exception = ConnectionFailed("there is no server to register at")
        self._actions: list[Action] = []
        self._connection: ClientConnection | None = None
        self._step: RegistrationStep | None = None
        self._is_hanging_up = False

    def start(self, now: float) -> None:
        settings = self._identity.settings
        if settings.addresses:
            self._try(settings.addresses)
        else:
            self._actions.append(AskServers())

    # --- What the shell reports ---------------------------------------------------------------

    def servers_found(self, urls: list[str], now: float) -> None:
        if not self.is_over:
            self._try(self._policy.allowed(urls))

    def servers_failed(self, reason: str, now: float) -> None:
        if not self.is_over:
            self._error = ConnectionFailed(f"GET /v1/servers: {reason}")
            self._try(())

    def dialed(self, address: Address, now: float) -> None:
        if self._is_hanging_up:
            return
        session = self._identity.new_session()
        connection = ClientConnection(session, lambda message: None, now)
        self._connection = connection
        connection.ended.then(lambda ended: self._ended(ended.result().reason))
        self._step = RegistrationStep(self._identity, connection, self._emit, self._registered)
        self._step.go_on()

    def dial_failed(self, error: ConnectionFailed, now: float) -> None:
        self._error = error
        self._dial_next()

    def receive_data(self, data: bytes, now: float) -> None:
        if self._connection is not None:
            self._connection.receive_data(data, now)

    def connection_lost(self, reason: str, now: float) -> None:
        if self._connection is not None:
            self._connection.lost(reason, now)

    def stored(self, credentials: Credentials, now: float) -> None:
        self._identity.credentials = credentials
        if self._step is not None:
            self._step.stored(credentials)

    def failed(self, error: Exception, now: float) -> None:
        """The application could not store the pair."""
        self._servers = []
        self._leave(error)

    def hung_up(self, now: float) -> None:
        self._is_hanging_up = False
        self._connection = self._step = None
        self._dial_next()

    def jwt_made(self, jwt: str, now: float) -> None:
        raise AssertionError("not asked for")

    def jwt_failed(self, error: Exception, now: float) -> None:
        raise AssertionError("not asked for")

    def close(self, now: float) -> None:
        """The caller gave up."""
        self._servers = []
        self._leave(ClientClosed("closed"))

    def tick(self, now: float) -> None:
        if self._step is not None:
            self._step.go_on()
        if self._connection is not None:
            self._connection.tick(now)

    # --- What the shell is to do --------------------------------------------------------------

    def take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def data_to_send(self) -> bytes:
        return b"" if self._connection is None else self._connection.session.data_to_send()

    def next_deadline(self) -> float | None:
        if self._connection is None or self._is_hanging_up:
            return None
        return self._connection.session.next_deadline()

    # --- How it goes on -----------------------------------------------------------------------

    def _try(self, servers: Sequence[ServerAddress]) -> None:
        self._servers = list(servers)
        self._dial_next()

    def _dial_next(self) -> None:
        if self._identity.credentials is not None:
            self.result.resolve(self._identity.credentials)
            self.is_over = True
        elif self._servers:
            self._server = self._servers.pop(0)
            self._actions.append(Dial(self._server))
        else:
            self.result.fail(self._error)
            self.is_over = True

    def _emit(self, action: Action) -> None:
        self._actions.append(action)

    def _registered(self, refused: Refused | None) -> None:
        error = None if refused is None else RegistrationFailed(refused.code, refused.detail)
        self._leave(error)

    def _ended(self, reason: str) -> None:
        self._leave(ConnectionFailed(f"{self._server}: {reason}"))

    def _leave(self, error: Exception | None) -> None:
        if self._is_hanging_up:
            return
        self._is_hanging_up = True
        if error is not None:
            self._error = error
        if self._step is not None:
            self._step.give_up()
        self._actions.append(hang_up(self._connection))

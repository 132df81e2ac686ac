"""One stay at one server, from dialing to leaving. No I/O.

It reports its end to the policy, which answers with the next plan.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from push.sdk.address import ServerAddress
from push.sdk.core.actions import Action, Dial, HangUp, MakeJWT
from push.sdk.core.connection import ClientConnection, ConnectionEnded, Greeting, hang_up
from push.sdk.core.identity import ClientIdentity
from push.sdk.core.pending import Pending
from push.sdk.core.registration import Refused, RegistrationStep
from push.sdk.credentials import Credentials
from push.sdk.dialing import Address
from push.sdk.errors import (
    CertificateNotYetValid,
    CertificateUntrusted,
    ConfigurationError,
    ConnectionFailed,
)
from push.sdk.logs import log
from push.sdk.reconnect import Policy, ReconnectPlan
from push.session.client import RequestNotPossible
from push.session.client.events import (
    Connected,
    ConnectionRefused,
    MessageReceived,
    RegistrationRefused,
)


class AttemptPhase(Enum):
    MAKING_JWT = auto()
    DIALING = auto()
    GREETING = auto()
    OPEN = auto()
    OVER = auto()


class Attempt:
    """`on_open(session)` and `on_over(plan)` are called once each, `on_failed` when the application
    is to be told that it cannot work. `detail` says, for people, how it ended.
    """

    def __init__(
        self,
        identity: ClientIdentity,
        server: ServerAddress,
        policy: Policy,
        emit: Callable[[Action], None],
    ) -> None:
        self.detail = ""
        self.phase = AttemptPhase.MAKING_JWT
        self._is_silent = False  # nobody is there to take the rest of what is queued
        self.connection: ClientConnection | None = None
        self.on_open: Callable[[Connected], None]
        self.on_over: Callable[[ReconnectPlan], None]
        self.on_failed: Callable[[Exception], None]
        self.on_message: Callable[[MessageReceived], None]
        self._identity = identity
        self.server = server
        self._policy = policy
        self._emit = emit
        self._address: Address | None = None
        self._step: RegistrationStep | None = None

    # --- What the shell reports ---------------------------------------------------------------

    def begin(self) -> None:
        """Ask for a JWT when one is needed, else dial."""
        if self._identity.jwt is None and self._identity.makes_jwts:
            self._emit(MakeJWT())
        else:
            self._dial()

    def jwt_made(self) -> None:
        self._dial()

    def jwt_failed(self, error: Exception, now: float) -> None:
        """The application's token service may be unreachable for a while."""
        log.warning("the application could not make a JWT", exc_info=error)
        self.detail = f"the application could not make a JWT: {error!r}"
        self._finish(self._policy.lost(now))

    def dial_failed(self, error: ConnectionFailed, now: float) -> None:
        self.detail = str(error)
        if isinstance(error, CertificateUntrusted) and not isinstance(
            error, CertificateNotYetValid
        ):
            self._finish(self._policy.untrusted(self.detail, now))
        else:
            self._finish(self._policy.lost(now))

    def dialed(self, address: Address, now: float) -> None:
        if self.phase is not AttemptPhase.DIALING:
            return  # left meanwhile
        self.phase = AttemptPhase.GREETING
        self._address = address
        session = self._identity.new_session()
        self.connection = ClientConnection(session, self.on_message, now)
        self.connection.ended.then(self._ended)
        if self._identity.must_register:
            self._step = RegistrationStep(
                self._identity, self.connection, self._emit, self._registered
            )
            self._step.go_on()
        else:
            self._connect()

    def stored(self, credentials: Credentials) -> None:
        if self._step is not None:
            self._step.stored(credentials)

    def tick(self, now: float) -> None:
        if self.connection is None:
            return
        self.connection.now = now
        if self._step is not None:
            self._step.go_on()
        self.connection.tick(now)

    def next_deadline(self) -> float | None:
        if self.connection is None or self.phase is AttemptPhase.OVER:
            return None
        return self.connection.session.next_deadline()

    def leave(self) -> HangUp:
        """It ends: nothing is reported any more."""
        self.phase = AttemptPhase.OVER
        if self._step is not None:
            self._step.give_up()
        return hang_up(self.connection, abort=self._is_silent)

    # --- How it goes on -----------------------------------------------------------------------

    def _dial(self) -> None:
        self.phase = AttemptPhase.DIALING
        self._emit(Dial(self.server))

    def _registered(self, refused: Refused | None) -> None:
        assert self.connection is not None
        if isinstance(refused, RegistrationRefused):
            self.detail = f"registration: {refused.code}: {refused.detail}"
            self._finish(self._policy.registration_refused(refused, self.connection.now))
        elif refused is not None:
            self._refused(refused, self.connection.now)
        else:
            self._connect()

    def _connect(self) -> None:
        assert self.connection is not None
        try:
            greeting = self.connection.greet(self._identity.send_connect)
        except RequestNotPossible as error:  # more than a CONNECT may have: a JWT of 60 KB
            self.on_failed(ConfigurationError(str(error)))
            return
        greeting.then(self._greeted)

    def _greeted(self, greeting: Pending[Greeting]) -> None:
        if greeting.error is not None:
            return  # the connection ended
        answer, connection = greeting.result(), self.connection
        assert connection is not None
        if isinstance(answer, ConnectionRefused):
            self._refused(answer, connection.now)
            return
        assert isinstance(answer, Connected)
        self._policy.accepted(connection.now)
        self._met(served=True)
        self.phase = AttemptPhase.OPEN
        self.on_open(answer)

    def _refused(self, refusal: ConnectionRefused, now: float) -> None:
        self.detail = f"{self.server} refused: {refusal.code}: {refusal.detail}"
        self._finish(self._policy.refused(refusal, now))

    def _ended(self, ended: Pending[ConnectionEnded]) -> None:
        if self.phase is AttemptPhase.OVER:
            return
        assert self.connection is not None
        reason, goodbye, now = ended.result(), ended.result().goodbye, self.connection.now
        self._is_silent = reason.silent
        self.detail = f"{self.server}: {reason.reason}"
        if goodbye is not None:
            self._finish(self._policy.disconnected(goodbye, now))
            return
        if self.phase is AttemptPhase.GREETING:
            self._met(served=False)
        self._finish(self._policy.lost(now))

    def _met(self, *, served: bool) -> None:
        if self._address is not None:
            self._identity.order.met(self._address, served=served)

    def _finish(self, plan: ReconnectPlan) -> None:
        if self.phase is not AttemptPhase.OVER:
            self.phase = AttemptPhase.OVER
            self.on_over(plan)

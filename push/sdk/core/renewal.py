"""The JWT of a client: made when one is needed, and renewed in the session before it ends."""

from __future__ import annotations

from collections.abc import Callable

from push.sdk.core.connection import ClientConnection, ConnectionEnded
from push.sdk.core.identity import ClientIdentity
from push.sdk.core.pending import Pending
from push.sdk.credentials import renewal_delay_seconds
from push.sdk.encoding import check_text
from push.sdk.errors import ConnectionFailed, RequestRefused
from push.sdk.logs import log
from push.session.client import RequestNotPossible
from push.session.client.events import AuthAnswer

MIN_RENEWAL_SECONDS = 1.0


class JWTRenewal:
    """`make()` has the application asked, one call at a time: an answer that comes late is as good
    for the next connection. The server's clock judges when a JWT ends.
    """

    def __init__(self, identity: ClientIdentity, ask: Callable[[], None]) -> None:
        self._identity = identity
        self._ask = ask
        self._is_being_made = False
        self._connection: ClientConnection | None = None  # of the open session
        self._server_time_ms = 0  # when the session was opened,
        self._opened_at = 0.0  # by our clock
        self._due_at: float | None = None

    def make(self) -> None:
        if not self._is_being_made:
            self._is_being_made = True
            self._ask()

    def made(self, jwt: str, now: float) -> None:
        """It came. In a session it is sent to the server. Raises `InvalidData`."""
        self._is_being_made = False
        self._identity.jwt = check_text(jwt, "jwt")
        if self._connection is not None:
            self._connection.now = now
            renewed: Pending[int | None] = Pending()
            send_renewal(self._connection, jwt, renewed)
            renewed.then(lambda renewed: self._renewed(renewed, now))

    def not_made(self, error: Exception) -> None:
        """The session goes on to its old expiry, and the server says so then."""
        self._is_being_made = False
        if self._connection is not None:
            log.warning("the JWT was not renewed: %s", error)

    def begin_session(self, connection: ClientConnection, server_time_ms: int) -> None:
        if self._identity.makes_jwts:
            self._connection = connection
            self._server_time_ms, self._opened_at = server_time_ms, connection.now
            self._schedule(connection.now)

    def end_session(self) -> None:
        self._connection = self._due_at = None

    def next_deadline(self) -> float | None:
        return self._due_at

    def tick(self, now: float) -> None:
        if self._due_at is not None and now >= self._due_at:
            self._due_at = None
            self._identity.jwt = None
            self.make()

    def _renewed(self, renewed: Pending[int | None], now: float) -> None:
        if renewed.error is not None:
            log.warning("the JWT was not renewed: %s", renewed.error)
        elif self._connection is not None:
            self._schedule(self._connection.now)

    def _schedule(self, now: float) -> None:
        passed_ms = int((now - self._opened_at) * 1000)
        delay = renewal_delay_seconds(self._identity.jwt or "", self._server_time_ms + passed_ms)
        self._due_at = None if delay is None else now + max(delay, MIN_RENEWAL_SECONDS)


def send_renewal(connection: ClientConnection, jwt: str, expires: Pending[int | None]) -> None:
    """AUTH. `expires`: in ms since 1970 UTC."""
    try:
        connection.renew(jwt).then(lambda answer: _answered(answer, expires))
    except RequestNotPossible as error:
        expires.fail(RequestRefused("too_large", str(error)))


def _answered(answer: Pending[AuthAnswer], expires: Pending[int | None]) -> None:
    if isinstance(answer.error, ConnectionEnded):
        expires.fail(ConnectionFailed(answer.error.reason))
        return
    said = answer.result()
    if said.ok:
        expires.resolve(said.expires_ms)
    else:
        expires.fail(RequestRefused(said.code or "unauthenticated", said.detail))

"""The keys that check JWTs: from the file of the configuration, and from a key set on the web."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import cast

import treq
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.iweb import IAgent

from push.access.jwt import JwtVerifier, VerificationKey, load_keys
from push.daemons.config.errors import StartError
from push.daemons.config.settings import Auth
from push.runtime.http_client import make_pool
from push.runtime.ports import Clock
from push.runtime.tasks import within
from push.runtime.timers import Debounced, SingleFlight
from push.wire.addresses import without_secrets
from push.wire.errors import RequestError, shortened

log = Logger()

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 5.0
TIMEOUT_SECONDS = 10.0
# For a key that is not known: how often at most, and how long a client waits for it.
ASKED_SECONDS = 60.0
WAIT_SECONDS = 3.0
MAX_WAITING = 100  # clients at once
MAX_SET_BYTES = 256 * 1024


def make_verifier(auth: Auth) -> JwtVerifier:
    """Raises StartError when the key file cannot be read or fits no algorithm that is allowed."""
    verifier = JwtVerifier([], algorithms=(), audience="", issuer=None)
    configure(verifier, auth)
    return verifier


def configure(verifier: JwtVerifier, auth: Auth) -> None:
    """What `auth` and its key file say, from now on. After a StartError nothing has changed."""
    verifier.configure(
        _keys_of_file(auth) if auth.jwt_key_file else [],
        algorithms=auth.jwt_algorithms,
        audience=auth.jwt_audience,
        issuer=auth.jwt_issuer or None,
    )


def reload_keys(verifier: JwtVerifier, auth: Auth) -> str | None:
    """As `configure`; what was loaded, in words."""
    configure(verifier, auth)
    return f"JWT key file {auth.jwt_key_file}" if auth.jwt_key_file else None


def _keys_of_file(auth: Auth) -> list[VerificationKey]:
    path = Path(auth.jwt_key_file).expanduser()
    try:
        keys = load_keys(path.read_bytes())
    except OSError as error:
        raise StartError(f"[auth] jwt_key_file {path}: {error.strerror}") from None
    except ValueError as error:
        raise StartError(f"[auth] jwt_key_file {path}: {error}") from None
    algorithms = {key.algorithm for key in keys}
    if not algorithms & set(auth.jwt_algorithms):
        raise StartError(
            f"[auth] jwt_key_file {path}: its key is for {', '.join(sorted(algorithms))}, which "
            "[auth] jwt_algorithms does not allow"
        )
    return keys


class _Late(Exception):
    def __str__(self) -> str:
        return f"no answer within {TIMEOUT_SECONDS:g} s"


class JwksRefresh(Service):
    """Fetches a key set every five minutes, and when a JWT is signed with a key that is not known;
    while it cannot, the last one stays valid."""

    def __init__(self, reactor: Clock, url: str, verifier: JwtVerifier) -> None:
        self._reactor = reactor
        self._url = url
        self._shown_url = without_secrets(url)
        self._verifier = verifier
        # Twisted's agent verifies the server's certificate and name.
        pool = make_pool(reactor, persistent=False)
        agent = cast(IAgent, Agent(reactor, connectTimeout=TIMEOUT_SECONDS, pool=pool))
        self._client = treq.client.HTTPClient(agent)
        self._refreshes = SingleFlight(self._refresh, _log_failure)
        self._later = Debounced(reactor, REFRESH_SECONDS, self._refreshes.request)
        self._failed: bool | None = None  # None: it was not tried yet
        self._is_there = False
        self._asked_at = self._began_at = -ASKED_SECONDS
        self._waiting = 0
        verifier.fetch = self._fetch_for_client

    def startService(self) -> None:
        super().startService()
        self._refreshes.request()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._later.cancel()
        self._refreshes.cancel()
        return Deferred.fromCoroutine(self._refreshes.finished())

    async def _fetch_for_client(self) -> None:
        """At most once a minute a fetch of its own; all that wait meanwhile share it, or the one
        that is on. Raises `RequestError` `unavailable` when there was no key set yet.

        Nobody waits for one that takes long, and never more than some: a flood of JWTs of keys that
        nobody has would have its connections held open by it.
        """
        now = self._reactor.seconds()
        if self._is_there and now - self._asked_at >= ASKED_SECONDS:
            self._asked_at = now
            self._refreshes.request()
        seconds = WAIT_SECONDS
        if self._is_there:
            seconds += max(self._began_at, self._asked_at) - now
        if seconds > 0 and self._waiting < MAX_WAITING:
            waiting = Deferred.fromCoroutine(self._refreshes.finished())
            self._waiting += 1
            try:
                with suppress(_Late):
                    await within(seconds, self._reactor, waiting, _Late)
            finally:
                self._waiting -= 1
        if not self._is_there:
            raise RequestError(
                "unavailable",
                "the key set that checks JWTs could not be fetched yet",
                after_seconds=int(RETRY_SECONDS),
            )

    async def _refresh(self) -> None:
        self._began_at = self._reactor.seconds()
        fetching = Deferred.fromCoroutine(self._fetch())
        try:
            await within(TIMEOUT_SECONDS, self._reactor, fetching, _Late)
        except Exception as error:
            if not self.running:
                raise CancelledError from None  # by `stopService`
            self._not_fetched(error)
            self._later.request(RETRY_SECONDS)
        else:
            self._fetched()
            self._later.request()

    async def _fetch(self) -> None:
        # Where the key set is, is what the configuration says, and nobody else.
        response = await self._client.get(self._url, unbuffered=True, allow_redirects=False)
        if response.code != 200:
            raise ValueError(f"status {response.code}")
        received = bytearray()

        def collect(data: bytes) -> None:
            received.extend(data)
            if len(received) > MAX_SET_BYTES:
                raise ValueError(f"more than {MAX_SET_BYTES} bytes")

        await treq.collect(response, collect)
        if not received.strip().startswith(b"{"):
            raise ValueError("not a JSON Web Key Set")
        self._verifier.replace_fetched(load_keys(bytes(received)))
        self._is_there = True

    def _fetched(self) -> None:
        if self._failed is not False:
            again = " again" if self._failed else ""
            log.info(
                "The key set {url} was fetched{again}",
                url=self._shown_url,
                again=again,
                event="jwks.fetched",
            )
        self._failed = False

    def _not_fetched(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            log.error(
                "The key set {url} cannot be fetched: {reason}. The earlier keys stay valid.",
                url=self._shown_url,
                reason=shortened(str(error) or type(error).__name__),
                event="jwks.unreachable",
            )


def _log_failure(failure: Failure) -> None:
    log.failure("The key set could not be refreshed", failure, event="jwks.refresh_failed")

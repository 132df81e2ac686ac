"""One supervised connection to Redis.

Twisted's `ClientService` connects and retries forever. This adds what a half-open or paused server
needs: a PING when no other command was sent, and the end of a connection on which a command waits
too long (answers come in order, so one late answer means that all are late). A caller never waits
for a connection: without one it gets an error at once.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar, cast

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from push.redis.connection.availability import Availability
from push.redis.connection.errors import NoMaster, StoreUnavailable, UnsuitableServer
from push.redis.connection.protocols import CommandProtocol, RedisProtocol, SubscriberProtocol
from push.redis.connection.url import RedisAddress
from push.runtime.ports import ClientEndpoint, Clock, TrustRoot, as_twisted
from push.runtime.timers import Periodic

log = Logger()

P = TypeVar("P", CommandProtocol, SubscriberProtocol)
P_co = TypeVar("P_co", covariant=True)

CHECK_SECONDS = 0.25
PING_SECONDS = 5.0
_retry_delay_seconds = backoffPolicy(
    initialDelay=0.05, maxDelay=2.0, factor=1.6, jitter=lambda: random.uniform(0, 0.05)
)


# Returns where to connect, at each attempt. Raises `NoMaster` when that is unknown.
Locate = Callable[[], Awaitable[RedisAddress]]


def endpoint_of(
    address: RedisAddress,
    reactor: Clock,
    timeout_seconds: float,
    trust_root: TrustRoot | None = None,
) -> ClientEndpoint:
    """The stream client endpoint for `address`.

    A TLS server's name is verified by `trust_root`, by default by what the system trusts.
    """
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout=timeout_seconds)
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=timeout_seconds)
    if not address.tls:
        return endpoint
    options = optionsForClientTLS(address.host, trustRoot=trust_root)
    wrapped: ClientEndpoint = wrapClientTLS(options, cast(IStreamClientEndpoint, endpoint))
    return wrapped


@implementer(IStreamClientEndpoint)
class _AttemptEndpoint:
    """An endpoint whose every attempt is made by `attempt`."""

    def __init__(self, attempt: Callable[[Factory], Coroutine[Any, Any, Any]]) -> None:
        self._attempt = attempt

    def connect(self, factory: Factory) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._attempt(factory))


class ProtocolFactory(Factory):
    """Builds our protocols."""

    noisy = False

    def __init__(self, build: Callable[[], RedisProtocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> RedisProtocol:
        protocol = self._build()
        protocol.factory = self
        return protocol


def explained(error: Exception, protocol: RedisProtocol) -> Exception:
    """`error` of a call, or what ended its connection, if that is known."""
    return ConnectionError(protocol.end_reason) if protocol.end_reason else error


async def greet(protocol: RedisProtocol, address: RedisAddress) -> None:
    """Log in, and choose the database."""
    if address.password is not None:
        names = () if address.username is None else (address.username,)
        await protocol.call("AUTH", *names, address.password)
    if address.database:
        await protocol.call("SELECT", address.database)


class _Proxy(Protocol[P_co]):
    """What `ClientService` hands out in place of a protocol."""

    @property
    def itself(self) -> P_co: ...


class SupervisedConnection(Generic[P]):
    """Keeps one connection of one kind to the server that `locate` names, asked at each attempt.

    `build(on_lost)` makes the protocol, `prepare(protocol)` what it needs before use (scripts,
    subscriptions); `on_up` and `on_down` are called when that changes. `protocol` is None while it
    is down; `where` is the server of the last attempt. `name` is for people. The connections of one
    server share its `availability`, which writes the log.
    """

    def __init__(
        self,
        reactor: Clock,
        locate: Locate,
        build: Callable[[Callable[[RedisProtocol], None]], P],
        prepare: Callable[[P], Awaitable[None]],
        *,
        name: str,
        purpose: str,
        timeout_seconds: float,
        availability: Availability,
        trust_root: TrustRoot | None = None,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        self.protocol: P | None = None
        self.where: RedisAddress | None = None
        self.problem = f"Redis at {name} is unreachable: not connected yet"
        self._reactor = reactor
        self._locate = locate
        self._prepare: Callable[[P], Awaitable[None]] = prepare
        self._name = name
        self._purpose = purpose
        self._timeout_seconds = timeout_seconds
        self._trust_root = trust_root
        self._on_up = on_up
        self._on_down = on_down
        self._attempt: Deferred[Any] | None = None
        self._current: P | None = None
        self._asked_ping_at = reactor.seconds()
        self._stopping = False
        self._availability = availability
        self._attempts = 0
        self._cut: Exception | None = None  # why we ended the current connection, if it was us
        self._watch = Periodic(reactor, CHECK_SECONDS, self._check, _log_failure)
        self._service = ClientService(
            # mypy does not see that a class implements one of zope's interfaces.
            cast(IStreamClientEndpoint, _AttemptEndpoint(self._connect)),
            cast(IProtocolFactory, ProtocolFactory(lambda: build(self._lost))),
            retryPolicy=self._retry_delay_seconds,
            clock=as_twisted(reactor),
            prepareConnection=self._begin,
        )

    def start(self) -> None:
        self._stopping = False
        self._service.startService()
        self._watch.start()

    async def stop(self) -> None:
        """End the connection; calls that wait fail."""
        self._stopping = True
        self._watch.stop()
        stopped = self._service.stopService()
        if self._current is not None and self._current.transport is not None:
            self._current.transport.abortConnection()
        await stopped

    def require(self) -> P:
        """The connection, or `StoreUnavailable` at once."""
        if self.protocol is None:
            raise StoreUnavailable(self.problem)
        return self.protocol

    def rebuild(self, reason: str | UnsuitableServer) -> None:
        """End the connection, or the attempt at one, that cannot be trusted; another is made."""
        if self._attempt is not None:
            self._attempt.cancel()
        if self._current is not None and self._current.transport is not None:
            self._cut = reason if isinstance(reason, Exception) else ConnectionError(reason)
            self._current.transport.abortConnection()

    def _retry_delay_seconds(self, _attempt: int) -> float:
        """Counts attempts since the connection was last ready, not since it was last made."""
        self._attempts += 1
        return _retry_delay_seconds(self._attempts)

    async def _connect(self, factory: Factory) -> object:
        """An attempt. `ClientService` keeps its failure to itself: it is noted here."""
        try:
            self.where = await self._locate()
            endpoint = endpoint_of(
                self.where, self._reactor, self._timeout_seconds, self._trust_root
            )
            self._attempt = endpoint.connect(factory)
            return await self._attempt
        except Exception as error:
            self._note_failure(error)
            raise
        finally:
            self._attempt = None

    def _begin(self, proxy: _Proxy[P]) -> None:
        """Make a new connection ready.

        `ClientService` does not wait for that: it has no state for a connection that is lost while
        it is prepared, and logs an error then.
        """
        protocol = proxy.itself
        self._current = protocol
        self._cut = None
        making = Deferred.fromCoroutine(self._make_ready(protocol))
        making.addErrback(_log_failure)

    async def _make_ready(self, protocol: P) -> None:
        try:
            assert self.where is not None
            await greet(protocol, self.where)
            await self._prepare(protocol)
        except Exception as error:
            self._note_failure(self._cut or explained(error, protocol))
            if protocol.transport is not None:
                protocol.transport.abortConnection()
            return
        self._attempts = 0
        self.protocol = protocol
        self._availability.up(self._purpose)
        self._on_up()

    def _lost(self, protocol: RedisProtocol) -> None:
        if protocol is not self._current:
            return
        self._current = None
        was_up = self.protocol is not None
        self.protocol = None
        self._on_down()
        if was_up:
            self._note_failure(self._cut or ConnectionError("the connection was lost"))

    def _note_failure(self, error: Exception) -> None:
        """Keep it for callers, and for the log."""
        what = "cannot be used" if isinstance(error, UnsuitableServer) else "is unreachable"
        reason = (str(error) or type(error).__name__).rstrip(".")
        self.problem = f"Redis at {self._name} {what}: {reason}"
        if self._stopping or isinstance(error, NoMaster | CancelledError):
            return
        self._availability.down(
            self._purpose, what, reason, unfit=isinstance(error, UnsuitableServer)
        )

    def _check(self) -> None:
        current = self._current
        if current is None:
            return
        waited = current.waiting_seconds()
        if waited > self._timeout_seconds:
            self.rebuild(f"no answer within {self._timeout_seconds:g} s")
            return
        now = self._reactor.seconds()
        if self.protocol is not None and now - self._asked_ping_at >= PING_SECONDS:
            self._asked_ping_at = now
            if not current.unanswered:
                # Its failure is the connection's end, which is noticed where it ends.
                current.call("PING").addErrback(lambda _: None)


def _log_failure(failure: Failure) -> None:
    log.failure("A connection to Redis could not be kept", failure, event="redis.connection_failed")

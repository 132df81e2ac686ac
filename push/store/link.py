"""One supervised connection to Redis.

Twisted's `ClientService` connects and retries for ever; this adds what a half-open or paused server
needs: a PING when nothing else was asked, and the end of a connection on which a command waits too
long (answers come in order, so one late answer means that all are late). A caller never waits for a
connection that is not there: it is told at once.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from push.store.address import RedisAddress
from push.store.connection import CommandProtocol, Speaker, SubscriberProtocol
from push.store.errors import StoreUnavailable

log = Logger()

P = TypeVar("P", CommandProtocol, SubscriberProtocol)

CHECK_SECONDS = 0.25
PING_SECONDS = 5.0
_retry_delay_seconds = backoffPolicy(
    initialDelay=0.05, maxDelay=2.0, factor=1.6, jitter=lambda: random.uniform(0, 0.05)
)


def endpoint_of(address: RedisAddress, reactor: Any, timeout_seconds: float) -> Any:
    """The stream client endpoint for `address`; a TLS server's name is verified."""
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout=timeout_seconds)
    endpoint: Any = HostnameEndpoint(reactor, address.host, address.port, timeout=timeout_seconds)
    if address.tls:
        return wrapClientTLS(optionsForClientTLS(address.host), endpoint)
    return endpoint


@implementer(IStreamClientEndpoint)
class _NotedEndpoint:
    """An endpoint whose failures are told to `failed`, which `ClientService` keeps to itself."""

    def __init__(self, endpoint: Any, failed: Callable[[str], None]) -> None:
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, factory: Factory) -> Deferred[Any]:
        attempt: Deferred[Any] = self._endpoint.connect(factory)

        def note(failure: Any) -> Any:
            self._failed(failure.getErrorMessage() or failure.type.__name__)
            return failure

        return attempt.addErrback(note)


class _SpeakerFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], Speaker]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = self._build()
        protocol.factory = self
        return protocol


class Link(Generic[P]):
    """Keeps one connection of one kind to one server.

    `build(on_lost)` makes the protocol, `prepare(protocol)` what it needs before use (scripts,
    subscriptions); `on_up` and `on_down` are told of changes. `speaker` is None while down.
    """

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        build: Callable[[Callable[[Speaker], None]], P],
        prepare: Callable[[P], Awaitable[None]],
        *,
        purpose: str,
        timeout_seconds: float,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        self.speaker: P | None = None
        self.reason = "not connected yet"
        self._reactor = reactor
        self._address = address
        self._prepare: Callable[[P], Awaitable[None]] = prepare
        self._purpose = purpose
        self._timeout_seconds = timeout_seconds
        self._on_up = on_up
        self._on_down = on_down
        self._current: P | None = None
        self._asked_ping_at = reactor.seconds()
        self._stopping = False
        self._told = False
        self._attempts = 0
        self._cut_reason = ""  # why we ended the current connection, if it was us
        self._watch = LoopingCall(self._check)
        self._watch.clock = reactor
        # Any: what zope's interfaces promise is not known to mypy.
        endpoint: Any = _NotedEndpoint(
            endpoint_of(address, reactor, timeout_seconds), self._note_failure
        )
        factory: Any = _SpeakerFactory(lambda: build(self._lost))
        self._service = ClientService(
            endpoint,
            factory,
            retryPolicy=self._retry_delay_seconds,
            clock=reactor,
            prepareConnection=self._begin,
        )

    def start(self) -> None:
        self._stopping = False
        self._service.startService()
        self._watch.start(CHECK_SECONDS, now=False)

    async def stop(self) -> None:
        """End the connection; calls that wait fail."""
        self._stopping = True
        if self._watch.running:
            self._watch.stop()
        stopped = self._service.stopService()
        if self._current is not None and self._current.transport is not None:
            self._current.transport.abortConnection()
        await stopped

    def require(self) -> P:
        """The connection, or `StoreUnavailable` at once."""
        if self.speaker is None:
            raise StoreUnavailable(f"Redis at {self._address} is away: {self.reason}")
        return self.speaker

    def rebuild(self, reason: str) -> None:
        """End the connection because it cannot be trusted; another is made."""
        if self._current is not None and self._current.transport is not None:
            self._cut_reason = reason
            self._current.transport.abortConnection()

    def _retry_delay_seconds(self, _attempt: int) -> float:
        """Counts attempts since the connection was last ready, not since it was last made."""
        self._attempts += 1
        return _retry_delay_seconds(self._attempts)

    def _begin(self, proxy: Any) -> None:
        """Make a new connection ready.

        `ClientService` does not wait for that: it has no state for a connection that is lost while
        it is prepared, and logs an error then.
        """
        protocol: P = proxy.itself
        self._current = protocol
        self._cut_reason = ""
        making = Deferred.fromCoroutine(self._make_ready(protocol))
        making.addErrback(lambda failure: log.failure("After a reconnect to Redis", failure))

    async def _make_ready(self, protocol: P) -> None:
        address = self._address
        try:
            if address.password is not None:
                names = () if address.username is None else (address.username,)
                await protocol.call("AUTH", *names, address.password)
            if address.database:
                await protocol.call("SELECT", address.database)
            await self._prepare(protocol)
        except Exception as error:
            self._note_failure(self._cut_reason or str(error))
            if protocol.transport is not None:
                protocol.transport.abortConnection()
            return
        if self._told:
            log.info("Redis at {address} is back ({purpose})", **self._names())
        self._told = False
        self._attempts = 0
        self.speaker = protocol
        self._on_up()

    def _lost(self, protocol: Speaker) -> None:
        if protocol is not self._current:
            return
        self._current = None
        was_up = self.speaker is not None
        self.speaker = None
        self._on_down()
        if was_up:
            self._note_failure(self._cut_reason or "the connection was lost")

    def _note_failure(self, reason: str) -> None:
        self.reason = reason
        if not self._told and not self._stopping:
            self._told = True
            log.error(
                "Redis at {address} is away ({purpose}): {reason}. Trying again until it is back.",
                reason=reason,
                **self._names(),
            )

    def _names(self) -> dict[str, str]:
        return {"address": str(self._address), "purpose": self._purpose}

    def _check(self) -> None:
        current = self._current
        if current is None:
            return
        waited = current.waiting_seconds()
        if waited > self._timeout_seconds:
            self.rebuild(f"no answer within {self._timeout_seconds:g} s")
            return
        now = self._reactor.seconds()
        if self.speaker is not None and now - self._asked_ping_at >= PING_SECONDS:
            self._asked_ping_at = now
            if not current.unanswered:
                # Its failure is the connection's end, which is noticed where it ends.
                current.call("PING").addErrback(lambda _: None)

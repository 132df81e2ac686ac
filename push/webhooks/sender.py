"""One attempt to send an event by HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any, NamedTuple, cast
from typing import Protocol as Port
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HostnameCachingHTTPSPolicy,
    HTTPConnectionPool,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from push import __version__
from push.redis.connection.protocols import end_reason
from push.runtime.http_client import make_pool
from push.runtime.ports import Clock, Reactor, TrustRoot
from push.runtime.tasks import within
from push.webhooks.resolver import PublicReactor
from push.wire.errors import shortened

MAX_ANSWER_BYTES = 64 * 1024  # more of an answer is not read
MAX_ERROR_CHARACTERS = 200
MAX_RETRY_AFTER_SECONDS = 86_400
TRUST_SECONDS = 600
TRUST_OF_HOSTS = 20  # that were connected to last
IDLE_SECONDS = 1  # a connection is kept for: less than servers keep theirs
_SECONDS = re.compile(r"[0-9]{1,9}")


class Answer(NamedTuple):
    """`status` None: there was none, `error` says why."""

    status: int | None
    error: str = ""
    retry_after_seconds: int | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class EndpointAnswer(Port):
    """Of an agent (an `IResponse`)."""

    code: int
    headers: Headers

    def deliverBody(self, reader: Protocol, /) -> None: ...


class Consumer(Port):
    """Takes a body (an `IConsumer`)."""

    def write(self, data: bytes, /) -> None: ...


@implementer(IPolicyForHTTPS)
class KeptTrust:
    """Certificates are verified by what the system trusts, as it is every `TRUST_SECONDS`: to read
    it takes tens of milliseconds and a megabyte, too much for each connection."""

    def __init__(self, clock: Clock, trust_root: TrustRoot | None) -> None:
        self._clock = clock
        self._trust_root = trust_root
        self._until = -inf
        self._policy: HostnameCachingHTTPSPolicy

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        now = self._clock.seconds()
        if now >= self._until:
            self._until = now + TRUST_SECONDS
            read = cast(IPolicyForHTTPS, BrowserLikePolicyForHTTPS(self._trust_root))
            self._policy = HostnameCachingHTTPSPolicy(read, TRUST_OF_HOSTS)
        creator: IOpenSSLClientConnectionCreator = self._policy.creatorForNetloc(hostname, port)
        return creator


class EventSender:
    """POSTs to endpoints. Redirects are not followed. `timeout_seconds` bounds an attempt in all.

    `now_s()`: seconds since 1970 UTC, for a `Retry-After` that is a date. `trust_root`: what
    certificates of endpoints that may be private are verified by; None: what the system trusts,
    as for all others.
    """

    def __init__(
        self,
        reactor: Reactor,
        timeout_seconds: float,
        concurrency: int,
        now_s: Callable[[], float],
        trust_root: TrustRoot | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeout_seconds = timeout_seconds
        self._now_s = now_s
        self._pools: list[HTTPConnectionPool] = []
        public = PublicReactor(reactor)
        self._refused = public.nameResolver.refused
        self._public_agent = self._make_agent(public, concurrency, None)
        self._agent = self._make_agent(reactor, concurrency, trust_root)

    def _make_agent(self, reactor: object, concurrency: int, trust_root: TrustRoot | None) -> Agent:
        pool = make_pool(reactor, persistent=True)
        pool.maxPersistentPerHost = concurrency
        pool.cachedConnectionTimeout = IDLE_SECONDS
        pool.retryAutomatically = False  # a POST is made again by the outbox
        self._pools.append(pool)
        policy = KeptTrust(self._reactor, trust_root)
        return Agent(reactor, policy, connectTimeout=self._timeout_seconds, pool=pool)

    async def stop(self) -> None:
        for pool in self._pools:
            await pool.closeCachedConnections()

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, public: bool
    ) -> Answer:
        """`public`: only to an address that is. Raises nothing but `CancelledError`."""
        agent = self._public_agent if public else self._agent
        sending = Deferred.fromCoroutine(self._send(agent, url, headers, body))
        try:
            return await within(self._timeout_seconds, self._reactor, sending, _NoAnswer)
        except _NoAnswer:
            return Answer(None, f"no answer within {self._timeout_seconds:g} s")
        except CancelledError:
            raise
        except Exception as error:
            return Answer(None, self._reason(url, error))

    async def _send(
        self, agent: Agent, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        fields = Headers(
            {
                b"content-type": [b"application/json"],
                b"user-agent": [f"push-universe/{__version__}".encode()],
                **{name.encode(): [value.encode()] for name, value in headers.items()},
            }
        )
        response: EndpointAnswer = await agent.request(
            b"POST", url.encode(), fields, cast(IBodyProducer, _BodyProducer(body))
        )
        await _read_some(response)
        after: bytes = response.headers.getRawHeaders(b"retry-after", [b""])[0]
        return Answer(response.code, "", self._retry_after(after.decode("latin-1")))

    def _retry_after(self, text: str) -> int | None:
        """Of a header `Retry-After`: seconds, or a date."""
        if _SECONDS.fullmatch(text):
            return min(int(text), MAX_RETRY_AFTER_SECONDS)
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = at.timestamp() - self._now_s()
        return max(0, min(round(seconds), MAX_RETRY_AFTER_SECONDS))

    def _reason(self, url: str, error: Exception) -> str:
        host = urlsplit(url).hostname or ""
        if isinstance(error, DNSLookupError) and host in self._refused:
            return f"{host} is at {self._refused.pop(host)}, which is not a public address"
        return shortened(_reason(error), MAX_ERROR_CHARACTERS)


class _NoAnswer(Exception):
    pass


def _reason(error: BaseException) -> str:
    """Why there was no answer, for an operator: none of the names that Twisted has for it."""
    if not isinstance(error, ResponseFailed):
        return str(error) or type(error).__name__
    inner: Failure = error.reasons[0]
    if inner.check(ConnectionDone, ConnectionLost):
        is_cut = not isinstance(error, ResponseNeverReceived)
        return "the connection ended " + (
            "in the middle of the answer" if is_cut else "before an answer"
        )
    return end_reason(inner) or "what came is no answer of HTTP/1.1"


async def _read_some(response: EndpointAnswer) -> None:
    """An answer is read so that its connection can be used again; nothing in it matters."""
    done: Deferred[None] = Deferred()
    reader = _Discard(done)
    done.addErrback(lambda _: None)
    response.deliverBody(reader)
    await done


class _Discard(Protocol):
    def __init__(self, done: Deferred[None]) -> None:
        self._done: Deferred[None] | None = done
        self._received = 0

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_ANSWER_BYTES:
            self._finish()
            transport: Any = self.transport
            transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._finish()

    def _finish(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)


@implementer(IBodyProducer)
class _BodyProducer:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Consumer) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        consumer.write(self._body)
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """All of it was written at once."""

    def resumeProducing(self) -> None:
        """As well."""

    def stopProducing(self) -> None:
        """As well."""

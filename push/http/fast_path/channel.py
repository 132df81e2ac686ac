"""Connections of HTTP whose plain requests to the busiest routes take the fast path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from time import time
from typing import cast

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.server import version

from push.http.edge.connection_limits import ConnectionLimits
from push.http.fast_path.plain_request import PlainReader, PlainRequest
from push.http.framework.access import NO_PATH
from push.http.framework.middleware import Routing
from push.http.framework.port import HttpTransport, Producer
from push.http.framework.route import Endpoint, Response
from push.http.framework.site import REQUEST_SECONDS, LimitedChannel, LimitedSite, TakeStream
from push.runtime.ports import Reactor
from push.runtime.tasks import start
from push.runtime.turns import WorkOwner
from push.wire.addresses import Networks
from push.wire.errors import RequestError

_log = Logger()

_SERVER = b"Server: " + version


class FastPathChannel(LimitedChannel):
    """A connection. `_plain_request` is the plain request that is being answered."""

    site: FastPathSite
    _plain_request: PlainRequest | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._plain_request is not None:
            self._keep_for_later(data)
            return
        site = self.site
        request = None if self._has_more_to_do else site.reader.read(data, self)
        if request is None or (
            request.route.has_large_body
            and not site.routing.access.may_be_read(request.route, request)
        ):
            super().dataReceived(data)
            return
        work_owner = self.sender.begin_request(request)
        try:
            site.connection_limits.hold_body(self, len(request.body))
        except RequestError as refusal:
            self._refuse(refusal)
            return
        self._plain_request = request
        self._handlingRequest = True
        site.connection_limits.note_working(self)
        site.turns.work(work_owner, lambda: start(self._answer(request, work_owner), self._failed))

    @property
    def _has_more_to_do(self) -> bool:
        """Something is left of what came before, or of what is to be sent."""
        if self._receiving or self.requests or self._busyReceiving or self._buffer:
            return True
        return self._waitingForTransport or not self.persistent

    def getPeer(self) -> IAddress:
        return self.sender.peer

    def _keep_for_later(self, data: bytes) -> None:
        """The next request, which is read when this one was answered."""
        self._dataBuffer.append(data)
        if sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize:
            cast(Producer, self._networkProducer).pauseProducing()

    def timeoutConnection(self) -> None:
        if self._plain_request is None:
            super().timeoutConnection()
        else:
            self.setTimeout(REQUEST_SECONDS)  # it is not the client who is waited for

    async def _answer(self, request: PlainRequest, work_owner: WorkOwner) -> None:
        if self._plain_request is not request:
            return  # the client has gone while this waited for its turn
        site = self.site
        answer = await site.routing.run(request.route, request, NO_PATH, request.body)
        # Many are answered by Redis at once: what follows takes time as well.
        site.turns.work(work_owner, partial(self._send_or_abort, request, answer))

    def _send_or_abort(self, request: PlainRequest, answer: Response) -> None:
        if self._plain_request is not request:
            return  # or meanwhile
        try:
            self._send(answer)
        except Exception:
            self._failed(Failure())

    def _send(self, answer: Response) -> None:
        self._plain_request = None
        self._handlingRequest = False
        data = _bytes_of(answer)
        if isinstance(self.transport, HttpTransport):
            self.transport.write_now(data)
        else:
            self.transport.write(data)
        self.setTimeout(REQUEST_SECONDS)
        connection_limits = self.site.connection_limits
        connection_limits.release_body(self)
        connection_limits.note_waiting(self)
        if self._waitingForTransport:
            connection_limits.note_unread(self, len(answer.body))
        else:
            self._go_on()

    def _failed(self, failure: Failure) -> None:
        _log.failure("a request was not answered", failure, event="http.answer_failed")
        self.transport.abortConnection()

    def _go_on(self) -> None:
        """With what came meanwhile."""
        if self._plain_request is None and self._dataBuffer and not self._handlingRequest:
            data, self._dataBuffer = b"".join(self._dataBuffer), []
            cast(Producer, self._networkProducer).resumeProducing()
            self.dataReceived(data)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._plain_request = None
        super().connectionLost(reason)


def _bytes_of(answer: Response) -> bytes:
    """As twisted.web sends it."""
    begin = _begin_of_head(answer.status, answer.content_type, int(time()))
    head = b"%b%d" % (begin, len(answer.body))
    for header in answer.headers:
        head += b"\r\n%b: %b" % header
    return b"%b\r\n\r\n%b" % (head, answer.body)


@lru_cache(16)
def _begin_of_head(status: int, content_type: bytes, second: int) -> bytes:
    """Up to the length of the body."""
    reason, date = Response(status).reason, datetimeToString(second)
    lines = (b"HTTP/1.1 %d %b" % (status, reason), _SERVER, b"Date: %b" % date)
    return b"\r\n".join(lines) + b"\r\nContent-Type: %b\r\nContent-Length: " % content_type


class FastPathSite(LimitedSite):
    """A site with the `routes` of `routing`; plain requests to the `fast_path` ones take it."""

    protocol = FastPathChannel

    def __init__(
        self,
        reactor: Reactor,
        routes: Sequence[Endpoint],
        routing: Routing,
        connection_limits: ConnectionLimits,
        trusted_proxies: Networks | None = None,
        take_stream: TakeStream | None = None,
    ) -> None:
        access = routing.access
        super().__init__(
            reactor,
            routing.resource(),
            access.admit,
            access.owner_of,
            access.owner_of_key,
            connection_limits,
            trusted_proxies,
            take_stream,
        )
        self.reader = PlainReader(routes)
        self.routing = routing

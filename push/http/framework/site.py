"""The server side of HTTP below the apps: how much a client may send, and how long it may take.

twisted.web buffers a body of any size and gives a client 60 s after every byte. Here a body is
refused as soon as it is known to be too large, and a request must be there as a whole in 60 s from
its first byte, its head in 10 s. A refusal in the middle of a request is answered at once and ends
our side of the connection; what still comes is thrown away for two seconds, so that a client which
is busy sending gets to read the answer.

Pipelined requests are served one at a time, and each in its turn (`port.py`). While answers wait
because the client does not read them, its next request waits as well, and then its connection is
not read any more. What all connections hold together is limited as well (`connection_limits.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, cast

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from push.http.edge.cheap_timeout import CheapTimeout
from push.http.edge.connection_limits import ConnectionLimits
from push.http.edge.early_caller import EarlyCaller
from push.http.framework.bodies import BodyAdmission, ChunkDecoder, admission_of
from push.http.framework.client_address import client_of
from push.http.framework.framing import (
    check_header,
    check_host,
    closes,
    malformed,
    target_of,
)
from push.http.framework.port import OwnerOf, Producer, RequestSender, Transport
from push.http.framework.problems import internal_answer, refusal_answer
from push.http.framework.route import closing_bytes
from push.runtime.ports import Reactor, as_twisted
from push.runtime.turns import Turns
from push.wire.addresses import Networks
from push.wire.errors import RequestError, shortened
from push.wire.event_stream.request import RequestHead, is_stream

REQUEST_SECONDS = 60
HEAD_SECONDS = 10  # of these, for the request line and the headers

# Takes over a connection that has brought this request, of a client at that address:
# `take(transport, head, ip)`.
TakeStream = Callable[[object, RequestHead, str], None]
# `admit(path, request)`, whose headers are there; raises `RequestError` for no body at all.
Admit = Callable[[bytes, Request], BodyAdmission]


class LimitedRequest(Request):
    """A request whose body is kept in memory up to its limit, never in a temporary file."""

    _admission = admission_of(0)
    _body: BytesIO
    _target: bytes  # path and query

    def gotLength(self, length: int | None) -> None:
        """`length` is None for a body in chunks."""
        self.content = self._body = BytesIO()
        if length == 0:
            return
        channel = self.channel
        assert isinstance(channel, LimitedChannel)
        self.client = channel.getPeer()  # the base class sets it when the body is there
        self._admission = channel.site.admit(channel.path, self)
        channel.sender.recognise(self)
        if length is not None:
            self._announced(length)

    def _announced(self, size: int) -> None:
        """So much more is about to come."""
        if self._body.tell() + size > self._admission.max_bytes:
            raise self._admission.refusal()
        channel = self.channel
        assert isinstance(channel, LimitedChannel)
        channel.site.connection_limits.hold_body(channel, size)

    def chunk_announced(self, size: int) -> None:
        """The size of a chunk was read, and nothing of the chunk."""
        self._announced(size)

    def handleContentChunk(self, data: bytes) -> None:
        """Of a body of any kind; its size was checked when it was announced."""
        self._body.write(data)

    def drop_body(self) -> None:
        """What came of it is not wanted; nothing more is handed on."""
        self.content = self._body = BytesIO()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is there as a whole: it is answered when it is its turn."""
        channel = self.channel
        assert isinstance(channel, LimitedChannel)
        owner = channel.sender.begin_request(self)
        channel.site.connection_limits.note_working(channel, command)
        answer = partial(self._answer, channel, command, path, version)
        channel.site.turns.work(owner, answer, at_once=not channel.has_served)

    def _answer(self, channel: LimitedChannel, command: bytes, path: bytes, version: bytes) -> None:
        if not self._disconnected:  # meanwhile
            channel.has_served = True
            self._target = path
            # The base class would read all parameters of the query, of which it may have thousands.
            super().requestReceived(command, path.partition(b"?")[0], version)
            channel.served()

    def process(self) -> None:
        self.uri = self._target
        super().process()

    def parseCookies(self) -> None:
        """There are none here."""

    def __repr__(self) -> str:
        """For lines of twisted.web in the log, which quote all of it."""
        return f"<{shortened(repr(self.method), 32)} {shortened(repr(self.uri), 128)}>"

    def processingFailed(self, reason: Failure) -> Failure:
        """The net below the net: not even this answers with HTML or a traceback."""
        self._log.failure("a request was not answered", failure=reason, event="http.answer_failed")
        if self.startedWriting:
            self.loseConnection()
            return reason
        answer = internal_answer()
        self.setResponseCode(answer.status)
        self.setHeader(b"Content-Type", answer.content_type)
        self.setHeader(b"Content-Length", b"%d" % len(answer.body))
        self.write(answer.body)
        self.finish()
        return reason


class LimitedChannel(CheapTimeout, HTTPChannel):
    """A connection. Its time-out is the deadline of the request that comes in, or idle time."""

    site: LimitedSite
    sender: RequestSender
    has_served = False  # in this turn: what was read may hold the next request
    # mypy does not see that a class provides an interface of zope.
    transport: Transport  # type: ignore[assignment]
    _receiving = False
    _received_at = 0.0  # the first byte of the request
    _refused = False
    _unwritten: Request | None = None  # the request whose answer waits for the client to read
    # Of the request that comes in; set by the base class, deleted at its end.
    _command: bytes
    _path: bytes  # type: ignore[assignment]  # the base class assigns a name of two types
    _version: bytes

    @property
    def path(self) -> bytes:
        """Of the request whose headers were just read; the request itself learns it at its end."""
        path: bytes = self._path.partition(b"?")[0]
        return path

    @property
    def has_key(self) -> bool:
        return self.sender.work_owner.is_known

    def note_streaming(self) -> None:
        self.site.connection_limits.note_streaming(self)

    def resetTimeout(self) -> None:
        """Called for everything that comes in; time starts again only at a request's first byte."""
        if not self._receiving:
            self._receiving = True
            self._received_at = self.site.clock.seconds()
            self.setTimeout(HEAD_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.served()
        # The base class has removed all complete lines (unless this is a call from within), so a
        # line feed that is left ends no line of HTTP.
        if self.line_mode and not self._busyReceiving and b"\n" in self._buffer:
            self._refuse(malformed("a line must end with CR and LF"))

    def served(self) -> None:
        if not self._busyReceiving:  # else the rest of what was received comes next
            self.has_served = False

    def lineReceived(self, line: bytes) -> None:
        if not line and not hasattr(self, "_command"):
            return  # RFC 9112 2.2; the base class takes one such line
        if b"\n" in line:
            self._refuse(malformed("a line must end with CR and LF"))
            return
        if line[:1] in (b" ", b"\t"):
            self._refuse(malformed("a line begins with white space"))
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(malformed(f"a line is longer than {self.MAX_LENGTH:,} bytes"))

    def headerReceived(self, line: bytes) -> bool:
        """A header that is complete; whether the request goes on."""
        return super().headerReceived(line) and not self._refused

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        """Called by the base class with each header, for those that tell where the body ends."""
        try:
            data = check_header(header, data, self._version)
        except RequestError as refusal:
            self._refuse(refusal)
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        if chosen and isinstance(self._transferDecoder, _ChunkedTransferDecoder):
            self._transferDecoder = ChunkDecoder(self.requests[-1], self._finishRequestBody)
        return chosen

    def allHeadersReceived(self) -> None:
        try:
            check_host(self.requests[-1].requestHeaders, self._version)
            self._path = target_of(self._command, self._path)
            take_stream = self.site.take_stream
            if take_stream is not None and is_stream(self._path):
                self._give_stream(take_stream)
                return
            super().allHeadersReceived()
            passed = self.site.clock.seconds() - self._received_at
            self.setTimeout(max(REQUEST_SECONDS - passed, 0))
        except RequestError as refusal:
            self._refuse(refusal)

    def _give_stream(self, take: TakeStream) -> None:
        """The answer is a stream of events: the connection is not HTTP's from now on."""
        request = self.requests.pop()
        client_ip = client_of(request, self.site.trusted_proxies)[0]
        headers = [
            (name.lower(), value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        self._refused = True  # nothing that comes is read here
        self.site.connection_limits.leave(self)
        self.setTimeout(None)
        self._networkProducer.unregisterProducer()
        self.dataReceived = self.lineReceived = self.rawDataReceived = _ignore  # type: ignore[method-assign,assignment]
        take(self.transport, RequestHead(self._command, self._path, headers), client_ip)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        if not closes(request.requestHeaders, version):
            return True
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def allContentReceived(self) -> None:
        """The base class calls this for a request without a body also when its head was refused."""
        if not self._refused:
            self._receiving = False
            super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """The body, or what a client sends while its request is being answered."""
        try:
            super().rawDataReceived(data)
        except RequestError as refusal:
            self._refuse(refusal)
        waiting_bytes = sum(map(len, self._dataBuffer)) if self._handlingRequest else 0
        if waiting_bytes > self._optimisticEagerReadSize:
            # The base class does not pause while the client's answers wait to be written.
            cast(Producer, self._networkProducer).pauseProducing()

    def requestDone(self, request: Request) -> None:
        """The answer was given to the transport; the next request waits until it was written."""
        self._savedTimeOut = REQUEST_SECONDS  # idle time, which the base class takes up again
        connection_limits = self.site.connection_limits
        connection_limits.release_body(self)
        connection_limits.note_waiting(self)
        if self._waitingForTransport:
            self.setTimeout(REQUEST_SECONDS)  # for a client that does not read
            connection_limits.note_unread(self, request.sentLength)
        if self._waitingForTransport and self.persistent:
            self._unwritten = request
        else:
            super().requestDone(request)

    def resumeProducing(self) -> None:
        """The transport has written what waited."""
        super().resumeProducing()
        self.site.connection_limits.note_read(self)
        request, self._unwritten = self._unwritten, None
        if request is not None:
            super().requestDone(request)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """The base class answers what is not HTTP through this, without a body."""
        self._refuse(malformed("this is not a request of HTTP/1.1"))

    def _refuse(self, refusal: RequestError) -> None:
        """Answer before the request is complete, and ignore all that still comes."""
        if self._refused:
            return
        self._refused = True
        answer = refusal_answer(refusal)
        self.sender.ignore_rest()
        self.site.connection_limits.release_body(self)
        if self.requests and not self._handlingRequest:
            cast(LimitedRequest, self.requests[-1]).drop_body()
        self.setTimeout(None)
        self.clearLineBuffer()
        self.dataReceived = self.lineReceived = self.rawDataReceived = _ignore  # type: ignore[method-assign,assignment]
        is_head = getattr(self, "_command", b"") == b"HEAD"
        self.transport.write(closing_bytes(answer, with_body=not is_head))
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self.transport.loseConnection()  # of TLS this ends our side first, and waits
        else:
            self.transport.loseWriteConnection()
        self.linger(self._close)

    def timeoutConnection(self) -> None:
        """Idle for too long, or not complete in time. Not worth a line in the log."""
        self._close()

    def _close(self) -> None:
        """In order, so that what was written arrives; by force where the client does not read."""
        self.linger(self.transport.abortConnection)
        self.loseConnection()

    def cut(self) -> None:
        """There are too many connections, and this one waits."""
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        self.sender = RequestSender(self.site.turns, self.transport, self.site.owner_of)
        self.site.connection_limits.join(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.connection_limits.leave(self)
        self._transferDecoder = None  # of a body that was cut: it holds this
        self.stop_lingering()
        super().connectionLost(reason)


def _ignore(data: bytes) -> None:
    pass


class LimitedSite(Site):
    """Serves `resource` with the limits above. No access log: the metrics count requests."""

    # Without the base class's wrapper, which only chooses between HTTP/1.1 and HTTP/2.
    protocol = LimitedChannel  # type: ignore[assignment]
    requestFactory = LimitedRequest
    noisy = False  # the daemon tells where it listens

    def __init__(
        self,
        reactor: Reactor,
        resource: Resource,
        admit: Admit,
        owner_of: OwnerOf,
        owner_of_key: Callable[[str], str],
        connection_limits: ConnectionLimits,
        trusted_proxies: Networks | None = None,
        take_stream: TakeStream | None = None,
    ) -> None:
        super().__init__(
            resource,
            reactor=as_twisted(reactor),
            timeout=REQUEST_SECONDS,
            parsePOSTFormSubmission=False,
        )
        self.admit, self.owner_of, self.connection_limits = admit, owner_of, connection_limits
        self.clock = reactor
        self.turns = Turns(reactor)
        self.early_caller = EarlyCaller(reactor, owner_of_key)
        self.trusted_proxies = trusted_proxies or Networks()
        self.take_stream = take_stream

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """None, and the connection is closed, when there are too many that are all at work."""
        return super().buildProtocol(addr) if self.connection_limits.has_room() else None

    def startFactory(self) -> None:
        """The base class opens an access log and counts seconds for it."""

    def stopFactory(self) -> None:
        pass

    def log(self, request: HTTPRequest) -> None:
        pass

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/2 has another channel, without these limits."""
        return [b"http/1.1"]

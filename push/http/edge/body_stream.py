"""A body that goes on, and the request that it is written to."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.web.server import Request

from push.runtime.turns import Work


class StreamClient(Protocol):
    """Where a stream is written to."""

    @property
    def is_behind(self) -> bool:
        """Whether what was written still waits for the client to read it."""

    def write(self, data: bytes) -> None: ...

    def end(self) -> None:
        """Nothing more is written."""

    def cut(self) -> None:
        """The client does not read: end its connection at once."""


class BodyStream(Protocol):
    """Writes a body. `stop` is called once: when the client has gone, or after `end`, also when
    the stream was never started."""

    def start(self, client: StreamClient) -> None: ...

    def stop(self) -> None: ...


class TakesTurns(Protocol):
    """Who sends requests."""

    def in_turn(self, work: Work) -> None: ...


class RequestChannel(Protocol):
    """The connection of a request."""

    @property
    def sender(self) -> TakesTurns: ...

    def cut(self) -> None: ...

    def note_streaming(self) -> None:
        """The answer goes on, for as long as the client wants."""


def channel_of(request: Request) -> RequestChannel:
    """Of our site; of a request whose client has not gone."""
    channel: RequestChannel = request.channel  # type: ignore[assignment]  # twisted.web has its own
    return channel


class _RequestClient:
    """A request whose answer goes on until `ended` fires. It is the producer of the request, which
    says when what was written waits."""

    def __init__(self, request: Request, ended: Deferred[bytes]) -> None:
        self.is_behind = False
        self._request = request
        self._ended = ended
        request.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self.is_behind = True

    def resumeProducing(self) -> None:
        self.is_behind = False

    def stopProducing(self) -> None:
        """The connection is lost; the request's owner is told, too."""

    def write(self, data: bytes) -> None:
        if not self._ended.called:
            self._request.write(data)

    def end(self) -> None:
        if not self._ended.called:
            self._request.unregisterProducer()
            self._ended.callback(b"")

    def cut(self) -> None:
        if self._request.channel is not None:
            channel_of(self._request).cut()


def write_stream(request: Request, stream: BodyStream) -> Deferred[bytes]:
    """Fires with what ends the body. Cancelled when the client has gone."""
    ended: Deferred[bytes] = Deferred(lambda _: None)

    def stopped(outcome: object) -> object:
        stream.stop()
        return outcome

    ended.addBoth(stopped)
    if request.method == b"HEAD":
        ended.callback(b"")
    else:
        channel_of(request).note_streaming()
        stream.start(_RequestClient(request, ended))
    return ended

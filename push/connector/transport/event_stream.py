"""The connection that carries the response to `GET /v1/stream`.

A message counts as written when its bytes have left this process: what the socket did not take is
handed to the transport one event after the other, so that it is known which have left when the
connection breaks. The response ends with the connection, as HTTP/1.0 has it too.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any
from typing import Protocol as Port

from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from push.connector.transport.connection import (
    ConnectionPhase,
    DeviceConnection,
    GatewayOfConnections,
)
from push.connector.transport.twisted_tls import DirectTls
from push.session.event_stream import StreamSession
from push.session.events import Ended
from push.wire.codecs.events import AGAIN_AT_ONCE
from push.wire.errors import RequestError
from push.wire.event_stream.answers import refusal
from push.wire.signals import DisconnectCode

REQUEST = b"GET"  # stands for what was read already, in the queue of newcomers
MAX_UNREAD_BYTES = 64 * 1024  # what a client may send after its request
REFUSED = "refused"
WINDOW_FULL = "window_full"


class StreamServer(Port):
    """What serves streams of events (`push.connector.event_streams`)."""

    def acknowledge_soon(self, connection: StreamConnection) -> None:
        """Look after it in the next turn: something was written, or its window is full."""

    def acknowledge_written(self, connection: StreamConnection) -> None:
        """What was written is acknowledged, and its positions are kept."""


class StreamConnection(DeviceConnection):
    """A response. `carrier`: `sse`, or `sses` with TLS."""

    protocol: StreamSession

    _held: deque[tuple[bytes, int]] | None = None  # events that wait until the transport has room
    _leaving: tuple[int, ...] = ()  # the messages that the transport has
    _last_words: bytes | None = None
    _unread_bytes = 0
    _begin: Callable[[], None] | None = None  # until its turn has come

    def __init__(
        self,
        gateway: GatewayOfConnections,
        carrier: str,
        new_protocol: Callable[[Callable[[], None]], StreamSession],
        streams: StreamServer,
        dead_after_seconds: float,
    ) -> None:
        super().__init__(gateway, carrier, new_protocol(self._acknowledge_soon))
        self._streams = streams
        self._dead_after_seconds = dead_after_seconds

    def connectionMade(self) -> None:
        """The transport was handed over with a request that was read."""
        self._secured = True
        if self.is_plain:
            tcp = self._transport
            self._send = tcp.getHandle().send
        else:
            tcp = self._transport.transport
            # It says when all has left, however little that is. (Not 0: it is also how much is read
            # at once, and to read nothing would mean that the peer has closed.)
            tcp.bufferSize = 1
            self._produces = True
            self._transport.registerProducer(self, True)
        _notice_death(tcp, self._dead_after_seconds)

    def dataReceived(self, data: bytes) -> None:
        self._unread_bytes += len(data)
        self.gateway.reads.charge(self, 1, len(data))
        if self._unread_bytes > MAX_UNREAD_BYTES and self.phase is ConnectionPhase.OPEN:
            reason = "nothing may be sent after the request"
            self.gateway.disconnect(self, DisconnectCode.BAD_FRAME, reason)

    def begin_in_turn(self, begin: Callable[[], None]) -> None:
        """Call `begin` when it is the turn of this newcomer, if its client waits so long."""
        self._begin = begin
        self.gateway.reads.received(self, REQUEST)

    def take_slice(self, data: bytes, start: int) -> int:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        return len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._begin = None
        self._streams.acknowledge_written(self)
        self._held = None
        super().connectionLost(reason)
        self.protocol.tell_nobody()

    def refuse(self, error: RequestError, *, with_body: bool) -> None:
        """Answer a request for which there can be no session."""
        self._last_words = refusal(error, with_body=with_body)
        self.gateway.abandoned(self, REFUSED, error.detail)

    def _acknowledge_soon(self) -> None:
        self._streams.acknowledge_soon(self)

    # Writing

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """Never: what is written is put together for each session."""
        return None

    def write(self, data: bytes) -> None:
        if not data or self.is_closed:
            return
        self._acknowledge_soon()
        events = deque(self.protocol.events(data))
        if not self.blocked:
            self._write(events)
        else:
            self.waiting_bytes += sum(len(text) for text, _ in events)
            if self._held:
                self._held += events
            else:
                self._held = events

    def _write(self, events: deque[tuple[bytes, int]]) -> None:
        """Of what the socket does not take, the transport gets the first event."""
        data = b"".join(text for text, _ in events)
        if self._send is None:
            self._leave(data, tuple(message_id for _, message_id in events), 0)
            return
        sent = self._sent_directly(data)
        if sent is None:
            return
        while events and len(events[0][0]) <= sent:
            text, message_id = events.popleft()
            self.protocol.written(message_id)
            sent -= len(text)
        if events:
            text, message_id = events.popleft()
            self._held = events
            self._leave(text[sent:], (message_id,), sum(len(each) for each, _ in events))

    def _sent_directly(self, data: bytes) -> int | None:
        """How many bytes the socket has taken; None: the connection is lost."""
        assert self._send is not None
        try:
            return self._send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return None  # the reactor reports the loss

    def _leave(self, rest: bytes, messages: tuple[int, ...], held_bytes: int) -> None:
        """`rest` waits in the transport until the socket takes it."""
        self._leaving = messages
        self.protocol.is_blocked = True
        self.send_later(rest)
        self.waiting_bytes += held_bytes
        if self._was_taken_at_once:
            self._left()
            self.blocked = self.protocol.is_blocked = False
            self.waiting_bytes = 0

    @property
    def _was_taken_at_once(self) -> bool:
        """TLS of devices gives the socket what it takes, and says nothing of it."""
        return isinstance(self._transport, DirectTls) and self._transport.has_sent_all

    def _left(self) -> None:
        for message_id in self._leaving:
            self.protocol.written(message_id)
        self._leaving = ()
        self._acknowledge_soon()

    def resumeProducing(self) -> None:
        """All that the transport had was sent."""
        if not self.blocked or self.is_closed:
            return
        self._left()
        while self._held:
            held = self._held
            if self._send is None:
                data, self._held = b"".join(text for text, _ in held), None
                self._leaving = tuple(message_id for _, message_id in held)
            else:
                data, message_id = held.popleft()
                self._leaving = (message_id,)
            self._transport.write(data)
            if not self._was_taken_at_once:
                return
            self._left()
        self._held = None
        self.protocol.is_blocked = False
        super().resumeProducing()

    # The end

    def end(self, ended: Ended) -> None:
        self._streams.acknowledge_written(self)
        super().end(ended)

    def farewell(self, ended: Ended) -> None:
        if self._last_words is None:
            events = self.protocol.events(self.protocol.data_to_send())
            self._last_words = b"".join(text for text, _ in events)
        if ended.code == WINDOW_FULL:
            self._last_words = AGAIN_AT_ONCE
        held = b"".join(text for text, _ in self._held or ())
        rest, self._held = held + self._last_words, None
        if self._send is not None and not self.blocked:
            rest = rest[self._sent_directly(rest) or 0 :]
        if rest:
            self._transport.write(rest)

    def closes_both_ways(self, ended: Ended) -> bool:
        """Never at once: what the client has sent beside its request would reset the connection
        before it has read the end."""
        return False


def replace_protocol(transport: Any, protocol: Protocol) -> None:
    """`protocol` gets what comes in from now on, in the place of another one."""
    name = "wrappedProtocol" if isinstance(transport, ProtocolWrapper) else "protocol"
    setattr(transport, name, protocol)
    protocol.makeConnection(transport)


def _notice_death(tcp: Any, seconds: float) -> None:
    """A peer that has vanished confirms nothing: the system ends its connection when what was sent
    is not confirmed for so long, and not after the quarter of an hour that is usual."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        handle = tcp.getHandle()
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

"""The carrier of WebSockets as an echo server, for conformance suites.

    python -m tests.connector.transport.echo_server [PORT]

The connections are the connector's; only what becomes of a message differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from push.connector.limits.counts import LimitCounts
from push.connector.limits.read_queue import ReadConnection, ReadQueue
from push.connector.limits.session_rates import Rates
from push.connector.sessions.device_session import SessionConnection
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.websocket import WebSocketConnection
from push.session.events import Event
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.wire.codecs.text import TEXT
from push.wire.signals import DisconnectCode
from push.wire.websocket.framing import (
    MESSAGE_TOO_BIG,
    encode_binary_frame,
    encode_close,
    encode_text_frame,
)
from push.wire.websocket.opening import OpeningRules
from push.wire.websocket.origins import ANY, Origins

PORT = 9001
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # Autobahn's largest are 16 MiB
RULES = OpeningRules(Origins([ANY]), path="/", sub_protocol=None)


class EchoConnection(WebSocketConnection):
    """Sends each message back. A message over the limit is answered as RFC 6455 says."""

    max_message_bytes = MAX_MESSAGE_BYTES  # type: ignore[assignment]  # of each, not of a session

    def text(self, text: bytes) -> None:
        self.texts([text])

    def texts(self, texts: Sequence[bytes]) -> None:
        self.write(b"".join(map(encode_text_frame, texts)))

    def binary(self, payload: bytes) -> None:
        self.write(encode_binary_frame(payload))

    def too_large(self, size_bytes: int) -> None:
        self._last_words = encode_close(MESSAGE_TOO_BIG)
        self.gateway.abandoned(self, DisconnectCode.FRAME_TOO_LARGE, f"{size_bytes} bytes")


class EchoReads(ReadQueue):
    """An echo has no limits: all slices at once."""

    def received(self, connection: ReadConnection, data: bytes) -> None:
        start = 0
        while start < len(data) and connection.is_read:
            start = connection.take_slice(data, start)

    def put_off(self, connection: ReadConnection) -> None: ...

    def charge(
        self, connection: ReadConnection, frames: int, size_bytes: int, now: float | None = None
    ) -> None: ...

    def check(self, connection: ReadConnection) -> None: ...


class NoSession:
    def handle(self, connection: SessionConnection, events: list[Event]) -> None:
        raise AssertionError("an echo has no session")


class EchoOwner:
    """What connections tell their owner: here only their end counts. `reactor` None: no timers."""

    def __init__(self, reactor: Any = None) -> None:
        self._reactor = reactor
        self.clock = Clock()
        self.events = NoSession()
        self.open: set[DeviceConnection] = set()
        self.reads = EchoReads(self.clock, Rates(0, 0), LimitCounts(), lambda _peer, _limit: None)

    def made(self, connection: DeviceConnection) -> None:
        self.open.add(connection)

    def drained(self, connection: DeviceConnection) -> None: ...

    def lost(self, connection: DeviceConnection) -> None:
        self.open.discard(connection)

    def linger(self, connection: DeviceConnection, seconds: float) -> None:
        if self._reactor is not None:
            self._reactor.callLater(seconds, connection.cut)

    def disconnect(self, connection: DeviceConnection, code: DisconnectCode, reason: str) -> None:
        self._end(connection, connection.protocol.disconnect(code, reason))

    def abandoned(self, connection: DeviceConnection, code: str, reason: str) -> None:
        self._end(connection, connection.protocol.abandon(code, reason))

    def _end(self, connection: DeviceConnection, events: list[Event]) -> None:
        for event in events:
            connection.end(event)  # type: ignore[arg-type]  # nothing else comes of an end


class EchoFactory(Factory):
    noisy = False

    def __init__(self, owner: EchoOwner, rules: OpeningRules = RULES, carrier: str = "ws") -> None:
        self._owner = owner
        self._rules = rules
        self._carrier = carrier

    def buildProtocol(self, addr: IAddress | None = None) -> EchoConnection:
        session = ServerSession(SessionLimits(), 0.0, TEXT)
        return EchoConnection(self._owner, self._carrier, session, self._rules)


def main() -> None:
    from twisted.internet import reactor

    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    real: Any = reactor
    real.listenTCP(port, EchoFactory(EchoOwner(real)), interface="127.0.0.1")
    real.run()


if __name__ == "__main__":
    main()

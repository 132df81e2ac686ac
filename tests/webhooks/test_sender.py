"""What an attempt says of endpoints that answer nonsense, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from push.webhooks.sender import TRUST_SECONDS, Answer, EventSender, KeptTrust

BEFORE = "the connection ended before an answer"
WITHIN = "the connection ended in the middle of the answer"
NO_HTTP = "what came is no answer of HTTP/1.1"


class Script(Protocol):
    """Says its words when the request is there, or the first word of TLS, and ends the connection.
    (Bytes that came later would reset it.)"""

    def __init__(self, words: bytes) -> None:
        self._words = words
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"{}") and self._received[:1] != b"\x16":
            return
        assert self.transport is not None
        self.transport.write(self._words)
        self.transport.loseConnection()


@pytest_twisted.async_yield_fixture
async def sender() -> AsyncIterator[EventSender]:
    from twisted.internet import reactor

    made = EventSender(reactor, 30.0, 2, lambda: 0.0)  # type: ignore[arg-type]
    yield made
    await made.stop()


async def answer(sender: EventSender, words: bytes, scheme: str = "http") -> Answer:
    from twisted.internet import reactor

    factory = Factory.forProtocol(lambda: Script(words))  # type: ignore[arg-type]
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    try:
        url = f"{scheme}://127.0.0.1:{port.getHost().port}/"
        return await sender.send(url, {}, b"{}", public=False)
    finally:
        await port.stopListening()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"", BEFORE),
        (b"HTTP/1.1 2", WITHIN),
        (b"HTTP/1.1 200 OK\r\nContent-Le", WITHIN),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", WITHIN),
        (b"SSH-2.0-server\r\n", NO_HTTP),
        (b"HTTP/2 200 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 many OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", NO_HTTP),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", NO_HTTP),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_none_is_named_in_words(
    sender: EventSender, words: bytes, reason: str
) -> None:
    assert await answer(sender, words) == Answer(None, reason)


@pytest_twisted.ensureDeferred
async def test_what_tls_refuses_is_named_in_words(sender: EventSender) -> None:
    found = await answer(sender, b"HTTP/1.1 400 Bad Request\r\n\r\n", "https")
    assert found == Answer(None, "TLS: wrong version number")


@pytest.mark.parametrize("time", ["-5", "1.5", "soon", "Fri, 31 Dec 99999 23:59:59 GMT", "\xff"])
@pytest_twisted.ensureDeferred
async def test_a_retry_after_that_is_none_leaves_the_status(sender: EventSender, time: str) -> None:
    head = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {time}\r\n\r\n"
    assert await answer(sender, head.encode("latin-1")) == Answer(503)


def test_what_the_system_trusts_is_read_now_and_then_and_not_for_each_connection() -> None:
    clock = Clock()
    trust = KeptTrust(clock, None)
    first = trust.creatorForNetloc(b"one.example", 443)
    clock.advance(TRUST_SECONDS * 0.9)
    assert trust.creatorForNetloc(b"one.example", 443) is first
    assert trust.creatorForNetloc(b"two.example", 443) is not first
    clock.advance(TRUST_SECONDS * 0.2)
    assert trust.creatorForNetloc(b"one.example", 443) is not first

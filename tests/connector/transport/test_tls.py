"""TLS around a device's connection: all comes and goes as over TCP, however it is cut."""

from __future__ import annotations

import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from push.connector.limits.counts import LimitCounts
from push.connector.limits.read_queue import PausedReading, ReadQueue
from push.connector.limits.session_rates import Rates
from push.connector.transport.records import (
    HEADER_BYTES,
    KEPT_BYTES,
    MAX_PLAIN_BYTES,
    MAX_SEALED_BYTES,
    SEALED_TOGETHER,
    WholeRecords,
    send_to_all,
    whole_records,
)
from push.connector.transport.tls import DeviceTlsFactory
from tests.waiting import WaitUntil

DATA, ALERT = 23, 21


def record(size: int, kind: int = DATA) -> bytes:
    return bytes((kind, 3, 3)) + size.to_bytes(2, "big") + bytes(size)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", WholeRecords(0, 0, False)),
        (record(4), WholeRecords(1, 9, False)),
        (record(0) + record(3), WholeRecords(2, 13, False)),
        (record(4)[:-1], WholeRecords(0, 0, False)),
        (record(4) + record(4)[:3], WholeRecords(1, 9, False)),
        (record(4) + record(4)[:HEADER_BYTES], WholeRecords(1, 9, False)),
        (record(2, ALERT), WholeRecords(0, 7, False)),
        (record(4) + record(2, ALERT), WholeRecords(0, 16, False)),
        (record(MAX_SEALED_BYTES), WholeRecords(1, HEADER_BYTES + MAX_SEALED_BYTES, False)),
        (record(MAX_SEALED_BYTES + 1)[:HEADER_BYTES], WholeRecords(0, 0, True)),
        (b"GET / HTTP/1.1\r\n", WholeRecords(0, 0, True)),
        (b"\0", WholeRecords(0, 0, True)),
        (record(4) + b"GET", WholeRecords(0, 9, True)),
    ],
    ids=range(13),
)
def test_whole_records_are_found(data: bytes, expected: WholeRecords) -> None:
    assert whole_records(data) == expected


@implementer(IHandshakeListener)
class Server(Protocol):
    """The end that is tried."""

    paused: PausedReading | None = None
    is_read = True
    is_newcomer = has_unread_answers = has_many_requests = False

    def __init__(self, greeting: bytes) -> None:
        self._greeting = greeting
        self.chunks: list[bytes] = []
        self.is_secured = self.is_lost = False

    def connectionMade(self) -> None:
        if self._greeting:
            assert self.transport is not None
            self.transport.write(self._greeting)

    @property
    def received(self) -> bytes:
        return b"".join(self.chunks)

    def handshakeCompleted(self) -> None:
        self.is_secured = True

    def dataReceived(self, data: bytes) -> None:
        self.chunks.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.is_lost = True


class Client(Protocol):
    """A TLS client whose bytes the test cuts as it likes."""

    transport: Any

    def __init__(self, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self.received = b""
        self.told = ""
        self.is_secured = self.is_lost = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._go_on()
        self.send_all(self.sealed())

    def dataReceived(self, data: bytes) -> None:
        self._incoming.write(data)
        self._go_on()
        self.send_all(self.sealed())

    def connectionLost(self, reason: Any = None) -> None:
        self.is_lost = True

    def _go_on(self) -> None:
        try:
            if not self.is_secured:
                self._tls.do_handshake()
                self.is_secured = True
            while data := self._tls.read(2**16):
                self.received += data
            self.told = "goodbye"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # an alert
            self.told = str(error)

    def say_goodbye(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()

    def seal(self, data: bytes) -> bytes:
        """`data` in records."""
        self._tls.write(data)
        return self.sealed()

    def sealed(self) -> bytes:
        return self._outgoing.read()

    def send_all(self, data: bytes) -> None:
        if data:
            self.transport.write(data)


Pair = tuple[Server, Client]


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request: Any) -> ssl.TLSVersion:
    found: ssl.TLSVersion = request.param
    return found


class Listening:
    """A port that makes `Server`s."""

    def __init__(self, context: Any) -> None:
        from twisted.internet import reactor

        self.made: list[Server] = []
        self.greeting = b""  # what the next server writes before its handshake
        listening, made = self, self.made

        class Servers(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Server:
                listening.made.append(Server(listening.greeting))
                return made[-1]

        clock: Any = reactor
        self.reads = ReadQueue(clock, Rates(0, 0), LimitCounts(), lambda *_: None)
        tls: Any = DeviceTlsFactory(context, Servers(), self.reads, Counter(), clock)
        self.port: Any = reactor.listenTCP(0, tls, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.number: int = self.port.getHost().port


@pytest_twisted.async_yield_fixture
async def listening(certificate: tuple[Any, Any]) -> AsyncIterator[Listening]:
    found = Listening(certificate[0])
    yield found
    for server in found.made:
        if not server.is_lost:
            server.transport.abortConnection()  # type: ignore[union-attr]
    await found.port.stopListening()
    found.reads.stop()


@pytest_twisted.async_yield_fixture
async def pair(
    listening: Listening, version: ssl.TLSVersion, wait_until: WaitUntil
) -> AsyncIterator[Pair]:
    """Both ends, after the handshake."""
    from twisted.internet import reactor

    client = Client(version)
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", listening.number), client)
    await wait_until(lambda: client.is_secured and listening.made and listening.made[0].is_secured)
    yield listening.made[0], client
    client.transport.abortConnection()
    await wait_until(lambda: client.is_lost)


@pytest_twisted.ensureDeferred
async def test_a_record_that_comes_byte_by_byte_is_one_piece(
    pair: Pair, wait_until: WaitUntil
) -> None:
    server, client = pair
    client.send_all(client.seal(b"one"))
    await wait_until(lambda: server.received == b"one")
    for byte in client.seal(b"another"):
        server.transport.dataReceived(bytes((byte,)))  # type: ignore[union-attr]
    assert server.chunks == [b"one", b"another"]


@pytest_twisted.ensureDeferred
async def test_records_that_come_together_are_one_piece(pair: Pair, wait_until: WaitUntil) -> None:
    server, client = pair
    tls = server.transport  # type: ignore[union-attr]
    tls.dataReceived(b"".join(client.seal(b"%d " % n) for n in range(5)))
    assert server.chunks == [b"0 1 2 3 4 "]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [1, 2, 5, 1000, 16_406, 16_407, 40_000])
async def test_everything_comes_however_it_is_cut(pair: Pair, size: int) -> None:
    server, client = pair
    said = [bytes((n,)) * length for n, length in enumerate((1, 300, MAX_PLAIN_BYTES, 70_000, 2))]
    sent = b"".join(client.seal(each) for each in said)
    tls = server.transport  # type: ignore[union-attr]
    for start in range(0, len(sent), size):
        tls.dataReceived(sent[start : start + size])
    assert server.received == b"".join(said)


@pytest_twisted.ensureDeferred
async def test_what_stands_before_the_end_is_delivered_before_it(
    pair: Pair, wait_until: WaitUntil
) -> None:
    server, client = pair
    said = client.seal(b"last words")
    client.say_goodbye()
    client.send_all(said + client.sealed())
    await wait_until(lambda: server.is_lost)
    assert server.received == b"last words"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["altered", "another type", "too long"])
async def test_a_record_that_is_wrong_ends_the_connection_and_only_it(
    pair: Pair, wait_until: WaitUntil, kind: str
) -> None:
    server, client = pair
    good, sealed = client.seal(b"good"), client.seal(b"bad")
    wrong = {
        "altered": sealed[:-1] + bytes((sealed[-1] ^ 1,)),
        "another type": b"GET / HTTP/1.1\r\n\r\n",
        "too long": sealed[:3] + b"\xff\xff" + sealed[5:],
    }[kind]
    client.send_all(good + wrong)
    await wait_until(lambda: server.is_lost and client.is_lost)
    assert server.received == b"good"
    assert "alert" in client.told.lower()


@pytest_twisted.ensureDeferred
async def test_what_is_sent_leaves_at_once(pair: Pair, wait_until: WaitUntil) -> None:
    server, client = pair
    tls = server.transport
    assert tls.records(b"at once") == 7  # type: ignore[union-attr]
    assert not tls.transport.dataBuffer  # type: ignore[union-attr]
    assert not tls.transport._tempDataBuffer  # type: ignore[union-attr]
    await wait_until(lambda: client.received == b"at once")


@pytest_twisted.ensureDeferred
async def test_the_same_to_many_is_what_each_would_get_alone(
    listening: Listening, version: ssl.TLSVersion, wait_until: WaitUntil
) -> None:
    """Also beside one whose end was said, one that is lost, and one that reads nothing."""
    from twisted.internet import reactor

    clients = [Client(version) for _ in range(SEALED_TOGETHER + 8)]
    for number, client in enumerate(clients):
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", listening.number), client)
        await wait_until(lambda: len(listening.made) > number and listening.made[number].is_secured)  # noqa: B023, waited for at once
    transports: list[Any] = [server.transport for server in listening.made]
    layers = [tls.records for tls in transports]
    ended, lost, silent = clients[3], clients[5], clients[-2]
    said = b"".join(send_until_it_waits(transports[-2], silent))
    transports[3].loseConnection()
    lost.transport.abortConnection()
    await wait_until(lambda: listening.made[5].is_lost and ended.told == "goodbye")
    sizes = (10, KEPT_BYTES + 1, 10, MAX_PLAIN_BYTES, MAX_PLAIN_BYTES + 1, 10)
    for number, size in enumerate(sizes):
        send_to_all(layers, bytes((number,)) * size)
    silent.transport.resumeProducing()
    expected = b"".join(bytes((number,)) * size for number, size in enumerate(sizes))
    others = [client for client in clients if client not in (ended, lost, silent)]
    await wait_until(lambda: all(len(each.received) == len(expected) for each in others))
    assert {each.received for each in others} == {expected}
    await wait_until(lambda: len(silent.received) == len(said + expected))
    assert silent.received == said + expected
    assert ended.received == b""
    for client in clients:
        client.transport.abortConnection()
    await wait_until(lambda: all(each.is_lost for each in (*clients, *listening.made)))


def is_waiting(tls: Any) -> bool:
    """Whether the TCP transport has something that the socket did not take."""
    return bool(tls.transport.dataBuffer or tls.transport._tempDataBuffer)


def send_until_it_waits(tls: Any, client: Client) -> list[bytes]:
    """What was said to a client that reads nothing."""
    client.transport.pauseProducing()
    said = []
    while not is_waiting(tls):
        said.append(b"%06d" % len(said) * 1000)
        assert tls.records(said[-1]) == len(said[-1])
    return said


@pytest_twisted.ensureDeferred
async def test_what_the_socket_does_not_take_comes_later_and_in_order(
    pair: Pair, wait_until: WaitUntil
) -> None:
    server, client = pair
    tls: Any = server.transport
    said = send_until_it_waits(tls, client)
    for sent in (tls.records, tls.write, tls.records):
        said.append(b"%06d" % len(said) * 4000)  # more than a record
        sent(said[-1])
    client.transport.resumeProducing()
    await wait_until(lambda: len(client.received) == sum(map(len, said)))
    assert client.received == b"".join(said)
    # And then what is sent leaves at once again.
    tls.records(b"at once")
    assert not is_waiting(tls)
    await wait_until(lambda: client.received.endswith(b"at once"))


@pytest_twisted.ensureDeferred
async def test_an_end_comes_behind_what_waits(pair: Pair, wait_until: WaitUntil) -> None:
    server, client = pair
    tls: Any = server.transport
    said = send_until_it_waits(tls, client)
    tls.loseConnection()
    tls.records(b"too late")
    client.transport.resumeProducing()
    await wait_until(lambda: client.told)
    assert client.received == b"".join(said)
    assert client.told == "goodbye"
    client.say_goodbye()
    client.send_all(client.sealed())
    await wait_until(lambda: server.is_lost and client.is_lost)


@pytest_twisted.ensureDeferred
async def test_an_alert_comes_behind_what_waits(pair: Pair, wait_until: WaitUntil) -> None:
    server, client = pair
    tls: Any = server.transport
    sealed = client.seal(b"bad")
    said = send_until_it_waits(tls, client)
    client.send_all(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    await wait_until(lambda: tls._lostTLSConnection)
    client.transport.resumeProducing()
    await wait_until(lambda: server.is_lost and client.is_lost)
    assert client.received == b"".join(said)
    assert "alert" in client.told.lower()


@pytest_twisted.ensureDeferred
async def test_to_end_at_once_leaves_what_waits(pair: Pair, wait_until: WaitUntil) -> None:
    server, client = pair
    tls: Any = server.transport
    sealed = client.seal(b"not read any more")
    send_until_it_waits(tls, client)
    tls.abortConnection()
    tls.dataReceived(sealed)
    client.transport.resumeProducing()
    await wait_until(lambda: server.is_lost and client.is_lost)
    assert server.received == b""


@pytest_twisted.ensureDeferred
async def test_what_is_written_before_the_handshake_comes_after_it(
    listening: Listening, version: ssl.TLSVersion, wait_until: WaitUntil
) -> None:
    from twisted.internet import reactor

    listening.greeting = b"welcome"
    client = Client(version)
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", listening.number), client)
    await wait_until(lambda: client.received == b"welcome")
    (server,) = listening.made
    client.send_all(client.seal(b"an answer"))
    await wait_until(lambda: server.received == b"an answer")
    client.transport.abortConnection()
    await wait_until(lambda: client.is_lost)


@pytest_twisted.ensureDeferred
async def test_large_buffers_are_given_back_and_nothing_is_lost_by_it(
    pair: Pair, wait_until: WaitUntil
) -> None:
    """Those of OpenSSL, which never shrink: what came before, behind and together is complete."""
    server, client = pair
    tls: Any = server.transport
    connection = tls._tlsConnection
    sizes = (10, KEPT_BYTES + 1, 10, MAX_PLAIN_BYTES, MAX_PLAIN_BYTES + 1, 10, 70_000, 10)
    for number, size in enumerate(sizes):
        is_large = size > KEPT_BYTES
        was, said = connection._from_ssl, bytes((number,)) * size
        before = len(client.received)
        tls.records(said)
        assert (connection._from_ssl != was) is is_large
        await wait_until(lambda: len(client.received) == before + size)  # noqa: B023, waited for at once
        assert client.received[before:] == said
        was, before = connection._into_ssl, len(server.received)
        tls.dataReceived(client.seal(said) + client.seal(b"and more"))
        assert (connection._into_ssl != was) is is_large
        assert server.received[before:] == said + b"and more"


@pytest_twisted.ensureDeferred
async def test_to_send_to_a_peer_that_went_away_raises_nothing(
    pair: Pair, wait_until: WaitUntil
) -> None:
    server, client = pair
    send = server.transport.records  # type: ignore[union-attr]
    client.transport.abortConnection()
    await wait_until(lambda: client.is_lost)
    while not server.is_lost:
        assert send(b"anybody?") == 8
        await wait_until(lambda: True)
    assert send(b"anybody?") == 8


@pytest_twisted.ensureDeferred
async def test_new_keys_of_openssl_in_the_middle(
    listening: Listening, wait_until: WaitUntil, tmp_path: Path
) -> None:
    """`K` at the beginning of a line makes openssl change its keys, and ask for ours."""
    address, said = f"127.0.0.1:{listening.number}", tmp_path / "said"
    with said.open("wb") as output:
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", address, "-tls1_3"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    assert client.stdin is not None
    try:
        await wait_until(lambda: listening.made and listening.made[0].is_secured)
        (server,) = listening.made
        for line, is_done in (
            (b"one\n", lambda: server.received == b"one\n"),
            # It takes all that it reads together with a K for the command.
            (b"K\n", lambda: b"KEYUPDATE" in said.read_bytes()),
            (b"two\n", lambda: server.received == b"one\ntwo\n"),
        ):
            client.stdin.write(line)
            client.stdin.flush()
            await wait_until(is_done)
        server.transport.records(b"an answer\n")  # type: ignore[union-attr]
        await wait_until(lambda: b"an answer\n" in said.read_bytes())
    finally:
        client.kill()
        client.wait()

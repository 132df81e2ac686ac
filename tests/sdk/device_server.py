"""A scripted server for the tests of clients: real sockets, the real codec, no own behaviour.

A test plays the server's part line by line: `peer = await server.accept()`, `await peer.take(...)`.
Every wait has a deadline, so that a test that hangs fails with what it waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import ssl
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import DEADLINE_SECONDS, GROWTH, LOOK_SECONDS, failure

ACCEPTED = {
    "session": "s1",
    "user": None,
    "heartbeat": 300,
    "window": 64,
    "max_frame": 1 << 20,
    "node": "n1",
    "time": 1_700_000_000_000,
    "truncated": [],
}


def run(
    test: Coroutine[Any, Any, None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run one asyncio test; a task that dies unseen, or is left behind, fails it."""
    problems: list[dict[str, Any]] = []

    async def guarded() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        async with asyncio.timeout(3 * DEADLINE_SECONDS):
            await test
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(guarded())
    assert not problems, problems


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder(1 << 20)
        self._frames: list[Frame] = []

    async def frame(self) -> Frame | None:
        """The next frame, or None at the end."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._frames:
                try:
                    data = await self._reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    async def take(self, signal: Signal) -> tuple[Frame, dict[str, Any]]:
        """The next frame, which must be `signal`, and its body.

        A client whose request is not answered for long asks with PING whether anybody is there. On
        a busy machine that comes at any time; it is answered here unless it is what must come.
        """
        frame = await self.frame()
        while frame is not None and frame.signal == Signal.PING != signal:
            self.send(Signal.PING, {"interval": 300, "time": 1}, number=frame.message_id)
            frame = await self.frame()
        assert frame is not None, f"closed instead of {signal.name}"
        assert frame.signal == signal, (signal, frame)
        return frame, json.loads(frame.body or b"{}")

    async def take_acks(self, count: int) -> list[int]:
        return [(await self.take(Signal.PUB_ACK))[0].message_id for _ in range(count)]

    def send(self, signal: int, body: Any = None, sub: int = 0, number: int = 0) -> None:
        raw = b"" if body is None else json.dumps(body).encode()
        self._writer.write(encode_frame(signal, sub, number, raw))

    def send_raw(self, data: bytes) -> None:
        self._writer.write(data)

    def push(self, number: int, message_id: str, **members: Any) -> None:
        body = {"id": message_id, "stream": "dev:T", "offset": "1", "data": message_id, "ts": 1}
        self.send(Signal.PUSH, body | members, number=number)

    async def take_connect(self) -> tuple[Frame, dict[str, Any]]:
        return await self.take(Signal.CONNECT)

    async def welcome(self, **accepted: Any) -> dict[str, Any]:
        """Take CONNECT and accept it; the CONNECT's body."""
        frame, body = await self.take_connect()
        self.send(Signal.CONNECT_ACK, ACCEPTED | accepted, number=frame.message_id)
        return body

    async def refuse(self, status: ConnectStatus, **body: Any) -> dict[str, Any]:
        """Take CONNECT, refuse it and close, as the contract has it."""
        frame, connect = await self.take_connect()
        said = {"code": status.name.lower(), "detail": "because"} | body
        self.send(Signal.CONNECT_ACK, said, sub=status, number=frame.message_id)
        await self.close()
        return connect

    async def register(self, token: str = "T", secret: str = "S") -> dict[str, Any]:
        frame, body = await self.take(Signal.SUB)
        self.send(Signal.SUB, {"token": token, "secret": secret}, number=frame.message_id)
        return body

    async def disconnect(self, code: str, **body: Any) -> None:
        self.send(Signal.DISCONNECT, {"code": code, "reason": "because", **body})
        await self.close()

    async def gone(self) -> None:
        """The client says bye and closes."""
        _, body = await self.take(Signal.DISCONNECT)
        assert body["code"] == "bye"
        assert await self.frame() is None
        await self.close()

    async def close(self) -> None:
        if not self._writer.is_closing():  # Python 3.11.2 cannot abort TLS closed twice
            self._writer.close()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return

    def abort(self) -> None:
        self._writer.transport.abort()


class DeviceServer:
    """Listens on loopback (port 0: a free one); `accept()` hands out its connections in order."""

    def __init__(
        self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._context = context
        self._host = host
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self._server: asyncio.Server | None = None
        self.port = port

    @classmethod
    def again(cls, ended: DeviceServer) -> DeviceServer:
        """Another server at the address of one that has ended."""
        return cls(ended._context, ended._host, ended.port)

    @property
    def url(self) -> str:
        return f"{'tls' if self._context else 'tcp'}://{self._host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._on_connection, self._host, self.port, ssl=self._context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol: Any = writer.transport.get_protocol()
        eof_received = protocol.eof_received
        # A server closes when the client does, also while the test does not look.
        protocol.eof_received = lambda: eof_received() and False
        peer = Peer(reader, writer)
        self._all.append(peer)
        self._peers.put_nowait(peer)

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self._all:
            peer.abort()
        await self._server.wait_closed()

    async def accept(self) -> Peer:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._peers.get()


class Certificate(NamedTuple):
    """A self-signed certificate for 127.0.0.1 and localhost."""

    file: Path
    key_file: Path
    fingerprint: str

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context


def make_certificate(
    folder: Path, name: str = "server", *, valid_days: tuple[float, float] = (-1, 1)
) -> Certificate:
    """`valid_days`: from when to when, from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternatives: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=valid_days[0]))
        .not_valid_after(now + timedelta(days=valid_days[1]))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Certificate(file, key_file, hashlib.sha256(der).hexdigest())


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition()` holds."""
    look_seconds = 0.001
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                await asyncio.sleep(look_seconds)
                look_seconds = min(GROWTH * look_seconds, LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(failure(condition, False)) from None

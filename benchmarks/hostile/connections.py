"""One connection of a hostile client: it sends whatever it is told to, and counts the answers."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
from collections import Counter, deque
from functools import cache
from typing import Any, NamedTuple

from push.wire.errors import ProtocolError
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, RequestName, Signal
from push.wire.websocket.framing import unmasked

READ_BYTES = 1 << 16
WAIT_SECONDS = 30.0
MASK = b"\x21\x43\x65\x07"
VICTIM = "victim"  # the user of the well-behaved device
MAX_UNANSWERED = 60  # the contract: 64 requests of a session
SEALED = ("tls", "wss", "https")  # carriers
OVER_WS = ("ws", "wss")
TEXT, CONTINUATION, CLOSE, PING, PONG = 1, 0, 8, 9, 10
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: push.v2\r\n\r\n"
)


class Target(NamedTuple):
    """What is attacked. Ports of loopback; 0: not served. `pairs`: registered devices, each bound
    to a user of its own, `attacker0`, `attacker1`, … `api_key`: of a backend, not the one by which
    others are watched."""

    tcp: int
    tls: int
    ws: int
    http: int
    app_key: str
    pairs: list[dict[str, str]]
    api_key: str = ""
    wss: int = 0

    def port(self, carrier: str) -> int:
        ports = {"tcp": self.tcp, "tls": self.tls, "ws": self.ws, "wss": self.wss}
        return ports.get(carrier, self.http)  # "http" or "https"


class Gone(Exception):
    """The server ended the connection, or did not accept it; the text says how."""


def ws_frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """A masked frame of RFC 6455, as clients send it."""
    size = len(payload)
    first = (0x80 if final else 0) | opcode
    if size < 126:
        header = struct.pack(">BB", first, 0x80 | size)
    elif size < 1 << 16:
        header = struct.pack(">BBH", first, 0xFE, size)
    else:
        header = struct.pack(">BBQ", first, 0xFF, size)
    return header + MASK + unmasked(payload, MASK)


def ws_text(signal: Signal, body: bytes = b"", message_id: int = 0, sub: str = "") -> bytes:
    """A message of the device protocol as JSON text, without its frame."""
    content = b',"content":' + body if body else b""
    return (
        f'{{"signal":"{signal.name}","subSignal":"{sub}","messageId":{message_id}'.encode()
        + content
        + b"}"
    )


class WsFrames:
    """Cuts what a server sends over WebSocket into (opcode, payload)."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        found = []
        while len(self._buffer) >= 2:
            size, start = self._buffer[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(self._buffer[2:10], "big"), 10
            if len(self._buffer) < start + size:
                break
            found.append((self._buffer[0] & 0x0F, self._buffer[start : start + size]))
            self._buffer = self._buffer[start + size :]
        return found


@cache
def insecure_context() -> ssl.SSLContext:
    """Without authorities, which take long to load; each handshake is a whole one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """Over `carrier`: "tcp", "tls", "ws", "wss", or "http" and "https" (bytes of which only status
    lines are read)."""

    def __init__(
        self,
        port: int,
        carrier: str,
        answers: Counter[str],
        *,
        receive_buffer_bytes: int | None = None,
        upgrade: bool = True,
        sealed: bool = True,
        source: str = "",
    ) -> None:
        """`upgrade`, `sealed`: without it the handshake of WebSocket, or of TLS, is left out.
        `source`: the address of loopback from which it comes."""
        self.carrier = carrier
        self.answers = answers
        self.reads = True
        self.acknowledges = True
        self.free_ids = deque(range(10, 10 + MAX_UNANSWERED))
        self.received: list[Frame] = []  # answers to SUB and CONNECT
        self.groups: list[str] = []  # that were created
        self.pushed: list[int] = []  # numbers of messages that are not acknowledged
        self._owed = b""  # acknowledgements
        self._is_acknowledging = False
        self._frames = FrameDecoder(1 << 20)
        self._ws = WsFrames()
        self._socket: socket.socket = socket.socket()
        try:
            if source:
                self._socket.bind((source, 0))
            self._open(port, receive_buffer_bytes, sealed=sealed)
            if carrier in OVER_WS and upgrade:
                self.upgrade(UPGRADE)
        except (OSError, ssl.SSLError) as error:
            self._socket.close()
            raise Gone(f"not accepted: {type(error).__name__}") from None

    def _open(self, port: int, receive_buffer_bytes: int | None, *, sealed: bool) -> None:
        raw = self._socket
        raw.settimeout(WAIT_SECONDS)
        if receive_buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sealed and self.carrier in SEALED:
            self._socket = insecure_context().wrap_socket(raw)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def upgrade(self, request: bytes) -> None:
        """The handshake of WebSocket."""
        self.send(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            self._wait(select.POLLIN)
            answer += self._recv()
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Gone(answer.partition(b"\r\n")[0].decode("latin-1"))
        self._ws_fed(answer.partition(b"\r\n\r\n")[2])

    def fileno(self) -> int:
        return self._socket.fileno()

    # --- Bytes

    def send(self, data: bytes) -> None:
        """All of it, however long the server lets it wait; answers are read meanwhile."""
        view = memoryview(data)
        while view:
            wanted = select.POLLOUT | (select.POLLIN if self.reads else 0)
            if self._wait(wanted) & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self.take()
            try:
                view = view[self._socket.send(view) :]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                continue
            except (OSError, ssl.SSLError) as error:
                self._closed(type(error).__name__)

    def send_urgently(self, byte: bytes) -> None:
        """As TCP's urgent data."""
        try:
            self._socket.send(byte, socket.MSG_OOB)
        except BlockingIOError:
            self.wait(WAIT_SECONDS)
        except OSError as error:
            self._closed(type(error).__name__)

    def _wait(self, events: int, seconds: float = WAIT_SECONDS) -> int:
        self._poll.modify(self._socket, events)
        ready = self._poll.poll(seconds * 1000)
        return ready[0][1] if ready else 0

    def _recv(self) -> bytes:
        """What is there, perhaps nothing. Raises Gone at the end."""
        try:
            data = self._socket.recv(READ_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return b""
        except (OSError, ssl.SSLError) as error:
            self._closed(type(error).__name__)
        if not data:
            self._closed("closed")
        return data

    def _closed(self, how: str) -> Any:
        raise Gone(how)

    def take(self) -> None:
        """Read what is there, and count it. Raises Gone when the server ends the connection."""
        data = self._recv()
        while data:
            self._fed(data)
            data = self._recv() if len(data) >= READ_BYTES or self.carrier in SEALED else b""
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self._is_acknowledging:
            return  # sending takes what comes, which is what called this
        self._is_acknowledging = True
        while self._owed:
            owed, self._owed = self._owed, b""
            self.send(owed)
        self._is_acknowledging = False

    def wait(self, seconds: float) -> None:
        """Read until `seconds` are over or something came."""
        if self._wait(select.POLLIN, seconds):
            self.take()

    def sip(self, size: int) -> None:
        """Read so many bytes, if they are there. Raises Gone at the end."""
        try:
            data = self._socket.recv(size)
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        except OSError as error:
            self._closed(type(error).__name__)
        if not data:
            self._closed("closed")
        self._fed(data)

    def close(self, *, abruptly: bool = False) -> None:
        if abruptly:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def shut(self) -> None:
        """Say nothing more, and stay."""
        self._socket.shutdown(socket.SHUT_WR)

    # --- Answers

    def _fed(self, data: bytes) -> None:
        if self.carrier in ("http", "https"):
            for part in data.split(b"HTTP/1.1 ")[1:]:
                self.answers[f"HTTP {part[:3].decode('latin-1')}"] += 1
        elif self.carrier in OVER_WS:
            self._ws_fed(data)
        else:
            try:
                for frame in self._frames.feed(data):
                    self._answered(frame)
            except ProtocolError as error:
                raise Gone(f"the server sent {error}") from None

    def _ws_fed(self, data: bytes) -> None:
        for opcode, payload in self._ws.feed(data):
            if opcode == TEXT:
                self._answered(frame_of_text(payload))
            elif opcode == CLOSE:
                raise Gone(f"WebSocket close {int.from_bytes(payload[:2], 'big')}")
            else:
                self.answers["pong" if opcode == PONG else f"opcode {opcode}"] += 1

    def _answered(self, frame: Frame) -> None:
        """Count it; an answer to a request frees its number."""
        self.answers[label(frame)] += 1
        if frame.signal == Signal.PUB_ACK:
            if frame.sub_signal == RequestName.GC and b'"group":' in frame.body:
                self.groups.append(json.loads(frame.body)["group"])
            self.free_ids.append(frame.message_id)
        elif frame.signal == Signal.PUSH:
            if frame.message_id and self.acknowledges:
                self._owed += self.encoded(Signal.PUB_ACK, b"", frame.message_id)
            elif frame.message_id:
                self.pushed.append(frame.message_id)
        elif frame.signal == Signal.DISCONNECT:
            raise Gone(label(frame))
        elif frame.signal in (Signal.SUB, Signal.CONNECT_ACK):
            self.received.append(frame)

    # --- Frames of the device protocol

    def encoded(
        self,
        signal: Signal,
        body: bytes = b"",
        message_id: int = 0,
        request: RequestName | None = None,
    ) -> bytes:
        if self.carrier in OVER_WS:
            return ws_frame(ws_text(signal, body, message_id, request.name if request else ""))
        return encode_frame(signal, request or 0, message_id, body)

    def frame(
        self,
        signal: Signal,
        body: bytes = b"",
        message_id: int = 0,
        request: RequestName | None = None,
    ) -> None:
        self.send(self.encoded(signal, body, message_id, request))

    def ask(self, request: RequestName, body: bytes) -> None:
        """Send a request with the next free number, and wait while there is none."""
        while not self.free_ids:
            self.wait(WAIT_SECONDS)
        self.frame(Signal.PUBLISH, body, self.free_ids.popleft(), request)

    def answer(self) -> Frame:
        """The next answer to SUB or CONNECT."""
        while not self.received:
            self.wait(WAIT_SECONDS)
        return self.received.pop(0)

    def connect(self, pair: dict[str, str]) -> None:
        """Open a session; raises Gone when it is refused."""
        self.frame(Signal.CONNECT, json.dumps(pair).encode(), 1)
        frame = self.answer()
        if frame.signal != Signal.CONNECT_ACK or frame.sub_signal != ConnectStatus.ACCEPTED:
            raise Gone(label(frame))


def frame_of_text(text: bytes) -> Frame:
    message = json.loads(text)
    name, sub = message.get("signal", ""), message.get("subSignal", "")
    number = ConnectStatus[sub] if name == "CONNECT_ACK" and sub else 0
    body = json.dumps(message.get("content", {})).encode()
    return Frame(Signal[name], number, message.get("messageId", 0), body)


def label(frame: Frame) -> str:
    """What an answer says, in a few words."""
    name = Signal(frame.signal).name
    if frame.signal == Signal.CONNECT_ACK:
        name = f"{name} {ConnectStatus(int(frame.sub_signal)).name}"
    try:
        body = json.loads(frame.body or b"{}")
    except ValueError:
        return f"{name} (no JSON)"
    return f"{name} {body['code']}" if "code" in body else name

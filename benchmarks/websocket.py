"""What a session over WebSocket costs beside one over TCP, in one run.

    python -m benchmarks.websocket           about five minutes; prints figures and ratios
    python -m benchmarks.websocket --json     one JSON object

Memory: of idle, authenticated sessions, each carrier in a server of its own. CPU: time of the
server process. `ack` is an acknowledgement that comes alone, `acks` one of twenty that come
together, with sessions of both carriers in one server and in turns; `qos1` is a message that is
sent and acknowledged, with its share of cursors.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from benchmarks.fanout import say
from benchmarks.running import Api, Running, raise_file_limit, started_server
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import Signal
from push.wire.websocket.framing import unmasked

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: push.v2\r\n\r\n"
)
MASK = b"\x12\x34\x56\x78"
IDLE_SECONDS = 10
TIMES = 20
TOGETHER = 20
TOPIC_OF_ALL = {"to": {"topic": "bench"}, "data": {"text": "x" * 189}, "qos": 1}


class Message(NamedTuple):
    """What a client needs of a frame."""

    signal: str
    message_id: int
    body: dict[str, object]


class Client:
    """A device over TCP."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = FrameDecoder(1 << 20)
        self._waiting: list[Message] = []
        self.pair: dict[str, str] = {}

    def encoded(self, signal: str, message_id: int, body: bytes = b"", sub: str = "") -> bytes:
        return encode_frame(Signal[signal], 16 if sub == "TS" else 0, message_id, body)

    def read(self) -> list[Message]:
        return [
            Message(Signal(frame.signal).name, frame.message_id, json.loads(frame.body or b"{}"))
            for frame in self._decoder.feed(self.socket.recv(1 << 16))
        ]

    def next(self, signal: str) -> Message:
        """The next message of this kind."""
        while True:
            for place, message in enumerate(self._waiting):
                if message.signal == signal:
                    return self._waiting.pop(place)
            self._waiting += self.read()

    def open(self, key: str) -> None:
        sub = json.dumps({"key": key, "platform": "bench", "app": "bench"}).encode()
        self.socket.sendall(self.encoded("SUB", 1, sub))
        self.pair = {name: str(text) for name, text in self.next("SUB").body.items()}
        self.socket.sendall(self.encoded("CONNECT", 2, json.dumps(self.pair).encode()))
        assert "session" in self.next("CONNECT_ACK").body

    def follow(self) -> None:
        self.socket.sendall(self.encoded("PUBLISH", 3, b'{"topic":"bench"}', "TS"))
        assert self.next("PUB_ACK").body == {"ok": True}


class WebClient(Client):
    """A device over WebSocket."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address)
        self._buffer = b""
        self.socket.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")

    def encoded(self, signal: str, message_id: int, body: bytes = b"", sub: str = "") -> bytes:
        text = f'{{"signal":"{signal}","messageId":{message_id}'.encode()
        text += f',"subSignal":"{sub}"'.encode() if sub else b""
        text += b',"content":' + body if body else b""
        text += b"}"
        size = len(text)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        return b"\x81" + length + MASK + unmasked(text, MASK)

    def read(self) -> list[Message]:
        self._buffer += self.socket.recv(1 << 16)
        found = []
        while len(self._buffer) > 4:
            size, start = self._buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < start + size:
                break
            text = json.loads(self._buffer[start : start + size])
            self._buffer = self._buffer[start + size :]
            found.append(Message(text["signal"], text["messageId"], text["content"]))
        return found


def sessions(running: Running, kind: type[Client], count: int) -> list[Client]:
    address = running.ws_address if kind is WebClient else running.tcp_address
    made = []
    for _ in range(count):
        client = kind(address)
        client.open(running.app_key)
        made.append(client)
    return made


def memory_per_session(kind: type[Client], count: int) -> float:
    """Bytes of an idle, authenticated session."""
    with started_server(connector_ws="127.0.0.1:0") as running:
        for client in sessions(running, kind, 500):  # what the first ones load is not counted
            client.socket.close()
        time.sleep(2)
        before = running.rss_bytes()
        made = sessions(running, kind, count)
        time.sleep(IDLE_SECONDS)
        after = running.rss_bytes()
        for client in made:
            client.socket.close()
        return (after - before) / count


def acknowledge(clients: list[Client], times: int, together: int) -> None:
    """Each acknowledges a number that is not outstanding: read, understood, and ignored."""
    for _ in range(times):
        for client in clients:
            client.socket.sendall(client.encoded("PUB_ACK", 17) * together)
        clients[-1].socket.sendall(clients[-1].encoded("PING", 5))
        clients[-1].next("PING")  # so that no connection has two of them to read at once


def take_and_acknowledge(clients: list[Client]) -> None:
    for client in clients:
        number = client.next("PUSH").message_id
        client.socket.sendall(client.encoded("PUB_ACK", number))


def cpu_us(running: Running, work: Callable[[], None], pieces: int) -> float:
    """Microseconds of the server's processor for each of `pieces`."""
    before = running.cpu_seconds()
    work()
    time.sleep(0.05)
    return (running.cpu_seconds() - before) / pieces * 1e6


def acknowledgements(count: int, rounds: int) -> dict[str, float]:
    kinds = {"tcp": Client, "ws": WebClient}
    figures: dict[str, float] = {}
    with started_server(connector_ws="127.0.0.1:0") as running:
        fleets = {name: sessions(running, kind, count) for name, kind in kinds.items()}
        for what, together in (("ack", 1), ("acks", TOGETHER)):
            found: dict[str, list[float]] = {"tcp": [], "ws": []}
            for _ in range(rounds):
                for name, fleet in fleets.items():
                    work = partial(acknowledge, fleet, TIMES, together)
                    found[name].append(cpu_us(running, work, count * TIMES * together))
            for name, values in found.items():
                figures[f"{name}_{what}_us"] = statistics.median(values)
        for fleet in fleets.values():
            for client in fleet:
                client.socket.close()
    for name, kind in kinds.items():
        figures[f"{name}_qos1_us"] = qos1(kind, count, rounds)
    return figures


def qos1(kind: type[Client], count: int, rounds: int) -> float:
    """Microseconds for a message to each that is sent and acknowledged."""
    with started_server(connector_ws="127.0.0.1:0") as running:
        fleet = sessions(running, kind, count)
        for client in fleet:
            client.follow()
        api = Api(running)

        def push() -> None:
            api.post("/v1/push", TOPIC_OF_ALL)
            take_and_acknowledge(fleet)
            time.sleep(0.3)  # cursors are stored together

        push()
        found = [cpu_us(running, push, count) for _ in range(rounds)]
        for client in fleet:
            client.socket.close()
        return statistics.median(found)


def measure(count: int, rounds: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, kind in (("tcp", Client), ("ws", WebClient)):
        say(f"memory of {count} sessions over {name}")
        figures[f"{name}_session_kib"] = memory_per_session(kind, count) / 1024
    say("acknowledgements")
    figures |= acknowledgements(count // 10, rounds)
    figures["more_kib"] = figures["ws_session_kib"] - figures["tcp_session_kib"]
    for name in ("ack", "acks", "qos1"):
        figures[f"{name}_ratio"] = figures[f"ws_{name}_us"] / figures[f"tcp_{name}_us"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    raise_file_limit()
    figures = measure(options.sessions, options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:20} {value:10,.2f}")


if __name__ == "__main__":
    main()

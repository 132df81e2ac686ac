"""`POST /v1/push` to one token beside a bare Klein handler with one Redis PUBLISH, and latency.

    python -m benchmarks.http_push            about half a minute; prints figures and the ratio
    python -m benchmarks.http_push --json     one JSON object

32 clients, each with one kept connection; the two servers in turn, on the same Redis.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import subprocess
import sys
import time

from benchmarks.fleet import Fleet
from benchmarks.running import Api, Running, raise_file_limit, started_server

CLIENTS = 32
DATA = {"text": "x" * 189}


class Load:
    """Clients that each send a request as soon as the one before is answered."""

    def __init__(self, address: tuple[str, int], key: str, body: bytes) -> None:
        host, port = address
        self._request = (
            f"POST /v1/push HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(CLIENTS):
            sock = socket.create_connection(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self, seconds: float) -> float:
        """Requests a second over `seconds`."""
        for sock in self._sockets.values():
            sock.sendall(self._request)
        answered, began = 0, time.perf_counter()
        waiting = len(self._sockets)
        while waiting:
            for number, _ in self._epoll.poll(5):
                sock = self._sockets[number]
                answer = sock.recv(65536)
                if not answer.startswith(b"HTTP/1.1 202"):
                    raise SystemExit(f"an answer that is no 202: {answer[:300]!r}")
                answered += 1
                if time.perf_counter() - began < seconds:
                    sock.sendall(self._request)
                else:
                    waiting -= 1
        return answered / (time.perf_counter() - began)


def latency_ms(running: Running, rounds: int) -> list[float]:
    """Milliseconds from the start of an HTTP push to the frame at the device, sorted."""
    api = Api(running)
    fleet = Fleet(running.tcp_address, 1)
    tokens = fleet.connect(running.app_key)
    push = {"to": {"token": tokens[0]}, "data": DATA}
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        api.post("/v1/push", push)
        fleet.receive_and_acknowledge(1)
        times.append((time.perf_counter() - began) * 1000)
    fleet.close()
    return sorted(times)


def measure(seconds: float, rounds: int) -> dict[str, float]:
    with started_server() as running:
        times = latency_ms(running, 300)
        fleet = Fleet(running.tcp_address, 1)
        token = fleet.connect(running.app_key)[0]
        fleet.close()
        redis = str(running.data_dir / "redis" / "redis.sock")
        bare = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_klein", redis],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert bare.stdin
        assert bare.stdout
        bare_address = ("127.0.0.1", int(bare.stdout.readline()))
        body = json.dumps({"to": {"token": token}, "data": DATA, "ttl": 60}).encode()
        ours = Load(running.http, running.admin_key, body)
        theirs = Load(bare_address, running.admin_key, body)
        pairs = [(ours.run(seconds), theirs.run(seconds)) for _ in range(rounds + 1)][1:]
        bare.stdin.close()
        bare.wait()
    return {
        "push_requests_per_s": statistics.median(own for own, _ in pairs),
        "bare_klein_requests_per_s": statistics.median(other for _, other in pairs),
        "ratio": statistics.median(own / other for own, other in pairs),
        "publish_to_receive_median_ms": statistics.median(times),
        "publish_to_receive_p99_ms": times[int(len(times) * 0.99)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of one run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    raise_file_limit()
    figures = measure(options.seconds, options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:30} {value:12,.2f}")


if __name__ == "__main__":
    main()

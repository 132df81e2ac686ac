"""What many bans cost others: the longest silence of a connector while bans change.

A device of its own sends a PING every millisecond and measures how long each answer takes: what
stops the reactor stops that answer as well. `quiet` is the same with nothing to do, the yardstick.
Bans are put into Redis as scripts put them, 80 % of them networks, and are read at one notice; the
last is of a device that is connected, which ends when all are in effect. Then single bans, by HTTP.
`connect_cpu_ms`: processor time of the daemon for one CONNECT, before and with all bans.
`check_us`: one look whether a caller is banned, in this process.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.crowd import Backend
from benchmarks.fleet import Fleet
from benchmarks.results import OURS, FigureTable
from benchmarks.running import Running, started_server
from push.access.ban_table import BanTable
from push.wire.frames import encode_frame
from push.wire.signals import Signal

PING_SECONDS = 0.001
SINGLE_BANS = 20
CONNECTS = 1000
LOOKS = 10_000
NO_END_MS = 4_102_444_800_000  # 2100


def random_bans(count: int) -> Iterator[str]:
    """Bans, as they are stored, that no device of the benchmark matches."""
    chance = random.Random(1)
    for number in range(count):
        if number % 5 == 0:
            yield f"user:mallory{number}"
        elif number % 5 == 1:
            bits, length = 0x2001 << 112 | chance.getrandbits(112), chance.randint(32, 64)
            yield f"ip:{ipaddress.ip_network((bits, length), strict=False)}"
        else:
            bits, length = 128 << 24 | chance.getrandbits(31), chance.randint(12, 32)
            network = ipaddress.ip_network((bits, length), strict=False)
            yield f"ip:{network[0] if length == 32 else network}"


class Prober(threading.Thread):
    """Sends PINGs on a session of its own and keeps how long each answer took."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self._fleet = Fleet(running.tcp_address, 1)
        self._fleet.connect(running.app_key)
        (self._device,) = self._fleet._devices.values()
        self._took_seconds: list[float] = []
        self._is_over = False

    def run(self) -> None:
        sock, number = self._device.socket, 10
        sock.settimeout(60)
        while not self._is_over:
            number = number % 60_000 + 1
            began = time.perf_counter()
            sock.sendall(encode_frame(Signal.PING, 0, number))
            while not list(self._device.decoder.feed(sock.recv(65_536))):
                pass
            self._took_seconds.append(time.perf_counter() - began)
            time.sleep(PING_SECONDS)

    def during(self, work: Callable[[], object]) -> dict[str, float]:
        """The answers of the time that `work` takes, in milliseconds."""
        del self._took_seconds[:]
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        took = sorted(self._took_seconds) or [seconds]
        return {
            "seconds": seconds,
            "median_ms": statistics.median(took) * 1000,
            "worst_ms": took[-1] * 1000,
        }

    def stop(self) -> None:
        self._is_over = True
        self.join()
        self._fleet.close()


def store(redis: socket.socket, prefix: str, bans: list[str]) -> None:
    """As `push/lua/devices/ban.lua` does, without the notice."""
    offset = int(time.time() * 1_000_000)
    for start in range(0, len(bans), 1000):
        part = bans[start : start + 1000]
        ends, changes = [], []
        for number, ban in enumerate(part):
            ends += [ban, str(NO_END_MS)]
            changes += [str(offset + start + number), ban]
        call(redis, "HSET", f"{prefix}bans", *ends)
        call(redis, "ZADD", f"{prefix}ban-changes", *changes)


def call(redis: socket.socket, *arguments: str) -> bytes:
    parts = [argument.encode() for argument in arguments]
    request = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    redis.sendall(b"*%d\r\n%s" % (len(parts), request))
    answer = redis.recv(4096)
    if answer.startswith(b"-"):
        raise SystemExit(answer.decode())
    return answer


def redis_of(running: Running) -> socket.socket:
    (path,) = (each for each in Path(running.data_dir).rglob("*.sock"))
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


def connect_cpu_ms(running: Running, connects: int) -> float:
    """Registration and CONNECT of a device, in processor time of the daemon."""
    before = running.cpu_seconds()
    fleet = Fleet(running.tcp_address, connects)
    fleet.connect(running.app_key)
    spent = running.cpu_seconds() - before
    fleet.close()
    return spent / connects * 1000


def until_closed(fleet: Fleet, token: str) -> None:
    (device,) = (each for each in fleet._devices.values() if each.pair["token"] == token)
    device.socket.settimeout(60)
    while device.socket.recv(65_536):
        pass


def check_us(count: int) -> float:
    table = BanTable()
    for ban in random_bans(count):
        table.set(ban, NO_END_MS)
    chance = random.Random(2)
    ips = [str(ipaddress.ip_address(chance.getrandbits(32))) for _ in range(10_000)]
    ips += [str(ipaddress.ip_address(chance.getrandbits(128))) for _ in range(10_000)]
    began = time.perf_counter()
    for ip in ips:
        list(table.matching(ip, "0123456789abc1", "anna"))
    return (time.perf_counter() - began) / len(ips) * 1e6


def measure(bench: Bench, bans: int, sessions: int, connects: int) -> dict[str, float]:
    figures: dict[str, float] = {"check_us": check_us(bans)}

    def keep(name: str, found: dict[str, float]) -> None:
        figures.update({f"{name}_{what}": value for what, value in found.items()})
        bench.say(f"{name}: {found}")

    with started_server(connector_max_connections=str(sessions + connects + 100)) as running:
        backend, redis = Backend(running), redis_of(running)
        figures["connect_cpu_ms_without"] = connect_cpu_ms(running, connects)
        fleet = Fleet(running.tcp_address, sessions)
        tokens = fleet.connect(running.app_key)
        prober = Prober(running)
        prober.start()
        keep("quiet", prober.during(lambda: time.sleep(bench.pick(3.0, 1.0, 0.1))))
        store(redis, "push:", [*random_bans(bans), f"token:{tokens[0]}"])
        keep("redis_filled", prober.during(lambda: time.sleep(bench.pick(1.0, 0.5, 0.1))))

        def notice() -> None:
            call(redis, "PUBLISH", "push:0:bans", "")
            until_closed(fleet, tokens[0])

        keep("all_read", prober.during(notice))

        def ban_singly() -> None:
            for number in range(SINGLE_BANS):
                backend.call("POST", "/v1/bans", {"ip": f"203.0.113.{number}"})

        keep("single", prober.during(ban_singly))
        figures["single_answer_ms"] = figures["single_seconds"] / SINGLE_BANS * 1000
        prober.stop()
        figures["connect_cpu_ms_with"] = connect_cpu_ms(running, connects)
        figures["rss_mib"] = running.rss_bytes() / 1024 / 1024
        fleet.close()
    return figures


def run(bench: Bench) -> None:
    bans, sessions, connects = bench.pick(
        (100_000, 5000, CONNECTS), (10_000, 500, 200), (100, 10, 5)
    )
    for number in range(bench.rounds(1)):
        bench.say(f"{bans:,} bans and {sessions:,} sessions: round {number + 1}")
        bench.results.add("bans", OURS, measure(bench, bans, sessions, connects))


BENCHMARK = Benchmark(
    "bans",
    "100,000 bans and 5,000 sessions: what others notice while bans change",
    run,
    (FigureTable("bans", "Many bans"),),
)

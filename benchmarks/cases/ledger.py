"""What the delivery ledger costs: publishing and acknowledging with it and without, in turn.

Without HTTP and without devices, so that nothing but Redis and the scripts is measured: the worst
case. A message goes to one device that is online, is stored, acknowledged, and its cursor stored.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.results import OURS, FigureTable
from benchmarks.running import started_server
from push.redis.client import RedisClient
from push.redis.connection.url import parse_redis_url
from push.redis.shards import Shards
from push.runtime.tasks import only
from push.session.entry import Entry
from push.session.subscription import Subscription
from push.session.window import Window
from push.streams.cursors.writer import CursorWriter
from push.streams.publisher import Publisher, StreamMessage

DEVICES = 200
MESSAGES = 10  # a device and round
BODY = b'{"id":"x","data":"' + b"x" * 200 + b'"}'


class Device:
    """A session that acknowledges at once."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.session_id = "s"
        self.follow = Subscription(f"dev:{token}", 0)
        self.window = Window(64, 1 << 20)


class Rounds:
    """Rounds of messages to all devices on one server."""

    def __init__(self, reactor: Any, server: RedisClient) -> None:
        self._publisher = Publisher(Shards([server]))
        self._cursors = CursorWriter(reactor, server, lambda holder: None)
        self._devices = [Device(f"t{number}") for number in range(DEVICES)]
        self._server = server
        self._sent = 0

    async def prepare(self) -> None:
        for device in self._devices:
            key = self._server.key(f"device:{device.token}")
            await self._server.command("HSET", key, "s", "s", f"c:{device.follow.stream}", "0")

    async def _push(self, device: Device, ledger: bool) -> None:
        self._sent += 1
        message = StreamMessage(
            id=f"m{self._sent}",
            content=BODY.decode(),
            ttl_seconds=60,
            streams=[device.follow.stream],
            guard="device:",
            stored=True,
            to=json.dumps({"token": device.token}) if ledger else None,
        )
        published = only(await self._publisher.publish_all([message]))
        device.window.add(device.follow, Entry(published.id, 0, published.offset, BODY), 1, 0.0)
        device.window.acknowledge(1, 0.0)
        self._cursors.moved(device, device.follow)

    async def run(self, ledger: bool) -> float:
        """Messages a second."""
        began = time.perf_counter()
        for _ in range(MESSAGES):
            pushes = [self._push(device, ledger) for device in self._devices]
            await gatherResults([Deferred.fromCoroutine(push) for push in pushes])
        await self._cursors.flush()
        return DEVICES * MESSAGES / (time.perf_counter() - began)

    async def stop(self) -> None:
        await self._cursors.stop()


async def measure(reactor: Any, redis: str, rounds: int) -> dict[str, float]:
    server = RedisClient(reactor, parse_redis_url(f"unix://{redis}"), prefix="bench")
    server.start()
    while server.problem is not None:
        await deferLater(reactor, 0.01)
    work = Rounds(reactor, server)
    await work.prepare()
    pairs = [(await work.run(True), await work.run(False)) for _ in range(rounds + 1)][1:]
    await work.stop()
    await server.stop()
    return {
        "with_ledger_per_s": statistics.median(own for own, _ in pairs),
        "without_per_s": statistics.median(other for _, other in pairs),
        "ratio": statistics.median(own / other for own, other in pairs),
    }


def main(redis: str, rounds: int) -> None:
    """In a process of its own, with a reactor of its own: prints one JSON object."""

    async def run_rounds(reactor: Any) -> None:
        print(json.dumps(await measure(reactor, redis, rounds)))

    react(lambda reactor: Deferred.fromCoroutine(run_rounds(reactor)))


def run(bench: Bench) -> None:
    rounds = bench.rounds(9)
    bench.say(f"the ledger: {rounds} rounds with it and without")
    with started_server() as running:
        redis = str(running.data_dir / "redis" / "redis.sock")
        command = [sys.executable, "-m", "benchmarks.cases.ledger", redis, str(rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    bench.results.add("ledger", OURS, json.loads(done.stdout))


BENCHMARK = Benchmark(
    "ledger",
    "what the delivery ledger costs: publishing and acknowledging with it and without",
    run,
    (FigureTable("ledger", "Scripts alone, with the ledger and without"),),
)

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""What a benchmark is given: how large it is to be, servers with their generators, and results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from benchmarks.load import Generator
from benchmarks.results import OURS, Results
from benchmarks.servers.base import Paths, Server
from benchmarks.servers.peers import Mosquitto, Nats
from benchmarks.servers.push import Push
from benchmarks.servers.yardsticks import JoinedLoop, SendLoop

T = TypeVar("T")
FULL, QUICK, SMALLEST = range(3)


class Pair(NamedTuple):
    """A server and the generator that loads it."""

    server: Server
    load: Generator


@dataclass
class Bench:
    """A run of benchmarks. `size`: FULL, QUICK (does it work?), SMALLEST (for the tests)."""

    size: int = FULL
    wanted_rounds: int = 0  # 0: what each benchmark has by default
    paths: Paths = field(default_factory=Paths)
    results: Results = field(default_factory=Results)
    began: float = field(default_factory=time.monotonic)

    def pick(self, full: T, quick: T, smallest: T) -> T:
        return (full, quick, smallest)[self.size]

    def rounds(self, usual: int) -> int:
        return self.wanted_rounds or self.pick(usual, min(usual, 2), 1)

    def say(self, text: str) -> None:
        """Progress, for a person that waits."""
        print(f"[{time.monotonic() - self.began:6.1f}] {text}", file=sys.stderr, flush=True)

    def problem(self, text: str) -> None:
        self.results.problems.append(text)
        self.say(f"PROBLEM: {text}")

    def pair(self, server: Server) -> Pair:
        server.settle_seconds *= self.pick(1, 1, 0.05)
        return Pair(server, Generator(server.name, server.words(), self.problem))

    @contextmanager
    def loaded(self, *makers: Callable[[], Server]) -> Iterator[dict[str, Pair]]:
        """Started servers by their names, each with a generator; all are up together."""
        with ExitStack() as stack:
            pairs: dict[str, Pair] = {}
            for make in makers:
                server = stack.enter_context(make())
                pair = self.pair(server)
                stack.callback(pair.load.close)
                pairs[server.name] = pair
            yield pairs

    @contextmanager
    def fleet(self, carrier: str, *, yardsticks: bool = True) -> Iterator[dict[str, Pair]]:
        """push-universe, the yardsticks where they can, and the peers that were found."""
        with Push(carrier) as ours:
            certificate = ours.certificate if carrier == "tls" else None
            makers: list[Callable[[], Server]] = []
            if yardsticks and carrier == "plain":
                makers += [SendLoop, JoinedLoop]
            if self.paths.mosquitto and carrier != "websocket":
                makers.append(lambda: Mosquitto(self.paths, carrier, certificate))
            if self.paths.nats and carrier != "websocket":
                makers.append(lambda: Nats(self.paths, carrier, certificate))
            own = self.pair(ours)
            try:
                with self.loaded(*makers) as others:
                    yield {OURS: own, **others}
            finally:
                own.load.close()

    def open_all(self, pairs: dict[str, Pair], sessions: int, *, inflight: int = 128) -> None:
        for name, pair in pairs.items():
            self.say(f"{name}: {sessions:,} sessions connect")
            pair.load.ask("open", n=sessions, inflight=inflight)

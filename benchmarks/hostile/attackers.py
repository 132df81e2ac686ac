"""Attackers in processes of their own: `with attacking("ping", target, 16) as attack: …`.

A host, which has imported what they need, forks them: one for all attacks of this process. Its
standard input has a line of JSON for each attack, and an empty line for its end; what the attackers
were answered is printed then. It ends with its standard input, and they do with it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.hostile.connections import Gone, Target
from benchmarks.hostile.floods import FLOODS, Attacker

ROOT = Path(__file__).parents[2]
PAUSE_SECONDS = 0.02  # before a connection that the server ended is replaced
# Floods of connections: they do not wait before the next one.
AT_ONCE = (
    "connects",
    "dials",
    "http-dials",
    "http-cut",
    "wrong-secrets",
    "registrations",
    "garbage",
)
MOST_SECONDS = 300


class Stop(BaseException):
    """It is over."""


class Attack:
    """A running flood. After the end `answers` and `connections` are what came of it."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.connections = 0
        self.failures: list[str] = []

    def add(self, result: dict[str, Any]) -> None:
        """What came of one attacker."""
        self.answers.update(result["answers"])
        self.connections += result["connections"]
        self.failures += result["failures"]


class Host:
    """The process that forks attackers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,  # a line
            start_new_session=True,  # Linux shares processors by session: sixteen take one's share
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout

    def ask(self, order: str) -> str:
        """The line that is printed then; empty when the host has ended."""
        self._orders.write(order + "\n")
        return self._answers.readline()

    def end(self) -> None:
        self._process.communicate(timeout=60)


@functools.cache
def the_host() -> Host:
    host = Host()
    atexit.register(host.end)
    return host


@contextlib.contextmanager
def attacking(
    flood: str, target: Target, attackers: int = 1, seconds: float = MOST_SECONDS
) -> Iterator[Attack]:
    """The attackers run inside the block: each has dialled before it begins. `seconds` is for the
    case that nobody ends them. One attack at a time."""
    host, attack = the_host(), Attack()
    order = json.dumps([flood, attackers, seconds, target._asdict()])
    assert host.ask(order) == "attacking\n", "the attackers did not start"
    try:
        yield attack
    finally:
        for result in json.loads(host.ask("")):
            attack.add(result)


def stopped(_signal: int, _frame: FrameType | None) -> None:
    raise Stop


def attack_on_end(
    name: str, target: Target, number: int, begun: Callable[[], None]
) -> dict[str, Any]:
    """Flood until `Stop`; what came of it."""
    attacker = Attacker(target, number, begun)
    failures: list[str] = []
    try:
        while True:
            try:
                FLOODS[name].run(attacker)
            except Gone as gone:
                attacker.answers[str(gone)] += 1
                time.sleep(0 if name in AT_ONCE else PAUSE_SECONDS)
            attacker.close_all()
    except Stop:
        pass
    except BaseException:
        failures.append(traceback.format_exc())
    return {
        "answers": attacker.answers,
        "connections": attacker.connections,
        "failures": failures,
    }


def tell(pipe: int) -> None:
    os.write(pipe, b"\n")


def child(name: str, target: Target, number: int, seconds: float) -> tuple[int, int]:
    """Fork an attacker; its pid, and the end of a pipe at which its result comes."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        return pid, reading
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGALRM, stopped)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        result = attack_on_end(name, target, number, lambda: tell(writing))
        with os.fdopen(writing, "w") as pipe:
            # The first byte is waited for, also of one that failed before it began.
            pipe.write("\n" + json.dumps(result) + "\n")
    finally:
        os._exit(0)


def attack_until_told(flood: str, attackers: int, seconds: float, target: dict[str, Any]) -> None:
    """One attack, until the next line of standard input or its end."""
    children = [child(flood, Target(**target), number, seconds) for number in range(attackers)]
    for _, pipe in children:
        os.read(pipe, 1)
    print("attacking", flush=True)
    sys.stdin.readline()
    for pid, _ in children:
        os.kill(pid, signal.SIGTERM)
    results = []
    for pid, pipe in children:
        with os.fdopen(pipe) as result:
            results.append(json.loads(result.read()))
        os.waitpid(pid, 0)
    print(json.dumps(results), flush=True)


def main() -> None:
    for order in iter(sys.stdin.readline, ""):
        attack_until_told(*json.loads(order))


if __name__ == "__main__":
    main()

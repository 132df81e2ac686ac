"""Attackers in processes of their own: `with attacking("ping", target, 16) as attack: …`.

    python -m benchmarks.hostile.attackers ping 16 SECONDS    a Target in JSON on standard input

They end when standard input does, or after SECONDS; what they were answered is printed then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.answers: Counter[str] = Counter()
        self.connections = 0
        self.failures: list[str] = []

    def end(self) -> None:
        output, _ = self._process.communicate(timeout=60)
        for line in filter(None, output.splitlines()):
            result = json.loads(line)
            self.answers.update(result["answers"])
            self.connections += result["connections"]
            self.failures += result["failures"]


@contextlib.contextmanager
def attacking(
    flood: str, target: Target, attackers: int = 1, seconds: float = MOST_SECONDS
) -> Iterator[Attack]:
    """The attackers run inside the block: each has dialled before it begins. `seconds` is for the
    case that nobody ends them."""
    command = [sys.executable, "-m", __name__, flood, str(attackers), str(seconds)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Linux shares processors by session: sixteen take one's share
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(target._asdict()) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "attacking\n", "the attackers did not start"
    attack = Attack(process)
    try:
        yield attack
    finally:
        attack.end()


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
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        result = attack_on_end(name, target, number, lambda: tell(writing))
        with os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(result) + "\n")
    finally:
        os._exit(0)


def main(arguments: Sequence[str]) -> None:
    name, attackers, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    target = Target(**json.loads(sys.stdin.readline()))
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGALRM, stopped)
    children = [child(name, target, number, seconds) for number in range(attackers)]
    for _, pipe in children:
        os.read(pipe, 1)
    print("attacking", flush=True)
    sys.stdin.read()
    for pid, _ in children:
        os.kill(pid, signal.SIGTERM)
    for pid, pipe in children:
        with os.fdopen(pipe) as result:
            print(result.read().strip())
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1:])

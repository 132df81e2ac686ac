"""What a well-behaved device notices of hostile clients, and what they cost.

    python -m benchmarks.hostile                          every flood, with 1, 4 and 16 attackers
    python -m benchmarks.hostile --only ping,slow-http --attackers 16
    python -m benchmarks.hostile --json                   one JSON object
    python -m benchmarks.hostile --list                   what there is

Each flood has a `twistd push` of its own, and each attacker a process of its own. A device with one
session gets pushes at fixed moments, by HTTP: first in quiet, then during the flood. Times run from
the moment when a push was due until the device had it, so a stop of the server counts for
every push that was due meanwhile. A visitor asks for health, readiness and statistics, each time on
a new connection. `beside` is the same device of a second server that nobody
floods, at the same time: what the machine and the attackers' own use of it add. The ratio is to
the larger of `quiet` and `beside`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.hostile.attackers import attacking
from benchmarks.hostile.floods import FLOODS
from benchmarks.hostile.watching import (
    Latencies,
    Memory,
    Visitor,
    WellBehaved,
    counters,
    hanging_redis,
    https_settings,
    is_healthy,
    prepare,
    refusals,
    tracebacks,
)
from benchmarks.running import Running, raise_file_limit, started_server

TARGET_RATIO, TARGET_WORST_MS, TARGET_GROWTH_MIB = 3.0, 100.0, 20.0
SHOWN_ANSWERS = 4
# Every registration and wrong secret of this benchmark comes from one address.
SETTINGS = {
    "connector_ws": "127.0.0.1:0",
    "connector_wss": "127.0.0.1:0",
    "limits_registrations_per_minute": "0",
}


@dataclass
class Row:
    """One flood with so many attackers."""

    flood: str
    attackers: int
    quiet: Latencies
    beside: Latencies
    flooded: Latencies
    visits: Latencies
    visits_beside: Latencies
    before_mib: float
    most_mib: float
    after_mib: float
    connections: int
    answers: dict[str, int]
    refused: dict[str, int]
    healthy: bool  # `/healthz` answered during the flood
    traceback: str
    failures: list[str]

    @property
    def ratio(self) -> float:
        return self.flooded.median_ms / max(self.quiet.median_ms, self.beside.median_ms)

    @property
    def misses(self) -> list[str]:
        """The targets that were missed. Without Redis nothing is delivered: then only memory."""
        found = []
        if not FLOODS[self.flood].hangs_redis:
            if self.ratio >= TARGET_RATIO:
                found.append("median")
            if self.flooded.worst_ms >= allowed_worst_ms(self.beside):
                found.append("worst")
            if self.visits.worst_ms >= allowed_worst_ms(self.visits_beside):
                found.append("visits")
        if self.after_mib - self.before_mib > TARGET_GROWTH_MIB:
            found.append("memory")
        if self.traceback:
            found.append("traceback")
        if not self.healthy:
            found.append("health")
        return found


def allowed_worst_ms(beside: Latencies) -> float:
    return max(TARGET_WORST_MS, TARGET_RATIO * beside.worst_ms)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(name: str, attackers: int, options: argparse.Namespace) -> Row:
    settings = {**SETTINGS, **dict(options.settings)}
    with tempfile.TemporaryDirectory() as folder:
        if FLOODS[name].carrier == "https":
            settings |= https_settings(Path(folder))
        with started_server(**settings) as running, started_server(**settings) as other:
            return _measure(running, other, name, attackers, options)


def together(
    clients: Sequence[WellBehaved | Visitor], options: argparse.Namespace
) -> list[Latencies]:
    """Measure them at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda each: each.measure(options.seconds, options.rate), clients))


def _measure(
    running: Running, other: Running, name: str, attackers: int, options: argparse.Namespace
) -> Row:
    target = prepare(running, attackers)
    device, bystander = WellBehaved(running), WellBehaved(other)
    clients = (device, bystander, Visitor(running), Visitor(other))
    for each in clients:
        each.measure(1, options.rate)  # what the first ones load and compile is not counted
    quiet, *_ = together(clients, options)
    counted, memory = counters(running), Memory(running)
    before_mib = memory.now_mib()
    with attacking(name, target, attackers) as attack:
        time.sleep(options.lead)
        with hanging_redis(running) if FLOODS[name].hangs_redis else contextlib.nullcontext():
            if FLOODS[name].hangs_redis:
                time.sleep(options.seconds)
                flooded = beside = visits = visits_beside = quiet
            else:
                flooded, beside, visits, visits_beside = together(clients, options)
            healthy = is_healthy(running)
    memory.end()
    after_mib = memory.settled_mib(before_mib, TARGET_GROWTH_MIB, options.after)
    refused = refusals(counted, counters(running))
    device.close()
    bystander.close()
    return Row(
        name,
        attackers,
        quiet,
        beside,
        flooded,
        visits,
        visits_beside,
        before_mib,
        memory.most_mib,
        after_mib,
        attack.connections,
        dict(attack.answers.most_common()),
        refused,
        healthy,
        tracebacks(running),
        attack.failures,
    )


def as_json(row: Row) -> dict[str, object]:
    names = ("quiet", "beside", "flooded", "visits", "visits_beside")
    times = {name: getattr(row, name)._asdict() for name in names}
    return {**asdict(row), **times, "ratio": row.ratio, "misses": row.misses}


HEAD = (
    f"{'flood':20} {'n':>3} {'quiet ms':>13} {'beside ms':>15} {'flood ms':>17} {'ratio':>6} "
    f"{'lost':>4} {'visits ms':>15} {'beside':>6} {'RSS MiB':>15} {'conns':>6}  "
    "misses; answers; refused"
)


def line(row: Row) -> str:
    answers = sorted(row.answers.items(), key=lambda item: -item[1])[:SHOWN_ANSWERS]
    told = ", ".join(f"{what} {number:,}" for what, number in answers)
    refused = ", ".join(f"{what} {number:,}" for what, number in row.refused.items())
    quiet, beside, flooded = row.quiet, row.beside, row.flooded
    return (
        f"{row.flood:20} {row.attackers:3} {quiet.median_ms:6.1f} {quiet.worst_ms:6.1f} "
        f"{beside.median_ms:7.1f} {beside.worst_ms:7.1f} "
        f"{flooded.median_ms:8.1f} {flooded.worst_ms:8.1f} {row.ratio:6.1f} {flooded.missing:4} "
        f"{row.visits.median_ms:7.1f} {row.visits.worst_ms:7.1f} {row.visits_beside.worst_ms:6.0f} "
        f"{row.before_mib:4.0f} {row.most_mib:5.0f} {row.after_mib:4.0f} {row.connections:6}  "
        f"{' '.join(row.misses) or 'fine'}; {told}; {refused}"
    )


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", default="", help="names of floods, with commas between")
    parser.add_argument("--list", action="store_true", help="print the names of the floods")
    parser.add_argument("--attackers", default="1,4,16", help="how many (default 1,4,16)")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement (8)")
    parser.add_argument("--rate", type=float, default=20, help="pushes a second (20)")
    parser.add_argument("--lead", type=float, default=1, help="seconds of flood before (1)")
    parser.add_argument(
        "--after", type=float, default=60, help="seconds until memory must be back (60)"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=lambda text: tuple(text.split("=", 1)),
        help="a setting of the server: --set limits_frames_per_second=100",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    names = [name for name in options.only.split(",") if name] or list(FLOODS)
    if unknown := [name for name in names if name not in FLOODS]:
        raise SystemExit(f"no such flood: {', '.join(unknown)}; there are {', '.join(FLOODS)}")
    if options.list:
        for name in names:
            print(f"{name:20} {FLOODS[name].what}")
        return
    raise_file_limit()
    rows = []
    say(HEAD)
    for name in names:
        for attackers in map(int, options.attackers.split(",")):
            rows.append(measure(name, attackers, options))
            say(line(rows[-1]))
            for trouble in filter(None, [rows[-1].traceback, *rows[-1].failures]):
                say(trouble)
    if options.json:
        print(json.dumps([as_json(row) for row in rows]))
    else:
        print("\n".join([HEAD, *map(line, rows)]))


if __name__ == "__main__":
    main()

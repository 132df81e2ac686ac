"""`python -m benchmarks`: options, the runs, and what is printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks import compiled
from benchmarks.bench import FULL, QUICK, SMALLEST, Bench
from benchmarks.benchmark import Benchmark
from benchmarks.catalog import ALL, BY_NAME
from benchmarks.machine import OthersCpu
from benchmarks.results import FigureTable
from benchmarks.running import raise_file_limit
from benchmarks.servers.peers import find_peers

NOISY_CORES = 0.05
EXAMPLES = """\
examples:
  python -m benchmarks                            all but cluster and hostile, 20 minutes
  python -m benchmarks --quick                    few sessions, few rounds: do they work?
  python -m benchmarks --only broadcast,http --rounds 7
  python -m benchmarks --only broadcast --json out.json > out.md
  sh benchmarks/peers.sh                          unpacks mosquitto and nats-server (Debian)

Figures are medians of rounds, in which the servers take turns; ratios are medians of the
ratios of the same round. CPU is that of all processes of a server, its Redis too.
docs/performance.md says what each figure means.
"""


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast push-universe is, beside others and beside what is possible.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="NAME,…", help="these benchmarks")
    parser.add_argument("--list", action="store_true", help="print which there are")
    parser.add_argument("--rounds", type=int, default=0, help="of each benchmark (its own number)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few sessions, few rounds")
    size.add_argument("--smallest", action="store_true", help="the least of all, as in the tests")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round")
    parser.add_argument("--mosquitto", default="", help="its program ($PEER_MOSQUITTO, PATH)")
    parser.add_argument("--nats", default="", help="nats-server ($PEER_NATS, PATH)")
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name]
    if unknown := [name for name in names if name not in BY_NAME]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    if options.rounds < 0:
        parser.error("--rounds: at least 1")
    options.chosen = [BY_NAME[name] for name in names] or [each for each in ALL if each.in_all]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs and prints; 1 when something was not as it should be."""
    options = parsed(arguments)
    if options.list:
        print("\n".join(f"{each.name:10} {each.what}" for each in ALL))
        return 0
    bench = Bench(
        SMALLEST if options.smallest else QUICK if options.quick else FULL,
        options.rounds,
        find_peers(options.mosquitto, options.nats),
    )
    raise_file_limit()
    compiled.generator()  # what is missing is known at once
    others, load = OthersCpu(), os.getloadavg()[0]
    bench.say(f"load {load:.2f}; {_peers(bench)}")
    for benchmark in options.chosen:
        _run(benchmark, bench)
    print(report(options.chosen, bench, _summary(bench, others, load)))
    if options.json:
        about = {"problems": bench.results.problems, "others_cores": others.cores()}
        content = {"about": about, "rounds": bench.results.rounds}
        Path(options.json).write_text(json.dumps(content, indent=1))
    return 1 if bench.results.problems else 0


def _run(benchmark: Benchmark, bench: Bench) -> None:
    """One that fails keeps nobody from the figures of the others."""
    try:
        benchmark.run(bench)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        bench.problem(f"{benchmark.name} failed: {error}")
    if bench.size == FULL:  # bounds are those of the full size
        for table in benchmark.tables:
            if isinstance(table, FigureTable):
                table.check(bench.results)


def report(benchmarks: Sequence[Benchmark], bench: Bench, summary: str) -> str:
    """Markdown."""
    tables = (
        table.markdown(bench.results) for benchmark in benchmarks for table in benchmark.tables
    )
    problems = "".join(f"PROBLEM: {text}\n" for text in bench.results.problems)
    return "\n".join([summary, *filter(None, tables), problems]).rstrip()


def _peers(bench: Bench) -> str:
    found = {"mosquitto": bench.paths.mosquitto, "nats-server": bench.paths.nats}
    return ", ".join(
        f"{name} {'beside us' if path else 'not found'}" for name, path in found.items()
    )


def _summary(bench: Bench, others: OthersCpu, load: float) -> str:
    cores = others.cores()
    size = ("full size", "--quick", "--smallest")[bench.size]
    text = (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {size}, "
        f"{others.wall_seconds:,.0f} s, load {load:.2f} before, others used {cores:.2f} cores.\n"
    )
    if cores > NOISY_CORES:
        text += f"Noisy: others used {cores:.2f} cores. Rates are too low; compare ratios.\n"
        print(text.splitlines()[-1], file=sys.stderr)
    return text

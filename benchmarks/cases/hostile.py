"""What a well-behaved device notices of hostile clients: every flood of `benchmarks.hostile`.

That module has options of its own: which floods, how many attackers, settings of the server.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.hostile.__main__ import measure, parsed
from benchmarks.hostile.floods import FLOODS
from benchmarks.results import Table

COLUMNS = (
    ("median to that of a server without a flood", "ratio"),
    ("median ms", "median_ms"),
    ("worst ms", "worst_ms"),
    ("MiB before", "before_mib"),
    ("at most", "most_mib"),
    ("after", "after_mib"),
)
ATTACKERS = (1, 4, 16)


def run(bench: Bench) -> None:
    seconds, after = bench.pick((8, 60), (2, 5), (0.3, 0))
    options = parsed([f"--seconds={seconds}", f"--after={after}", "--lead=0.2"])
    floods = bench.pick(list(FLOODS), list(FLOODS)[:3], list(FLOODS)[:1])
    for name in floods:
        for attackers in bench.pick(ATTACKERS, ATTACKERS[-1:], ATTACKERS[:1]):
            row = measure(name, attackers, options)
            bench.say(f"{name}, {attackers} attackers: {' '.join(row.misses) or 'fine'}")
            figures = {
                "ratio": row.ratio,
                "median_ms": row.flooded.median_ms,
                "worst_ms": row.flooded.worst_ms,
                "before_mib": row.before_mib,
                "most_mib": row.most_mib,
                "after_mib": row.after_mib,
            }
            bench.results.add(f"hostile {attackers}", name, figures)
            for trouble in filter(None, [row.traceback, *row.failures]):
                bench.problem(f"{name}: {trouble}")


BENCHMARK = Benchmark(
    "hostile",
    "what a well-behaved device notices of every flood (python -m benchmarks.hostile has options)",
    run,
    [
        Table(f"hostile {attackers}", f"Floods by {attackers} hostile clients", COLUMNS)
        for attackers in ATTACKERS
    ],
    in_all=False,
)

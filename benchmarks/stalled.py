"""The memory of a connector while a million messages are pushed at devices that read nothing.

    python -m benchmarks.stalled            about a minute a case; prints figures
    python -m benchmarks.stalled --json     one JSON object

1,000 plain sessions that never read and never acknowledge. The messages go to each by its token,
with small and with large `data`, and to all. Growth is the process's resident memory at its most,
beside what it was when all sessions were open; Redis, in a process of its own, is not in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks.fleet import Fleet
from benchmarks.running import Api, raise_file_limit, started_server

DEVICES = 1000
MIB = 1024 * 1024


def growth_mib(messages: int, data_bytes: int, *, to_all: bool) -> float:
    """Push `messages` in all to `DEVICES` stalled devices."""
    with started_server() as running:
        fleet = Fleet(running.tcp_address, DEVICES)
        tokens = fleet.connect(running.app_key)
        api = Api(running)
        before = most = running.rss_bytes()
        to = {"all": True} if to_all else {"tokens": tokens}
        push = {"to": to, "data": "x" * data_bytes, "ttl": 3600}
        rounds = messages // DEVICES
        for number in range(rounds):
            api.post("/v1/push", push)
            most = max(most, running.rss_bytes())
            if number % 200 == 199:
                growth = (most - before) / MIB
                print(f"  {number + 1} of {rounds}: {growth:.1f} MiB", file=sys.stderr, flush=True)
        fleet.close()
    return (most - before) / MIB


CASES: Sequence[tuple[str, int, int, bool]] = (
    ("tokens_1000000_of_200_bytes_mib", 1_000_000, 200, False),
    ("tokens_200000_of_4000_bytes_mib", 200_000, 4000, False),
    ("all_1000000_of_200_bytes_mib", 1_000_000, 200, True),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    raise_file_limit()
    figures = {}
    for name, messages, data_bytes, to_all in CASES:
        print(name, file=sys.stderr, flush=True)
        figures[name] = growth_mib(messages, data_bytes, to_all=to_all)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:34} {value:8,.1f}")


if __name__ == "__main__":
    main()

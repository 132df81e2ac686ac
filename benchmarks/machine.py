"""What processes and the machine used."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Time of a process on a processor until now, all its threads; 0 when it has ended."""
    try:
        return time.clock_gettime((~pid) << 3 | 2)
    except OSError:
        return 0.0


def rss_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it has ended."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


class OthersCpu:
    """How many cores were used meanwhile by what is not ours: above 0.05 a run is noisy.

    Ours are this process and its children that have ended: read it when all servers are stopped.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._machine, self._ours = _machine_seconds(), _our_seconds()

    @property
    def wall_seconds(self) -> float:
        return time.monotonic() - self._began

    def cores(self) -> float:
        machine, ours = _machine_seconds() - self._machine, _our_seconds() - self._ours
        return max(0.0, machine - ours) / self.wall_seconds


def _machine_seconds() -> float:
    """CPU seconds that the machine spent, for any program."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _our_seconds() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )

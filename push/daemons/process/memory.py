"""How much memory this process may have, and whether it has it.

What counts is the resident set, read once a second: it is what the machine runs out of, and a sum
of what is known to be buffered would miss most of it (TLS, decoders, the allocator). The buffers
that could grow within a second are bounded by themselves.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Periodic

log = Logger()

CHECK_SECONDS = 1.0
# Under the limit by this share, it is enough again: else the answer would change all the time.
ENOUGH = 0.95
# The allocator keeps what was freed; while there is too little, it is asked to give it back.
TRIM_SECONDS = 10.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_OWN_PAGES = Path("/proc/self/statm")


def total_bytes() -> int:
    """Of the machine, or of the smallest control group that this process is in."""
    machine = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    return min([machine, *_cgroup_limits()])


def _cgroup_limits(own: Path = _OWN_CGROUPS, root: Path = _CGROUPS) -> Iterator[int]:
    """Limits of the control groups around this process, in both versions of their files."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        group = base / path.strip("/")
        # In a container the path may be that of the host, whose root is the container's.
        for folder in (group, *group.parents):
            if folder.is_relative_to(base):
                limit = _read_number(folder / name)
                if limit:
                    yield limit


def _read_number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0  # "max"


def resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    try:
        return int(_OWN_PAGES.read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Let the C library return to the system what was freed, where it can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryWatch:
    """`is_short`: more than `limit_bytes` are in use, and nothing new is to be begun. 0 = no
    limit."""

    def __init__(
        self,
        clock: Clock,
        limit_bytes: int,
        used_bytes: Callable[[], int] = resident_bytes,
        trim: Callable[[], None] = give_back,
    ) -> None:
        self.is_short = False
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._clock = clock
        self._read_used = used_bytes
        self._trim = trim
        self._trimmed_at: float | None = None
        self._checking = Periodic(
            clock,
            CHECK_SECONDS,
            self.check,
            lambda failure: log.failure(
                "The use of memory was not checked", failure=failure, event="memory.check_failed"
            ),
        )

    def start(self) -> None:
        log.info(
            "[limits] memory: {limit} bytes; 0 = no limit",
            limit=self.limit_bytes,
            event="memory.limit",
        )
        self._checking.start(now=True)

    def stop(self) -> None:
        self._checking.stop()

    def check(self) -> None:
        """Look how much is in use."""
        self.used_bytes = self._read_used()
        if self.limit_bytes and self.used_bytes > self.limit_bytes:
            self._give_back()
        limit = self.limit_bytes * (ENOUGH if self.is_short else 1)
        is_short = bool(limit) and self.used_bytes > limit
        if is_short != self.is_short:
            self.is_short = is_short
            log.warn(
                "{used} bytes of memory are in use, of {limit} ([limits] memory): {what}",
                used=self.used_bytes,
                limit=self.limit_bytes,
                what="nothing new is begun" if is_short else "that is enough again",
                event="memory.state",
            )

    def _give_back(self) -> None:
        now = self._clock.seconds()
        if self._trimmed_at is None or now - self._trimmed_at >= TRIM_SECONDS:
            self._trimmed_at = now
            self._trim()
            self.used_bytes = self._read_used()

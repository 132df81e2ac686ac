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
# The allocator keeps what was freed, as after a crowd of TLS connections. When it has this much
# free, and while there is too little memory, it is asked to give it back: 0.1 ms for each MiB.
FREE_BYTES = 8 << 20
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


class _Mallinfo2(ctypes.Structure):
    """See mallinfo(3); `fordblks` is what is free."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def free_bytes() -> int:
    """What the C library has free, given back or not; 0 where it does not tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = _Mallinfo2
    return int(mallinfo2().fordblks)


def give_back() -> None:
    """Let the C library return to the system what was freed, where it can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryWatch:
    """`is_short`: more than `limit_bytes` are in use, and nothing new is to be begun. 0 = no limit.

    `in_thread` runs what would take too long for a turn of the reactor.
    """

    def __init__(
        self,
        clock: Clock,
        limit_bytes: int,
        used_bytes: Callable[[], int] = resident_bytes,
        trim: Callable[[], None] = give_back,
        free: Callable[[], int] = free_bytes,
        in_thread: Callable[[Callable[[], None]], object] = lambda work: work(),
    ) -> None:
        self.is_short = False
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._clock = clock
        self._read_used = used_bytes
        self._trim = trim
        self._free_bytes = free
        self._in_thread = in_thread
        self._trimmed_at = clock.seconds() - TRIM_SECONDS
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
        if now - self._trimmed_at < TRIM_SECONDS:
            return
        if self.limit_bytes and self.used_bytes > self.limit_bytes:
            self._trimmed_at = now
            self._trim()
            self.used_bytes = self._read_used()
        elif self._free_bytes() >= FREE_BYTES:
            self._trimmed_at = now
            self._in_thread(self._trim)

"""File locks that end with the processes that hold them, however these end."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock on `path`, or None when another process holds it.

    The lock belongs to the open file: a child that inherits the descriptor holds it too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def may_hold(pid: int, path: Path) -> bool:
    """Whether process `pid` has `path` open; True where the system does not say."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        return any(_is_same(entry, path) for entry in folder.iterdir())
    except FileNotFoundError:
        return not Path("/proc/self/fd").exists()
    except PermissionError:
        return False


def _is_same(entry: Path, path: Path) -> bool:
    try:
        return os.path.samefile(entry, path)
    except OSError:  # closed meanwhile, or not a file
        return False

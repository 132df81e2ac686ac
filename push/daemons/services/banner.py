"""What a start says: where it listens, where the keys are, and a line to try."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Set
from pathlib import Path

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.runtime.ports import Clock
from push.runtime.timers import Periodic

log = Logger()

CHECK_SECONDS = 0.05


class Banner(Service):
    """Says once, when everything is ready, what a user needs to know.

    `problems` tells what is not ready yet; `lines` what goes to standard output without the log's
    marks, so that a command can be copied from there; None: nothing does, because a program reads
    it. Then `ready_file` is made, for scripts that wait for it; one that a killed process left is
    removed at the start.
    """

    def __init__(
        self,
        reactor: Clock,
        problems: Callable[[], list[str]],
        lines: Callable[[], list[str]] | None,
        ready_file: Path | None = None,
    ) -> None:
        self._problems = problems
        self._lines = lines
        self._ready_file = ready_file
        self._checks = Periodic(reactor, CHECK_SECONDS, self._look, _log_failure)

    def startService(self) -> None:
        super().startService()
        self._remove_ready_file()
        self._checks.start(now=True)

    def stopService(self) -> None:
        super().stopService()
        self._checks.stop()
        self._remove_ready_file()

    def _look(self) -> None:
        if self._problems():
            return
        self._checks.stop()
        log.info("ready", event="server.ready")
        out = sys.__stdout__
        if self._lines is not None and out is not None and _is_somewhere(out.fileno()):
            print("\n".join(["", *self._lines(), ""]), file=out, flush=True)
        self._make_ready_file()

    def _make_ready_file(self) -> None:
        if self._ready_file is None:
            return
        try:
            self._ready_file.write_text(f"{os.getpid()}\n")
        except OSError as error:
            log.error(
                "{file}: {reason}",
                file=str(self._ready_file),
                reason=error.strerror,
                event="server.ready_file_failed",
            )

    def _remove_ready_file(self) -> None:
        if self._ready_file is None:
            return
        try:
            self._ready_file.unlink(missing_ok=True)
        except OSError as error:
            log.error(
                "{file}: {reason}",
                file=str(self._ready_file),
                reason=error.strerror,
                event="server.ready_file_failed",
            )


KEY_LINES = {"admin": "every scope", "app": "scope register, for apps"}

# What shows that a daemon works, by its role and in the order of preference: path, key, body.
TRIALS: dict[str, tuple[str, str, str]] = {
    "api": ("/v1/push", "admin", '{"to": {"all": true}, "data": {"text": "Hello"}}'),
    "group": ("/v1/groups", "admin", '{"owner": "anna", "name": "Friends", "members": ["bob"]}'),
    "sub": ("/v1/devices", "app", '{"platform": "linux", "app": "demo"}'),
}


def lines_to_try(
    http_url: str | None,
    device_urls: list[str],
    roles: Set[str],
    key_files: Mapping[str, Path],
    ca_file: Path | None = None,
) -> list[str]:
    """The addresses, the files whose keys are valid, and a request by curl that this daemon serves.

    Without such a file (the keys are configured, and only their digests are known) the request is
    one that needs no key. `ca_file`: what curl must trust, if the system does not.
    """
    lines = [f"push is ready. Devices connect to {', '.join(device_urls)}"] if device_urls else []
    if http_url is None:
        return lines
    has_api = not roles.isdisjoint(TRIALS)
    lines.append(f"HTTP API on {http_url}" if has_api else f"Health and metrics on {http_url}")
    for name, path in key_files.items():
        lines.append(f"Key with {KEY_LINES[name]}: {_shown(path)}")
    trial = next((TRIALS[role] for role in TRIALS if role in roles), None)
    lines.append("Try:")
    curl = "curl" if ca_file is None else f"curl --cacert {_shown(ca_file)}"
    if trial is None or trial[1] not in key_files:
        return [*lines, f"  {curl} {http_url}/readyz"]
    path_of_trial, key, body = trial
    return [
        *lines,
        f'  {curl} {http_url}{path_of_trial} -H "Authorization: Bearer '
        f'$(cat {_shown(key_files[key])})" \\',
        f"    -H 'Content-Type: application/json' -d '{body}'",
    ]


def _shown(path: Path) -> str:
    """The path as a shell takes it, relative where that is shorter."""
    relative = os.path.relpath(path)
    return shlex.quote(min(str(path), relative, key=len))


def _log_failure(failure: Failure) -> None:
    log.failure("The start could not be announced", failure, event="server.announcement_failed")


def _is_somewhere(descriptor: int) -> bool:
    """Not the null device that twistd puts in place when it runs in the background."""
    try:
        return os.fstat(descriptor).st_rdev != os.stat(os.devnull).st_rdev
    except OSError:
        return False

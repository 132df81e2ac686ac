"""`twistd push` as a process on free ports, which ends with the process that started it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from push.daemons.config.settings import SECTION_TYPES
from push.daemons.config.value_types import ListenAddress
from push.daemons.process import exec_wrapper
from push.wire.addresses import HostPort

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.01
LAST_LINES = 40

_ANY_PORT = "127.0.0.1:0"  # a free one: the kernel chooses
# Not the script `twistd` of some folder: the one of this interpreter.
_TWISTD = "from twisted.scripts.twistd import run; run()"


class ServerDidNotStart(Exception):
    """One line says why; the end of the server's log follows."""


class DaemonProcess:
    """One run of the server with its data, its log and its keys in `folder`.

    `settings`: as `{"chat.presence": "anyone"}`, over those of a local start. The environment's own
    `PUSH_…` variables do not count: they may name the Redis of a production system.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.log = folder / "server.log"
        self.data = folder / "data"
        self._ready_file = folder / "ready"
        self._ready_file.unlink(missing_ok=True)  # of a server that was killed
        chosen = {
            **_listeners(),
            "server.data": str(self.data),
            "server.ready_file": str(self._ready_file),
            "limits.registrations_per_minute": 0,
            **settings,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                _command(),
                cwd=folder,  # so that no module of the project that is tested is in the way
                env=_environment(chosen),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> dict[str, HostPort]:
        """Where it listens, by name: tcp, tls, http, … Raises `ServerDidNotStart`."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready_file.exists():
            status = self._process.poll()
            if status is not None:
                raise ServerDidNotStart(self._problem(f"it ended with status {status}"))
            if time.monotonic() > deadline:
                self.stop()
                raise ServerDidNotStart(self._problem(f"it was not ready in {START_SECONDS:g} s"))
            time.sleep(LOOK_SECONDS)
        found = re.findall(r"listening: (\w+) (\S+:\d+)", self.log.read_text("utf-8", "replace"))
        return {name: _reachable(HostPort.parse(address)) for name, address in found}

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to a process that does not end: its Redis ends with it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _problem(self, what: str) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        said = next((f": {line}" for line in lines if line.startswith("twistd push: ")), "")
        last = "\n".join(lines[-LAST_LINES:])
        return f"the server did not start: {what}{said}\n--- the end of {self.log}\n{last}"


def _reachable(listening: HostPort) -> HostPort:
    """A server that listens on all addresses is reached on loopback."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return HostPort(loopback.get(listening.host, listening.host), listening.port)


def _listeners() -> dict[str, str]:
    """Every address that is listened on by default, each with a free port."""
    return {
        f"{section}.{field.name}": _ANY_PORT
        for section, fields in SECTION_TYPES.items()
        for field in msgspec.structs.fields(fields)
        if isinstance(field.default, ListenAddress) and field.default.enabled
    }


def _command() -> list[str]:
    wrapper = [sys.executable, "-I", "-S", exec_wrapper.__file__, str(os.getpid())]
    return [*wrapper, sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "push"]


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    # PYTHONWARNINGS=error is meant for the tests, not for every library of a server.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PUSH_") and name != "PYTHONWARNINGS"
    }
    for path, value in settings.items():
        section, _, key = path.partition(".")
        environment[f"PUSH_{section}_{key}".upper()] = (
            value if isinstance(value, str) else json.dumps(value)
        )
    return environment

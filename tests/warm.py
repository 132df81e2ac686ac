"""Programs in Python that begin warm: processes of their own that need not import everything anew.

A daemon spends 0.7 s of a processor on its imports, and a run starts about a thousand. `start` asks
a process that has them already (`warm_host.py`, one for each process of tests) to fork itself and
to run the program with its own arguments, environment and streams. What a fork cannot do starts
cold, as `subprocess.Popen`: another interpreter, or variables that the interpreter reads itself.
With `PUSH_TEST_COLD=1` everything does. What tests the start itself does not come here.
"""

from __future__ import annotations

import atexit
import contextlib
import marshal
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.warm_host import can_fork

COLD = os.environ.get("PUSH_TEST_COLD", "") not in ("", "0")
BIN = Path(sys.executable).parent
HOST = Path(__file__).with_name("warm_host.py")
COMMAND = Path(__file__).with_name("warm_command.py")
COMMANDS = ("pushctl", "twistd")
LOOK_SECONDS = 0.01
MAX_ANSWER_BYTES = 1000


class Host:
    """The process that forks."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.folder = Path(tempfile.mkdtemp(prefix="push-warm-"))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.folder / "socket"))
        listener.listen(socket.SOMAXCONN)
        with theirs, listener:
            descriptors = [theirs.fileno(), listener.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, str(HOST), *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                cwd=HOST.parents[1],
            )

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Any:
        text = marshal.dumps(request)
        with self._lock:
            socket.send_fds(self._control, [text], descriptors)
            answer = self._control.recv(MAX_ANSWER_BYTES)
        assert answer, f"the host of warm processes has ended: {self._process.wait()}"
        return marshal.loads(answer)

    def end(self) -> None:
        self._control.close()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def words_for(self, script: Path) -> list[str]:
        """What to start instead of `script`."""
        return [sys.executable, "-IS", str(COMMAND), str(self.folder / "socket"), str(script)]

    def make_command(self, name: str) -> None:
        """`name` of `.venv/bin`, in our folder."""
        words = shlex.join(self.words_for(BIN / name))
        (self.folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (self.folder / name).chmod(0o755)


_host: Host | None = None


def _the_host() -> Host:
    global _host
    if _host is None:
        _host = Host()
        for name in COMMANDS:
            _host.make_command(name)
        atexit.register(_host.end)
    return _host


def commands() -> Path:
    """A folder with `pushctl` and `twistd` that begin warm: for shells and all that starts them."""
    return BIN if COLD else _the_host().folder


class Warm:
    """What tests use of `subprocess.Popen`, of a process that another one has forked."""

    def __init__(self, host: Host, pid: int, args: Sequence[str], stdin: IO[bytes] | None) -> None:
        self.pid = pid
        self.args = args
        self.stdin = stdin
        self.returncode: int | None = None
        self._host = host
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None:
                self.returncode = self._host.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(LOOK_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | None = None,
    stdout: Any = None,
    stderr: Any = None,
) -> Any:
    """As `Popen(command, …)`, of a script in Python: `[twistd, …]` or `[sys.executable, path, …]`.

    `stdin` may be `PIPE`; the other streams are files, `DEVNULL`, or those of the tests.
    """
    environment = dict(os.environ if env is None else env)
    script = list(command[1:] if command[0] == sys.executable else command)
    if COLD or not can_fork(_the_host().environment, environment, script):
        return subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr
        )
    with contextlib.ExitStack() as closing:
        theirs, ours = _input(stdin, closing)
        streams = [theirs, *(_output(each, n, closing) for n, each in ((1, stdout), (2, stderr)))]
        host = _the_host()
        pid = host.ask(
            {
                "command": script,
                "environment": environment,
                "folder": str(cwd or Path.cwd()),
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
            },
            streams,
        )
    return Warm(host, pid, command, ours)


def _input(stdin: int | None, closing: contextlib.ExitStack) -> tuple[int, IO[bytes] | None]:
    if stdin == subprocess.PIPE:
        theirs, ours = os.pipe()
        closing.callback(os.close, theirs)
        return theirs, os.fdopen(ours, "wb", buffering=0)
    return _output(stdin, 0, closing), None


def _output(stream: Any, standard: int, closing: contextlib.ExitStack) -> int:
    if stream == subprocess.DEVNULL:
        descriptor = os.open(os.devnull, os.O_RDWR)
        closing.callback(os.close, descriptor)
        return descriptor
    if stream is None:
        return standard
    return stream if isinstance(stream, int) else int(stream.fileno())


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(…, capture_output=True, text=True, stdin=DEVNULL, check=False)`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(command, status, *texts)

"""The programs of the demo: started, waited for until they are ready, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from push.daemons.process import exec_wrapper

LOOK_SECONDS = 0.05
START_SECONDS = 60
STOP_SECONDS = 10
# "2026-11-29T17:34:06+0000 [push.daemons.banner#info] text"
_LOG_LINE = re.compile(r"^\S+ \[\S+\] ?")
_LISTENING = re.compile(r"listening: (\w+) \S*:(\d+)$", re.MULTILINE)


class LauncherError(Exception):
    """The demo cannot go on; the message is one line."""


class Program:
    """A program, its log and its process id, both as files. It may be started again.

    It ends with this process, however that ends, and gets no Ctrl-C from the terminal: it is ended
    in order.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._starts = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """Of the last start."""
        return self._folder / f"{self.name}-{self._starts}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        standard_input: bytes = b"",
    ) -> None:
        self._starts += 1
        wrapper = [sys.executable, "-I", "-S", exec_wrapper.__file__, str(os.getpid())]
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *wrapper,
                *command,
                env=None if environment is None else dict(environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        (self._folder / f"{self.name}.pid").write_text(f"{self._process.pid}\n")
        assert self._process.stdin is not None
        self._process.stdin.write(standard_input)
        self._process.stdin.close()

    async def wait_for_line(self, text: str) -> None:
        """Until the log has `text`. Raises `LauncherError` with the last line if it ends before."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while text not in self._text():
                    if not self.running:
                        raise LauncherError(f"{self.name} did not start: {self.last_words()}")
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise LauncherError(
                f"{self.name} was not ready within {START_SECONDS} s: {self.last_words()}"
            ) from None

    def port(self, listener: str) -> int:
        """Where it listens, as its log says."""
        ports = {name: int(port) for name, port in _LISTENING.findall(self._text())}
        return ports[listener]

    async def ended(self) -> int:
        """Wait for its end; returns the exit status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End it: in order, then by force."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if not self.running:
                return
            assert self._process is not None
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended(), STOP_SECONDS)

    def kill(self) -> None:
        if self.running:
            assert self._process is not None
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def last_words(self) -> str:
        """The last line of the log, without its marks."""
        lines = [line for line in self._text().splitlines() if line.strip()]
        return _LOG_LINE.sub("", lines[-1]) if lines else "it said nothing"

    def _text(self) -> str:
        return self.log.read_text(errors="replace")

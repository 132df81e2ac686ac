"""The embedded Redis: a server of our own as a supervised child process.

Two locks on the folder make one server certain. `owner.lock` is held by the daemon: a second daemon
on the same folder is refused at once. `server.lock` is held by the daemon and, through an inherited
descriptor, by the server itself: it stays held while either lives. A daemon that has the first
and not the second has found a server that outlived its daemon, and ends it before it starts another
on the same append-only file.

The server is started again when it dies, with growing pauses, for as long as the service runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.daemons.config.errors import StartError
from push.daemons.embedded_redis.binary import (
    RedisBinary,
    check_log_format,
    command_line,
    configuration,
    find_server,
    make_private_folder,
    socket_path_for,
)
from push.daemons.embedded_redis.probe import Loading, kill_holder, probe, shut_down
from push.daemons.embedded_redis.process import ServerProcess
from push.daemons.process.file_lock import try_lock
from push.runtime.ports import Reactor
from push.runtime.timers import sleep

_log = Logger()

POLL_SECONDS = 0.02
STOP_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# A server that ran for so long did not die of its start: the pauses begin again.
STABLE_SECONDS = 60.0
PROGRESS_SECONDS = 5.0


def pause_seconds(deaths: int) -> float:
    """How long to wait after so many deaths in a row: doubling, up to ten seconds."""
    return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(deaths - 1, 10)))


class EmbeddedRedis(Service):
    """A Redis server on a unix socket, with its data in `<data folder>/redis`.

    `startService` raises StartError when the folder is in use or no server program is found; the
    Deferred of `stopService` fires when the server has ended. `url` is known before the start.
    """

    def __init__(
        self,
        reactor: Reactor,
        data_folder: Path,
        find_binary: Callable[[], RedisBinary] = find_server,
    ) -> None:
        self.folder = data_folder / "redis"
        self.socket_path = socket_path_for(self.folder)
        self.url = f"unix://{self.socket_path}"
        self._reactor = reactor
        self._find_binary = find_binary
        self._locks: list[int] = []
        self._process: ServerProcess | None = None
        self._serving = False
        self._waiting: list[Deferred[None]] = []
        self._supervision: Deferred[None] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, while there is one."""
        return self._process.pid if self._process and self._process.alive else None

    async def ready(self) -> None:
        """Return when the server answers: at once, or after its start and the loading of its data.

        Raises CancelledError when the service stops before.
        """
        if not self._serving:
            answer: Deferred[None] = Deferred()
            self._waiting.append(answer)
            await answer

    def startService(self) -> None:
        make_private_folder(self.folder)
        make_private_folder(Path(self.socket_path).parent)
        binary = self._find_binary()
        check_log_format(self.folder, binary)
        owner = try_lock(self._file("owner.lock"))
        if owner is None:
            raise StartError(
                f"the data folder {self.folder.parent} is in use by another push: stop it, or set "
                "[server] data to another folder"
            )
        self._locks = [owner]
        super().startService()
        self._supervision = Deferred.fromCoroutine(self._supervise(binary))
        self._supervision.addErrback(self._supervision_ended)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._supervision is not None:
            self._supervision.cancel()
        self._serving = False
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer.cancel()
        if self._process is not None:
            await self._process.end(STOP_SECONDS)
        while self._locks:
            os.close(self._locks.pop())
        if Path(self.socket_path).parent != self.folder:
            self._remove_socket_folder()

    def _remove_socket_folder(self) -> None:
        try:
            Path(self.socket_path).parent.rmdir()
        except OSError as error:
            _log.warn(
                "The folder of the socket {path} was not removed, delete it: {error}",
                path=self.socket_path,
                error=error.strerror,
                event="redis.socket_left",
            )

    def _supervision_ended(self, failure: Failure) -> None:
        if not self.running:
            return  # it was cancelled
        _log.failure(
            "The embedded Redis is no longer supervised: restart this daemon",
            failure,
            event="redis.supervision_failed",
        )
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer.errback(failure)

    def _file(self, name: str) -> Path:
        return self.folder / name

    # --- supervision -------------------------------------------------------------------------

    async def _supervise(self, binary: RedisBinary) -> None:
        server_lock = await self._take_server_lock()
        self._locks.append(server_lock)
        text = configuration(self.folder, self.socket_path)
        _log.info(
            "Redis: {binary} on {path}",
            binary=str(binary),
            path=self.socket_path,
            event="redis.starting",
        )
        deaths = 0
        # Not only cancelled: a caller that waits for `ready` runs inside this, and may stop us.
        while self.running:
            began_seconds = self._reactor.seconds()
            how = await self._run_once(command_line(binary), text, server_lock)
            if not self.running:
                return
            if self._reactor.seconds() - began_seconds > STABLE_SECONDS:
                deaths = 0
            deaths += 1
            pause = pause_seconds(deaths)
            _log.error(
                "Redis {how}. It is started again in {pause:g} s",
                how=how,
                pause=pause,
                event="redis.ended",
            )
            await sleep(self._reactor, pause)

    async def _run_once(self, command: list[str], text: str, server_lock: int) -> str:
        """One run of the server, to its end; how it ended, in words."""
        try:
            process = ServerProcess.spawn(self._reactor, command, text, server_lock)
        except OSError as error:  # no memory, no room for a process or for its pipes
            return f"cannot be started: {error.strerror}"
        self._process = process
        if await self._until_serving(process):
            self._now_serving()
        how = await process.ended()
        self._serving = False
        return f"(process {process.pid}) ended: {how}"

    async def _until_serving(self, process: ServerProcess) -> bool:
        """True when the server answers, False when it has ended before."""
        said_seconds = self._reactor.seconds()
        while process.alive:
            state = await probe(self._reactor, self.socket_path)
            if state is True:
                return process.alive
            if self._reactor.seconds() - said_seconds >= PROGRESS_SECONDS:
                said_seconds = self._reactor.seconds()
                percent = f"{state} % of its data" if isinstance(state, Loading) else "nothing yet"
                _log.info(
                    "Redis is starting: it has loaded {percent}",
                    percent=percent,
                    event="redis.loading",
                )
            await sleep(self._reactor, POLL_SECONDS)
        return False

    def _now_serving(self) -> None:
        self._serving = True
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer.callback(None)

    async def _take_server_lock(self) -> int:
        """The lock that every server on this folder holds; one that is left over is ended first."""
        path = self._file("server.lock")
        began_seconds = self._reactor.seconds()
        asked = False
        while (lock := try_lock(path)) is None:
            if not asked:
                asked = True
                _log.warn(
                    "a Redis server outlived an earlier run on {folder}: it is ended first",
                    folder=str(self.folder),
                    event="redis.orphan_found",
                )
                await shut_down(self._reactor, self.socket_path)
            elif self._reactor.seconds() - began_seconds > STOP_SECONDS:
                began_seconds = self._reactor.seconds()
                pid = kill_holder(self._file("redis.pid"), path)
                _log.error(
                    "it did not end; killed process {pid}", pid=pid, event="redis.orphan_killed"
                )
            await sleep(self._reactor, POLL_SECONDS)
        return lock

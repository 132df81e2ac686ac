"""The process of `tests/warm.py`: has imported what daemons import, and forks itself into them.

Run as a script with the numbers of two descriptors: the socket to the tests, and the one to which
their commands come. It ends when the first does, and then kills what it started and still runs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import marshal
import os
import resource
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

MAX_REQUEST_BYTES = 1 << 18
READ_AT_THE_START = ("LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PYTHON")
# The daemons, and the devices of tests/faults.
IMPORTED = (
    "twisted.scripts.twistd",
    "twisted.plugins.push_plugins",
    "twisted.internet.epollreactor",
    "push.daemons.twistd.all_in_one",
    "push.daemons.twistd.api",
    "push.daemons.twistd.connector",
    "push.daemons.twistd.group",
    "push.daemons.twistd.sub",
    "push.daemons.compose",
    "push.pushctl.main",
    "push.resharding.run",
    "push.sdk.aio",
)


Child = tuple[dict[str, Any], list[int]]  # of which `become` makes the program


class Host:
    """Answers requests of the tests over `control` and of commands (`warm_command.py`) that come to
    `listener`, until the tests have ended."""

    def __init__(self, control: socket.socket, listener: socket.socket) -> None:
        self._control = control
        self._listener = listener
        self._environment = dict(os.environ)
        self._started: set[int] = set()  # by the tests, which ask for their ends
        self._commands: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._answer_tests)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def serve(self) -> None:
        """Returns when the tests have ended. A child returns from here as well, as `None` or by the
        exception of its program."""
        while self._control.fileno() >= 0:
            for key, _ in self._selector.select():
                registered = self._selector.get_map()
                child = key.data() if registered and key.fd in registered else None
                if child is not None:
                    return become(*child)
        for pid in (*self._started, *self._commands.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return None

    def _answer_tests(self) -> Child | None:
        text, descriptors, _, _ = socket.recv_fds(self._control, MAX_REQUEST_BYTES, 3)
        if not text:
            self._forget(self._control)
            return None
        request = marshal.loads(text)
        if "poll" in request:
            answer = self._status(request["poll"])
        else:
            answer = self._fork(descriptors)
            if answer == 0:
                return request, descriptors
            self._started.add(answer)
        self._control.send(marshal.dumps(answer))
        return None

    def _status(self, pid: int) -> int | None:
        """None while it runs, then what `Popen.returncode` says. Only this takes it off the system,
        so that a signal from the tests never reaches another process of the same number."""
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        self._started.discard(pid)
        return os.waitstatus_to_exitcode(status)

    def _fork(self, descriptors: list[int]) -> int:
        """As `os.fork`; a child has nothing of the host's but the descriptors it was given."""
        pid = os.fork()
        if pid == 0:
            for key in self._selector.get_map().values():
                os.close(key.fileobj) if isinstance(key.fileobj, int) else key.fileobj.close()
            self._selector.close()
        else:
            for descriptor in descriptors:
                os.close(descriptor)
        return pid

    # --- commands ------------------------------------------------------------------------------

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        begin = partial(self._begin, connection)
        self._selector.register(connection, selectors.EVENT_READ, begin)

    def _begin(self, connection: socket.socket) -> Child | None:
        text, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
        if not text:
            self._forget(connection)
            return None
        request = marshal.loads(text)
        if not can_fork(self._environment, request["environment"], request["command"]):
            connection.send(marshal.dumps(None))
            for descriptor in descriptors:
                os.close(descriptor)
            self._forget(connection)
            return None
        pid = self._fork(descriptors)
        if pid == 0:
            return request, descriptors
        connection.send(marshal.dumps(pid))
        self._commands[connection] = pid
        self._selector.modify(connection, selectors.EVENT_READ, partial(self._kill, connection))
        end = os.pidfd_open(pid)
        ended = partial(self._tell_end, connection, pid, end)
        self._selector.register(end, selectors.EVENT_READ, ended)
        return None

    def _kill(self, connection: socket.socket) -> None:
        """What stood for it was killed."""
        self._forget(connection)
        os.kill(self._commands[connection], signal.SIGKILL)

    def _tell_end(self, connection: socket.socket, pid: int, end: int) -> None:
        self._selector.unregister(end)
        os.close(end)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        del self._commands[connection]
        if connection.fileno() >= 0:
            with contextlib.suppress(ConnectionError):
                connection.send(marshal.dumps(status))
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


def can_fork(
    had: Mapping[str, str], environment: Mapping[str, str], command: Sequence[str]
) -> bool:
    """It is a script, and what an interpreter reads at its start is as it was at the host's."""
    differing = {
        name for name in had.keys() | environment.keys() if had.get(name) != environment.get(name)
    }
    return (
        os.path.isfile(command[0])
        and not any(name.startswith(READ_AT_THE_START) for name in differing)
        # The shell's <(…) is a descriptor of the process that it starts.
        and not any("/dev/fd/" in word for word in command)
    )


def renew_reactor() -> None:
    """Libraries have imported the reactor here (Klein, txredisapi); it never ran. Its epoll and its
    waker are those of all forks, so each makes the same object anew."""
    from twisted.internet import reactor

    reactor.waker.connectionLost(None)
    reactor.__init__()


def renew_streams() -> None:
    """What these say of themselves (whether they are a terminal, can be moved in) is of the host's
    files; ours are others, open as long as the process is."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        had = getattr(sys, name)
        made = open(  # noqa: SIM115
            number,
            "w" if number else "r",
            buffering=1 if name == "stderr" else -1,
            encoding=had.encoding,
            errors=had.errors,
            closefd=False,
        )
        made.reconfigure(write_through=had.write_through)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Run a script as its own interpreter would: arguments, environment, standard streams."""
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    renew_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request.get("ignored", ()):
        signal.signal(number, signal.SIG_IGN)
    if "umask" in request:
        os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["open_files"]))
    renew_reactor()
    script, *_ = sys.argv = list(request["command"])
    sys.path[0] = os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise  # a text: the interpreter prints it
        _leave(ended.code or 0)
    _leave(0)


def _leave(status: int) -> NoReturn:
    """End as the interpreter does, but free nothing of what the host has made: all of it would
    first be copied."""
    threading._shutdown()  # waits for other threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    tests, commands = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    tests.set_inheritable(False)
    commands.set_inheritable(False)
    sys.path.insert(1, str(Path(__file__).parents[1]))
    # Ctrl-C is for the tests; this process ends when they do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in IMPORTED:
        importlib.import_module(name)
    routes = importlib.import_module("tests.compiled_routes")
    routes.set_up()
    routes.compile_all()
    gc.collect()
    gc.freeze()  # forks would copy what their garbage collector only looks at
    Host(tests, commands).serve()

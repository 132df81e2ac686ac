"""The process of `tests/warm.py`: has imported what daemons import, and forks itself into them.

Run as a script with the number of a descriptor, the socket to the tests. It ends when that does,
and then kills what it has started and what still runs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

MAX_REQUEST_BYTES = 1 << 18
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


def serve(control: socket.socket) -> None:
    """Answer requests until nobody can make any more. A child returns from here as well, as `None`
    or by the exception of its program."""
    running: set[int] = set()
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, 3)
        if not text:
            break
        request = json.loads(text)
        if "poll" in request:
            answer = _status(request["poll"], running)
        else:
            answer = os.fork()
            if answer == 0:
                control.close()
                return become(request, descriptors)
            running.add(answer)
            for descriptor in descriptors:
                os.close(descriptor)
        control.send(json.dumps(answer).encode())
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return None


def _status(pid: int, running: set[int]) -> int | None:
    """None while it runs, then what `Popen.returncode` says. Only this takes it off the system, so
    that a signal from the tests never reaches another process of the same number."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    running.discard(pid)
    return os.waitstatus_to_exitcode(status)


def renew_reactor() -> None:
    """Libraries have imported the reactor here (Klein, txredisapi); it never ran. Its epoll and its
    waker are those of all forks, so each makes the same object anew."""
    from twisted.internet import reactor

    reactor.waker.connectionLost(None)
    reactor.__init__()


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Run a script as its own interpreter would: arguments, environment, standard streams."""
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["open_files"]))
    renew_reactor()
    script, *_ = sys.argv = request["command"]
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
    tests = socket.socket(fileno=int(sys.argv[1]))
    tests.set_inheritable(False)
    # Ctrl-C is for the tests; this process ends when they do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # forks would copy what their garbage collector only looks at
    serve(tests)

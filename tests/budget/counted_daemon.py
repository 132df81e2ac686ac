"""A daemon that tells what it does.

    python -m tests.budget.counted_daemon SOCKET twistd-arguments…

A thread answers on the unix socket SOCKET, one line of JSON for each line:

    freeze     the reactor's clock stands still: nothing happens but what is sent to it
    advance S  it goes on by S seconds at once       thaw      it goes on as usual
    begin      counting starts                       end       what was counted since
    memory     what the process has allocated

So what is counted does not depend on how fast the machine is.
"""

from __future__ import annotations

import _socket
import ctypes
import gc
import json
import os
import re
import select
import socket
import sys
import tempfile
import threading
from collections import Counter
from types import FrameType
from typing import Any

from twisted.internet.threads import blockingCallFromThread
from twisted.scripts.twistd import run

# Methods of sockets and of epoll that are a system call. Not `poll`: how often the reactor looks
# depends on how the machine shares out its time.
SYSTEM_CALLS = frozenset(
    (
        *("send", "sendto", "sendmsg", "sendall", "recv", "recvfrom", "recv_into", "recvmsg"),
        *("_accept", "connect", "connect_ex", "close", "shutdown", "setblocking", "settimeout"),
        *("setsockopt", "getsockopt", "getpeername", "getsockname"),
        *("register", "modify", "unregister"),
    )
)
IN_USE = re.compile(r"^# bytes in allocated blocks\s*=\s*([\d,]+)$", re.MULTILINE)


class MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


class Counted:
    """Calls of functions, in Python and in C, and of those the system calls; of one thread."""

    def __init__(self) -> None:
        self.calls = 0
        self.system_calls: Counter[str] = Counter()

    def begin(self) -> None:
        self.__init__()  # type: ignore[misc]
        sys.setprofile(self._count)

    def end(self) -> dict[str, Any]:
        sys.setprofile(None)
        return {"calls": self.calls, "system_calls": dict(self.system_calls)}

    def _count(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            self.calls += 1
        elif event == "c_call":
            self.calls += 1
            if called.__name__ in SYSTEM_CALLS and isinstance(
                getattr(called, "__self__", None), (_socket.socket, select.epoll)
            ):
                self.system_calls[called.__name__] += 1


class Clock:
    """The reactor's time, which can stand still."""

    def __init__(self, reactor: Any) -> None:
        self._real, self._until_next = reactor.seconds, reactor.timeout
        self._ahead_seconds = 0.0
        self._frozen_at: float | None = None
        reactor.seconds = self.seconds
        reactor.timeout = self._timeout

    def seconds(self) -> float:
        if self._frozen_at is not None:
            return self._frozen_at
        return float(self._real()) + self._ahead_seconds

    def _timeout(self) -> float | None:
        """How long the reactor may sleep: not for a moment that does not come by itself."""
        seconds: float | None = self._until_next()
        return seconds if seconds == 0 or self._frozen_at is None else None

    def freeze(self) -> None:
        self._frozen_at = self.seconds()

    def thaw(self) -> None:
        """Goes on from there: time never goes back."""
        assert self._frozen_at is not None
        self._ahead_seconds = self._frozen_at - self._real()
        self._frozen_at = None

    def advance(self, seconds: str) -> None:
        assert self._frozen_at is not None
        self._frozen_at += float(seconds)


def memory() -> dict[str, int]:
    """Bytes in use, of Python's allocator and of malloc (OpenSSL's too), and Python's blocks."""
    gc.collect()
    blocks = sys.getallocatedblocks()
    with tempfile.TemporaryFile() as file:
        own = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(own, 2)
            os.close(own)
        file.seek(0)
        found = IN_USE.search(file.read().decode())
    assert found
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallocInfo
    info = mallinfo()
    in_use = int(found[1].replace(",", "")) + info.uordblks + info.hblkhd
    return {"bytes": in_use, "blocks": blocks}


def answer(listener: socket.socket) -> None:
    """What is asked is done in the thread of the reactor, where the work is."""
    from twisted.internet import reactor

    # One connection, made when the daemon is ready: by then it has chosen its own clock.
    connection, _ = listener.accept()
    counted, clock = Counted(), Clock(reactor)
    tasks = {
        "freeze": clock.freeze,
        "advance": clock.advance,
        "thaw": clock.thaw,
        "begin": counted.begin,
        "end": counted.end,
        "memory": memory,
    }
    with connection, connection.makefile("rw") as lines:
        for line in lines:
            name, *arguments = line.split()
            result = blockingCallFromThread(reactor, tasks[name], *arguments)
            lines.write(json.dumps(result) + "\n")
            lines.flush()


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    sys.argv = ["twistd", *arguments]
    run()

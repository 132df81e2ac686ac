"""Becomes a server that ends with its parent. A script: `exec_wrapper.py PARENT COMMAND…`.

Between fork and exec two things are needed that `spawnProcess` and `Popen` cannot do. A session of
its own keeps the terminal's Ctrl-C away from the server, so that the parent can still use it while
it ends. And on Linux the kernel is asked to send SIGTERM when the parent dies, however it dies. It
runs with `python -I -S` and imports next to nothing: this is part of every start.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel for SIGTERM at the parent's death. Only Linux has such a call."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit("the parent died before its server began")


def main(arguments: list[str]) -> None:
    parent_pid, *command = arguments
    os.setsid()
    die_with_parent(int(parent_pid))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])

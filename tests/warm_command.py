"""What shells and tests start instead of a command of `.venv/bin`: has it begin warm
(`tests/warm.py`), hands signals on, and ends as it does.

Run as `python -IS warm_command.py SOCKET SCRIPT [ARGUMENT…]` with as few imports as can be: it
takes a twentieth of what the command itself needs for its imports.
"""

import _signal
import _socket
import contextlib
import marshal
import os
import resource
import sys

HANDED_ON = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2)
MAX_ANSWER_BYTES = 1000


def main(address: str, *command: str) -> None:
    ignored = [each for each in HANDED_ON if _signal.getsignal(each) is _signal.SIG_IGN]
    # Until they can be handed on.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, HANDED_ON)
    umask = os.umask(0)
    os.umask(umask)
    request = {
        "command": command,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "umask": umask,
        "ignored": ignored,
    }
    streams = b"".join(each.to_bytes(4, sys.byteorder) for each in range(3))
    host = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    host.connect(address)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)
    host.sendmsg([marshal.dumps(request)], [rights])
    pid = marshal.loads(host.recv(MAX_ANSWER_BYTES))
    if pid is None:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, HANDED_ON)
        os.execv(sys.executable, [sys.executable, *command])

    def hand_on(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for each in set(HANDED_ON) - set(ignored):
        _signal.signal(each, hand_on)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, HANDED_ON)
    status = marshal.loads(host.recv(MAX_ANSWER_BYTES))
    if status < 0:
        with contextlib.suppress(OSError):  # of SIGKILL
            _signal.signal(-status, _signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Ports of loopback that nobody else gets, however many tests run at once."""

from __future__ import annotations

import random
import socket

# Below the ports that Linux gives to outgoing connections: a port that is to be listened on again
# after a kill must not be taken by one of them meanwhile, not even by one to itself.
PORTS = range(20_000, 32_000)

# The UDP port of the same number, for as long as this process lives: the sign for every other
# process of tests that the TCP port is given away, also while nobody listens there.
_held: list[socket.socket] = []


def free_port() -> int:
    """A TCP port that nobody listens on, and that `free_port` gives to nobody else, in whatever
    process of this machine, until this process ends."""
    for _ in range(1000):
        port = random.SystemRandom().choice(PORTS)
        sign = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sign.bind(("127.0.0.1", port))
            with socket.socket() as trial:
                trial.bind(("127.0.0.1", port))
        except OSError:
            sign.close()
            continue
        _held.append(sign)
        return port
    raise AssertionError("no free port")

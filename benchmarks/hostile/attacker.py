"""An attacker, and the table of what attackers do.

A flood is what one attacker does until it is stopped. It returns, or raises `Gone`, when its
connection is over, and is then begun again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.hostile.connections import Connection, Target

AT_ONCE_BYTES = 60_000


class Attacker:
    """One of them. `number` chooses its device; `answers` is what the server said to it; `begun`
    is called when it first dials."""

    def __init__(self, target: Target, number: int, begun: Callable[[], None]) -> None:
        self.target = target
        self.number = number
        self.pair = target.pairs[number % len(target.pairs)]
        self.answers: Counter[str] = Counter()
        self.connections = 0
        self.is_prepared = False  # has made what its flood needs
        self.crowd: list[dict[str, str]] = []  # devices that it has registered
        self._begun = begun
        self._open: list[Connection] = []

    def count_connection(self) -> None:
        if not self.connections:
            self._begun()
        self.connections += 1

    def dial(self, carrier: str, **options: object) -> Connection:
        self.count_connection()
        port = self.target.port(carrier)
        # Its options are of several types, which `object` cannot say.
        connection = Connection(port, carrier, self.answers, **options)  # type: ignore[arg-type]
        self._open.append(connection)
        return connection

    def session(self, carrier: str = "tcp", **options: object) -> Connection:
        connection = self.dial(carrier, **options)
        connection.connect(self.pair)
        return connection

    def close_all(self) -> None:
        for connection in self._open:
            connection.close(abruptly=True)
        self._open.clear()


Run = Callable[[Attacker], None]


class Flood(NamedTuple):
    """`carrier`: what must be served for it. `hangs_redis`: Redis is stopped meanwhile."""

    run: Run
    what: str
    carrier: str = "tcp"
    hangs_redis: bool = False


FLOODS: dict[str, Flood] = {}


def flood(
    name: str, what: str, carrier: str = "tcp", *, hangs_redis: bool = False
) -> Callable[[Run], Run]:
    def keep(run: Run) -> Run:
        FLOODS[name] = Flood(run, what, carrier, hangs_redis)
        return run

    return keep


def repeated(piece: bytes, size: int = AT_ONCE_BYTES) -> bytes:
    return piece * max(1, size // len(piece))

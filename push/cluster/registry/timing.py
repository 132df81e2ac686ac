"""How fast the registry does what it does."""

from __future__ import annotations

from typing import NamedTuple


class Timing(NamedTuple):
    """All in seconds. Tests make them short.

    `lease`: how long an instance may be silent before it counts as gone (the Redis lease, the
    ZooKeeper session). `renew`: between exchanges, ± 30 %. `update`: between writes of an entry of
    which only the load changed. `verify`: before each of the readings that confirm a great loss.
    `retry`: while a name is taken, and at most after a failure (the first retries come sooner).
    `notice`: others' changes within this time cost one reading. `stop`: the most that each of the
    two steps of a stop takes. `reconnect`: how long a client of ZooKeeper may be without a
    connection before it is replaced.
    """

    lease: float = 10.0
    renew: float = 3.0
    update: float = 1.0
    verify: float = 3.0
    retry: float = 1.0
    notice: float = 0.02
    stop: float = 3.0
    reconnect: float = 20.0

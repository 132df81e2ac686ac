"""Which connections are taken at all, judged when they are accepted and nothing is made for them.

One that is refused is closed at once. It is counted, and costs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any

import msgspec
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from push.connector.limits.counts import (
    ACCEPTS_PER_SECOND,
    CONNECTIONS_PER_IP,
    MAX_CONNECTIONS,
    LimitCounts,
)
from push.connector.limits.read_queue import ReadQueue
from push.runtime.bounded_port import ACCEPTS_PER_TURN
from push.wire.addresses import Networks, counted_ip, peer_ip

# Beside those that may have a session: they are told where else to go, or when to come again.
MOST_TO_REFUSE = 64
_LEAST_TO_REFUSE = 8


class AdmissionLimits(msgspec.Struct, frozen=True):
    """`max_connections`: that may become sessions; a few more are accepted to be told so. 0 = no
    limit. `exempt`: proxies, whose address stands for many clients."""

    max_connections: int = 0
    connections_per_ip: int = 0
    accepts_per_second: int = 0
    exempt: Networks = Networks()


class Admission:
    """Counts the connections of all listeners of a connector.

    `connections`: those that there are now, `ending` among them, which have said their last word;
    and those of load balancers that have not named their client yet are in `unnamed`.
    """

    def __init__(
        self, limits: AdmissionLimits, counts: LimitCounts, connections: Collection[Hashable]
    ) -> None:
        self.limits = limits
        self.counts = counts
        self.connections = connections
        self.ending: set[Hashable] = set()
        self.unnamed: set[Hashable] = set()
        limit = limits.max_connections
        to_refuse = max(_LEAST_TO_REFUSE, min(limit // 8, MOST_TO_REFUSE))
        self._most_accepted = limit + to_refuse if limit else 0
        self._of_ip: dict[str, int] = {}
        self._ips: dict[Hashable, str] = {}  # of the connections that are counted by address

    @property
    def _accepted(self) -> int:
        return len(self.connections) + len(self.unnamed)

    @property
    def is_full(self) -> bool:
        """Whether none of those that have no session yet may have one."""
        limit = self.limits.max_connections
        return bool(limit) and self._accepted - len(self.ending) > limit

    def has_room(self) -> bool:
        """Whether one more may be accepted."""
        if self._most_accepted and self._accepted >= self._most_accepted:
            self.counts.acted[MAX_CONNECTIONS] += 1
            return False
        return True

    def has_room_for(self, ip: str) -> bool:
        """Whether one more from that address may be taken."""
        limit = self.limits.connections_per_ip
        if not limit or ip in self.limits.exempt:
            return True
        if self._of_ip.get(counted_ip(ip), 0) >= limit:
            self.counts.acted[CONNECTIONS_PER_IP] += 1
            return False
        return True

    def entered(self, connection: Hashable, ip: str) -> None:
        """It counts for its address from now on."""
        if self.limits.connections_per_ip and ip not in self.limits.exempt:
            ip = counted_ip(ip)
            self._ips[connection] = ip
            self._of_ip[ip] = self._of_ip.get(ip, 0) + 1

    def left(self, connection: Hashable) -> None:
        """It counts no longer."""
        self.ending.discard(connection)
        ip = self._ips.pop(connection, None)
        if ip is not None:
            self._of_ip[ip] -= 1
            if not self._of_ip[ip]:
                del self._of_ip[ip]


class AdmittingFactory(Factory):
    """`devices` makes connections of one listener, as long as there is room for them.

    It also says how many may be accepted now (see `DevicePort`).
    """

    noisy = False

    def __init__(
        self,
        devices: Factory,
        admission: Admission,
        reads: ReadQueue,
        seconds: Callable[[], float],
    ) -> None:
        self._devices = devices
        self._admission = admission
        self._reads = reads
        self._seconds = seconds
        per_second = admission.limits.accepts_per_second
        self._accept_seconds = 1 / per_second if per_second else 0.0
        self._due = 0.0  # when all that were accepted would have been at the rate

    def doStart(self) -> None:
        super().doStart()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._devices.doStart()

    def doStop(self) -> None:
        super().doStop()  # type: ignore[no-untyped-call]  # as above
        self._devices.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self._due = max(self._due, self._seconds()) + self._accept_seconds
        admission = self._admission
        ip = peer_ip(getattr(addr, "host", None))
        if not admission.has_room() or not admission.has_room_for(ip):
            return None
        return self._devices.buildProtocol(addr)

    def accepts_wait_seconds(self) -> float:
        """For how long nothing is to be accepted; at once a second's worth may be."""
        wait_seconds = self._due - self._seconds() - 1.0 + self._accept_seconds
        if not self._accept_seconds or wait_seconds <= 0:
            return self._reads.newcomers.accepts_wait_seconds
        self._admission.counts.acted[ACCEPTS_PER_SECOND] += 1
        return wait_seconds

    def accepts_now(self) -> int:
        """How many may be accepted in this turn."""
        if not self._accept_seconds:
            return ACCEPTS_PER_TURN
        left_seconds = 1.0 - max(self._due - self._seconds(), 0.0)
        return max(min(ACCEPTS_PER_TURN, int(left_seconds / self._accept_seconds)), 1)

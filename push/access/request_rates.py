"""How many requests a second an API key may make, and how many wrong keys an address may try."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred

from push.access.rate_limits import WINDOW_SECONDS, RefusalCounts, over_limit
from push.redis import keyspace
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.wire.addresses import UNKNOWN_IP, counted_ip
from push.wire.errors import LimitPolicy

MAX_LEASED = 10
LEASE_SECONDS = 1.0
MAX_ADDRESSES = 10_000
MICROSECONDS: Final = 1_000_000

_lease = load_script("devices", "lease_requests")


class Quota(NamedTuple):
    """What is left of a limit; all of it again in `reset_seconds`."""

    policy: LimitPolicy
    remaining: int
    reset_seconds: int


class _Lease:
    """What this process has of a key's quota."""

    def __init__(self) -> None:
        self.left = 0
        self.ends_at = 0.0
        self.elsewhere = 0  # how many other processes could still take
        self.reset_at = 0.0
        self.refused_until = 0.0
        self.waiting: list[Deferred[None]] | None = None  # while Redis is asked

    def is_used(self, now: float) -> bool:
        """Whether it says something that Redis would not say as well."""
        return self.waiting is not None or now < max(self.ends_at, self.refused_until)


class RequestRates:
    """At most `per_second` requests of a key, of all processes together; as many may come at once.

    A process takes up to ten from Redis at a time, and what it did not use within a second is lost.
    While a key is over its limit Redis is not asked for it. Without Redis nothing is counted.
    """

    def __init__(
        self, clock: Clock, shards: Shards, per_second: int, refusals: RefusalCounts
    ) -> None:
        self._clock = clock
        self._shards = shards
        self._policy = LimitPolicy("requests_per_second", per_second, 1)
        self._wanted = max(1, min(MAX_LEASED, per_second // 10))
        self._refusals = refusals
        self._leases: dict[str, _Lease] = {}  # of keys that were used within the last seconds
        self._forget_at = 0.0

    async def take(self, key: str) -> Quota | None:
        """One request of the key with this digest; what is left, None when there is no limit.

        Raises `RequestError` `rate_limited`.
        """
        if not self._policy.quota:
            return None
        lease = self._leases.get(key)
        if lease is None:
            self._forget_idle()
            lease = self._leases[key] = _Lease()
        while not (lease.left and self._clock.seconds() < lease.ends_at):
            if self._clock.seconds() < lease.refused_until:
                raise self._refusal(lease)
            if lease.waiting is not None:
                turn: Deferred[None] = Deferred()
                lease.waiting.append(turn)
                await turn
            elif not await self._ask(key, lease):
                return None
        lease.left -= 1
        reset_seconds = max(ceil(lease.reset_at - self._clock.seconds()), 0)
        return Quota(self._policy, lease.left + lease.elsewhere, reset_seconds)

    def _forget_idle(self) -> None:
        """Keys are made and revoked while the process runs."""
        now = self._clock.seconds()
        if now < self._forget_at:
            return
        self._forget_at = now + LEASE_SECONDS
        self._leases = {key: lease for key, lease in self._leases.items() if lease.is_used(now)}

    def _refusal(self, lease: _Lease) -> Exception:
        return over_limit(
            self._refusals,
            self._policy,
            f"more than {self._policy.quota} requests a second with this key",
            after_seconds=max(ceil(lease.refused_until - self._clock.seconds()), 1),
        )

    async def _ask(self, key: str, lease: _Lease) -> bool:
        """Whether Redis has answered."""
        name = f"{keyspace.RATE}{key},{self._policy.name}"
        server = self._shards.of(name)
        lease.waiting = []
        try:
            reply = await server.run(
                _lease,
                [server.key(name)],
                [self._policy.quota, self._wanted],
                decode=lambda reply: [int(number) for number in reply],
            )
        except StoreUnavailable:
            return False
        else:
            now = self._clock.seconds()
            lease.left, lease.elsewhere, next_us, reset_us = reply
            lease.ends_at = now + LEASE_SECONDS
            lease.reset_at = now + reset_us / MICROSECONDS
            lease.refused_until = now + next_us / MICROSECONDS
            return True
        finally:
            waiting, lease.waiting = lease.waiting, None
            for turn in waiting:
                turn.callback(None)


class FailedKeys:
    """At most `per_minute` wrong keys from an address; 0 means no limit.

    Each process counts for itself, and remembers the last 10,000 addresses: keys are random and
    long, so this is against noise. A right key is never refused.
    """

    def __init__(self, clock: Clock, per_minute: int, refusals: RefusalCounts) -> None:
        self._clock = clock
        self._policy = LimitPolicy("failed_keys_per_minute", per_minute, WINDOW_SECONDS)
        self._refusals = refusals
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # until when

    def note(self, ip: str) -> None:
        """A wrong key from `ip`, over HTTP or in SUB; raises `RequestError` `rate_limited`.

        IPv6 addresses are counted by their /64, and one that is not known is not counted.
        """
        if not self._policy.quota or ip in ("", UNKNOWN_IP):
            return
        ip = counted_ip(ip)
        now = self._clock.seconds()
        count, until = self._counts.pop(ip, (0, 0.0))
        if until <= now:
            count, until = 0, now + WINDOW_SECONDS
        self._counts[ip] = (count + 1, until)
        if len(self._counts) > MAX_ADDRESSES:
            self._counts.popitem(last=False)
        if count >= self._policy.quota:
            raise over_limit(
                self._refusals,
                self._policy,
                f"more than {self._policy.quota} wrong keys a minute from this address",
                after_seconds=ceil(until - now),
            )

"""Frames and bytes a second that one connection may send.

A bucket is made when something came that counts, and forgotten when it must be full again: quiet
sessions have none, and there is no timer.
"""

from __future__ import annotations

import msgspec

from push.connector.limits.counts import BYTES_PER_SECOND, FRAMES_PER_SECOND
from push.wire import defaults

FRAMES_BURST_SECONDS = 5.0
BYTES_BURST_SECONDS = 8.0
# From so much of the bursts on, a connection waits for its turn (see ReadQueue).
MUCH_FRAMES_SECONDS = 0.5
MUCH_BYTES_SECONDS = 1.0
# So does one of which something took so long to read (a megabyte of small objects), for so many
# times as long: it is read again only while others have most of the time.
LONG_SECONDS = 0.005
LONG_FOR = 200.0
# A bucket that was not touched for this long is full.
_FORGET_SECONDS = max(FRAMES_BURST_SECONDS, BYTES_BURST_SECONDS)


class Rates(msgspec.Struct, frozen=True):
    """What a session may send in the long run; at once as much as in 5 s (frames) and in 8 s
    (bytes). 0 = no limit."""

    frames_per_second: int = defaults.FRAMES_PER_SECOND
    bytes_per_second: int = defaults.BYTES_PER_SECOND


class Bucket:
    """One connection's. `frames_due` and `bytes_due`: when all that came would have come at the
    rate. `long_until`: until then it counts as one that takes long to read. `over_since`: since
    when it is over a rate without ever having used up less than half a burst; None: it is not."""

    __slots__ = ("bytes_due", "frames_due", "long_until", "over_since")

    def __init__(self) -> None:
        self.frames_due = 0.0
        self.bytes_due = 0.0
        self.long_until = 0.0
        self.over_since: float | None = None


class SessionRates:
    """The buckets of all connections of a connector. All times are of one monotonic clock."""

    def __init__(self, rates: Rates) -> None:
        self._frame_seconds = 1 / rates.frames_per_second if rates.frames_per_second else 0.0
        self._byte_seconds = 1 / rates.bytes_per_second if rates.bytes_per_second else 0.0
        # Two generations: who is in neither has sent nothing that counts for as long as one lasts.
        self._young: dict[object, Bucket] = {}
        self._old: dict[object, Bucket] = {}
        self._turned_at = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, who: object, frames: int, size_bytes: int, now: float) -> str | None:
        """`who` has sent something: the limit that it is over, if it is."""
        bucket = self._bucket(who, now)
        bucket.frames_due = max(bucket.frames_due, now) + frames * self._frame_seconds
        bucket.bytes_due = max(bucket.bytes_due, now) + size_bytes * self._byte_seconds
        limit = _limit_over(bucket, now)
        if limit is None:
            self._calm(bucket, now)
        elif bucket.over_since is None:
            bucket.over_since = now
        return limit

    def limit_over(self, who: object, now: float) -> str | None:
        """The limit that `who` is over now."""
        bucket = self._young.get(who) or self._old.get(who)
        return None if bucket is None else _limit_over(bucket, now)

    def has_used_much(self, who: object, now: float) -> bool:
        """Whether it has sent more than most ever do at once, or something that took long."""
        bucket = self._young.get(who) or self._old.get(who)
        return bucket is not None and (
            bucket.frames_due - now > MUCH_FRAMES_SECONDS
            or bucket.bytes_due - now > MUCH_BYTES_SECONDS
            or bucket.long_until > now
        )

    def took(self, who: object, seconds: float, now: float) -> None:
        """So long took what was last read of it."""
        if seconds > LONG_SECONDS:
            bucket = self._bucket(who, now)
            until = max(bucket.long_until, now) + seconds * LONG_FOR
            bucket.long_until = min(until, now + _FORGET_SECONDS)

    def over_seconds(self, who: object, now: float) -> float:
        """For how long it has been over a rate."""
        bucket = self._young.get(who) or self._old.get(who)
        if bucket is None or bucket.over_since is None:
            return 0.0
        return now - bucket.over_since

    def forget(self, who: object) -> None:
        self._young.pop(who, None)
        self._old.pop(who, None)

    def _bucket(self, who: object, now: float) -> Bucket:
        if now - self._turned_at >= _FORGET_SECONDS:
            idle = now - self._turned_at >= 2 * _FORGET_SECONDS
            self._old = {} if idle else self._young
            self._young = {}
            self._turned_at = now
        bucket = self._young.get(who)
        if bucket is None:
            bucket = self._old.pop(who, None) or Bucket()
            self._young[who] = bucket
        return bucket

    @staticmethod
    def _calm(bucket: Bucket, now: float) -> None:
        """One that has sent little for a while is no longer over its rates."""
        if (
            bucket.over_since is not None
            and (bucket.frames_due - now) * 2 <= FRAMES_BURST_SECONDS
            and (bucket.bytes_due - now) * 2 <= BYTES_BURST_SECONDS
        ):
            bucket.over_since = None


def _limit_over(bucket: Bucket, now: float) -> str | None:
    if bucket.frames_due - now > FRAMES_BURST_SECONDS:
        return FRAMES_PER_SECOND
    if bucket.bytes_due - now > BYTES_BURST_SECONDS:
        return BYTES_PER_SECOND
    return None

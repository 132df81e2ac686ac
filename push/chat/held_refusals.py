"""Refusals by a rate that still hold: a user that asks again meanwhile is refused without Redis.

A client that goes on asking would cost as much as one whose requests are carried out.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from push.chat.settings import UserRate

MAX_HELD = 10_000  # of users and rates; the oldest are forgotten, and asked for again

Reply = list[bytes]  # of a script: "no", code, detail, field, after, limit, quota, microseconds
_AFTER, _MICROSECONDS = 4, 7


class _HeldRefusal(NamedTuple):
    until: float
    reply: Reply


class HeldRefusals:
    """Of one process: what another one is told it does not know, and asks Redis for itself."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _HeldRefusal] = {}

    def of(self, rate: UserRate, now: float) -> Reply | None:
        """The refusal that `rate` would get now, as the script says it; None: Redis decides."""
        name = rate.user, rate.kind
        held = self._held.get(name)
        if held is None:
            return None
        if held.until <= now:
            del self._held[name]
            return None
        reply = held.reply.copy()
        reply[_AFTER] = b"%d" % ceil(held.until - now)
        return reply

    def note(self, rate: UserRate, reply: Reply, asked_at: float) -> None:
        """What a script that counts `rate` has answered; other refusals are not held."""
        if reply[0] != b"no" or len(reply) <= _MICROSECONDS:
            return
        name = rate.user, rate.kind
        self._held.pop(name, None)  # it becomes the newest
        if len(self._held) >= MAX_HELD:
            del self._held[next(iter(self._held))]
        until = asked_at + int(reply[_MICROSECONDS]) / 1_000_000
        self._held[name] = _HeldRefusal(until, reply)

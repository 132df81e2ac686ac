"""The record of a device as a Redis hash, and what is read from it.

Fields: `h` SHA-256 of the secret, `p` platform, `a` app, `d` device, `created`, `seen` (ms), `u`
user, `s` session, `b` boot id and `n` name of its connector, `e` how often a session took it; and
per followed stream `c:` cursor, `f:` where following began, `p:` up to where messages were handed
out, if past the cursor, `t:` "<offset> <attempts> <since>" of the first message that the last
connection left unacknowledged: how many copies of it count, and since when the next one does not;
`j:` a topic that a JWT of the user allowed, which ends with that right (always at home).

Of a stream that is on another server than the device's home the record has only `x:`, "<version>
<begin>": since which version it follows, and from where ("" = now); the other fields of that stream
are in a part of the record, under the same key on that server, with `s`, `e`, and `v:`, the version
that was applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from push.redis.keyspace import DEVICE_ELSEWHERE, DEVICE_START


def as_fields(reply: Sequence[bytes]) -> dict[str, bytes]:
    """HGETALL's flat answer as a dict; a later field replaces an earlier one."""
    return {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}


def elsewhere_of(fields: dict[str, bytes]) -> dict[str, tuple[str, str]]:
    """The streams it follows on other servers: since which version, and from where ("" = now)."""
    found = {}
    for name, value in fields.items():
        if name.startswith(DEVICE_ELSEWHERE):
            version, _, begin = value.decode().partition(" ")
            found[name[2:]] = version, begin
    return found


def since_of(fields: dict[str, bytes]) -> dict[str, int]:
    """Where following of each stream began."""
    return {name[2:]: int(value) for name, value in fields.items() if name.startswith(DEVICE_START)}


def optional(fields: dict[str, bytes], name: str) -> str | None:
    value = fields.get(name)
    return value.decode() if value else None

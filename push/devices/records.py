"""The record of a device as a Redis hash, and what is read from it.

Fields: `h` SHA-256 of the secret, `p` platform, `a` app, `d` device, `created`, `seen` (ms), `u`
user, `s` session, `b` boot id and `n` name of its connector; and per followed stream `c:` cursor,
`f:` where following began, `p:` up to where messages were handed out, if beyond the cursor, `t:`
"<offset> <attempts> <counted at>" of a first message handed out in vain.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from push.session.window import Follow


class Device(msgspec.Struct):
    """A registered device. Times in milliseconds since 1970 UTC; `backlog` messages wait for it."""

    token: str
    platform: str
    app: str
    device: str | None
    user: str | None
    created: int
    seen: int | None
    topics: list[str]
    session: str | None
    node: str | None
    backlog: int
    online: bool


def as_fields(reply: Sequence[bytes]) -> dict[str, bytes]:
    """HGETALL's flat answer as a dict; a later field replaces an earlier one."""
    return {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}


def follows_of(fields: dict[str, bytes]) -> list[Follow]:
    """The streams a device follows are those in which it has a cursor."""
    follows = []
    for name, value in fields.items():
        if not name.startswith("c:"):
            continue
        stream = name[2:]
        follow = Follow(stream, int(fields.get(f"r:{stream}", value)))
        tried = fields.get(f"t:{stream}")
        if tried is not None:
            offset, attempts, _ = map(int, tried.split(b" "))
            if offset > follow.position:
                follow.tried_offset, follow.tried = offset, attempts
        follows.append(follow)
    return follows


def optional(fields: dict[str, bytes], name: str) -> str | None:
    value = fields.get(name)
    return value.decode() if value else None

"""The target of a push, and the streams that it is written to."""

from __future__ import annotations

from typing import Any

import msgspec

from push.redis.keyspace import DEVICE, DEVICE_PREFIX, GROUP
from push.wire.api.push_targets import TARGET_OF_NAME
from push.wire.idents import GROUP_PREFIX, STREAM_ALL, TOPIC_PREFIX, USER_PREFIX


class Target(msgspec.Struct, frozen=True):
    """A target: `kind` is token, tokens, user, users, topic, group, all, or ip (as
    `normal_network`)."""

    kind: str
    names: tuple[str, ...] = ()


# By the kind of target. An address has no stream.
_PREFIXES = {
    "token": DEVICE_PREFIX,
    "tokens": DEVICE_PREFIX,
    "user": USER_PREFIX,
    "users": USER_PREFIX,
    "topic": TOPIC_PREFIX,
    "group": GROUP_PREFIX,
}
# The `guard` of a `StreamMessage` to such a target; users and topics need not be known.
GUARDS = {"token": DEVICE, "tokens": DEVICE, "group": GROUP}


def streams_of(target: Target) -> list[str]:
    """The streams of a target, each once."""
    if target.kind == "all":
        return [STREAM_ALL]
    if target.kind == "ip":
        return []
    prefix = _PREFIXES[target.kind]
    return [prefix + name for name in dict.fromkeys(target.names)]


def as_in_a_query(stream: str) -> str:
    """A target, by its stream."""
    token = stream.removeprefix(DEVICE_PREFIX)
    return stream if token == stream else f"token:{token}"


def as_asked(target: Target) -> dict[str, Any]:
    """The `to` of a push, as the backend wrote it."""
    if target.kind == "all":
        return {"all": True}
    is_list = TARGET_OF_NAME[target.kind].several
    return {target.kind: target.names if is_list else target.names[0]}


def as_target(to: msgspec.Raw) -> Target:
    """What `as_asked` was made of."""
    ((kind, value),) = msgspec.json.decode(to).items()
    if kind == "all":
        return Target(kind)
    return Target(kind, tuple(value) if TARGET_OF_NAME[kind].several else (value,))

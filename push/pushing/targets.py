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


# Of each kind of target: what its streams begin with, and the keys that must be there, if any must.
_BEGINNINGS = {
    "token": (DEVICE_PREFIX, DEVICE),
    "tokens": (DEVICE_PREFIX, DEVICE),
    "user": (USER_PREFIX, ""),
    "users": (USER_PREFIX, ""),
    "topic": (TOPIC_PREFIX, ""),
    "group": (GROUP_PREFIX, GROUP),
    "all": (STREAM_ALL, ""),
}


def guarded_streams_of(target: Target) -> list[str]:
    """The streams of a target, each once and with the key that must be there ("" for none), as a
    `StreamMessage` has them. An address has none."""
    if target.kind == "ip":
        return []
    stream, guard = _BEGINNINGS[target.kind]
    if not target.names:
        return [stream, guard]
    guarded: list[str] = []
    for name in dict.fromkeys(target.names):
        guarded += (stream + name, guard and guard + name)
    return guarded


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

"""The target of a push, and the streams that it is written to."""

from __future__ import annotations

from typing import Any

import msgspec

from push.redis.keyspace import DEVICE_PREFIX, group_name, record_name
from push.streams.publisher import TargetStream
from push.wire.api.push_targets import TARGET_OF_NAME
from push.wire.idents import (
    STREAM_ALL,
    device_stream,
    group_stream,
    topic_stream,
    user_stream,
)


class Target(msgspec.Struct, frozen=True):
    """A target: `kind` is token, tokens, user, users, topic, group, all, or ip (as
    `normal_network`)."""

    kind: str
    names: tuple[str, ...] = ()


def addresses_of(target: Target) -> list[TargetStream]:
    """The streams of a target, each once. Devices and groups must exist. An address has none."""
    if target.kind == "ip":
        return []
    if target.kind == "all":
        return [TargetStream(STREAM_ALL)]
    names = dict.fromkeys(target.names)
    if target.kind in ("token", "tokens"):
        return [TargetStream(device_stream(name), record_name(name)) for name in names]
    if target.kind == "group":
        return [TargetStream(group_stream(name), group_name(name)) for name in names]
    stream_of = topic_stream if target.kind == "topic" else user_stream
    return [TargetStream(stream_of(name)) for name in names]


def as_in_a_query(stream: str) -> str:
    """A target, by its stream."""
    token = stream.removeprefix(DEVICE_PREFIX)
    return stream if token == stream else f"token:{token}"


def as_asked(target: Target) -> dict[str, Any]:
    """The `to` of a push, as the backend wrote it."""
    if target.kind == "all":
        return {"all": True}
    return {target.kind: target.names if TARGET_OF_NAME[target.kind].several else target.names[0]}


def as_target(to: msgspec.Raw) -> Target:
    """What `as_asked` was made of."""
    ((kind, value),) = msgspec.json.decode(to).items()
    if kind == "all":
        return Target(kind)
    return Target(kind, tuple(value) if TARGET_OF_NAME[kind].several else (value,))

"""Conversations by name: as users see them, and as the store does."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET, UnsetType

from push.wire.errors import Refusal
from push.wire.idents import GROUP_PREFIX, NAME_RULE, USER_PREFIX, is_name


class Conversation(NamedTuple):
    """A conversation as one of its members sees it. `owner` names it in the store."""

    name: str
    owner: str
    user: str | None = None
    group: str | None = None


def with_user(user: str, peer: str) -> Conversation:
    """The conversation of two, as `user` sees it."""
    one, other = sorted((user, peer))  # names are ASCII: the order of the bytes
    return Conversation(USER_PREFIX + peer, f"chat:{one},{other}", user=peer)


def of_group(group: str) -> Conversation:
    return Conversation(GROUP_PREFIX + group, GROUP_PREFIX + group, group=group)


def to_user(user: str, peer: str | UnsetType, field: str = "to.user") -> Conversation:
    """What `user` says to `peer` belongs there. Raises `Refusal` `invalid`."""
    if peer is UNSET or not is_name(peer):
        raise _no_name(field)
    if peer == user:
        raise Refusal("invalid", f"`{field}`: nobody talks to himself here", field=field)
    return with_user(user, peer)


def to_group(group: str | UnsetType, field: str = "to.group") -> Conversation:
    """Raises `Refusal` `invalid`."""
    if group is UNSET or not is_name(group):
        raise _no_name(field)
    return of_group(group)


def conversation_of(user: str, name: str, field: str = "conversation") -> Conversation:
    """What `user` calls `name`. Raises `Refusal` `invalid`."""
    if name.startswith(USER_PREFIX):
        return to_user(user, name.removeprefix(USER_PREFIX), field)
    if name.startswith(GROUP_PREFIX):
        return to_group(name.removeprefix(GROUP_PREFIX), field)
    raise Refusal(
        "invalid", f"`{field}`: expected user:<the other user> or group:<group>", field=field
    )


def _no_name(field: str) -> Refusal:
    return Refusal("invalid", f"`{field}`: expected {NAME_RULE}", field=field)

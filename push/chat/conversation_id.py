"""Conversations by name: as users see them, and as the store does."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET, UnsetType

from push.wire.errors import RequestError
from push.wire.idents import GROUP_PREFIX, NAME_RULE, USER_PREFIX, is_name


class ConversationId(NamedTuple):
    """A conversation as one of its members sees it. `owner` names it in the store."""

    name: str
    owner: str
    user: str | None = None
    group: str | None = None


def with_user(user: str, peer: str) -> ConversationId:
    """The conversation of two, as `user` sees it."""
    one, other = sorted((user, peer))  # names are ASCII: the order of the bytes
    return ConversationId(USER_PREFIX + peer, f"chat:{one},{other}", user=peer)


def to_user(user: str, peer: str | UnsetType, field: str = "to.user") -> ConversationId:
    """What `user` says to `peer` belongs there. Raises `RequestError` `invalid`."""
    if peer is UNSET or not is_name(peer):
        raise _no_name(field)
    if peer == user:
        raise RequestError(
            "invalid", f"`{field}`: you cannot send a message to yourself", field=field
        )
    return with_user(user, peer)


def to_group(group: str | UnsetType, field: str = "to.group") -> ConversationId:
    """Raises `RequestError` `invalid`."""
    if group is UNSET or not is_name(group):
        raise _no_name(field)
    return ConversationId(GROUP_PREFIX + group, GROUP_PREFIX + group, group=group)


def conversation_of(user: str, name: str, field: str = "conversation") -> ConversationId:
    """What `user` calls `name`. Raises `RequestError` `invalid`."""
    if name.startswith(USER_PREFIX):
        return to_user(user, name.removeprefix(USER_PREFIX), field)
    if name.startswith(GROUP_PREFIX):
        return to_group(name.removeprefix(GROUP_PREFIX), field)
    raise RequestError(
        "invalid", f"`{field}`: expected user:<the other user> or group:<group>", field=field
    )


def _no_name(field: str) -> RequestError:
    return RequestError("invalid", f"`{field}`: expected {NAME_RULE}", field=field)

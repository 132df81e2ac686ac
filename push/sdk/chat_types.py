"""The types of chat for applications, the same in the protocol and over HTTP."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from push.sdk.errors import RequestRefused
from push.wire.api.conversations import (
    Conversation,
    ConversationPage,
    HistoryMessage,
    HistoryPage,
    Positions,
    Presence,
    Sent,
)
from push.wire.api.groups import GroupInfo, Member, MemberPage, Results
from push.wire.idents import GROUP_PREFIX as GROUP
from push.wire.idents import USER_PREFIX as USER

__all__ = [
    "GROUP",
    "USER",
    "Conversation",
    "ConversationPage",
    "GroupInfo",
    "HistoryMessage",
    "HistoryPage",
    "Member",
    "MemberPage",
    "Positions",
    "Presence",
    "Results",
    "Sent",
    "as_type",
    "given",
]

T = TypeVar("T")


def as_type(kind: type[T], answer: dict[str, Any]) -> T:
    """An answer's members as a `kind`; raises `RequestRefused` `internal` when they are not."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise RequestRefused("internal", f"the answer is not what was expected: {error}") from None


def given(**members: object) -> dict[str, object]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}

"""Recent messages, and what waits for a device."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.common import AnyJSON
from push.wire.api.messages import MessageLedger
from push.wire.api.paging import PageQuery


class RecentQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which page of the recent messages."""

    to: (
        Annotated[
            str,
            Meta(
                max_length=256,
                description="a target: `user:anna`, `topic:news`, `token:…`, `group:…` or `all`; "
                "absent: any",
            ),
        ]
        | UnsetType
    ) = UNSET
    since: Annotated[
        int, Meta(ge=0, description="only later ones, in milliseconds since 1970 UTC")
    ] = 0


class RecentPage(Struct, frozen=True):
    """A page of messages, the newest first. `cursor` asks for the next one; null: the last."""

    messages: list[MessageLedger]
    cursor: str | None


class WaitingMessage(Struct, frozen=True):
    """A message that a device has not acknowledged. Times: milliseconds since 1970 UTC."""

    id: str
    stream: str
    ts: int
    expires: int
    data: AnyJSON


class WaitingPage(Struct, frozen=True):
    """A page of what waits for a device, in the order in which it is handed out."""

    messages: list[WaitingMessage]
    cursor: str | None

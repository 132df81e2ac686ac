"""Live sessions, and ending them."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from push.wire.api.common import MAX_ADDRESS_CHARACTERS, Name, SilentNodes, check_names, no_items
from push.wire.api.paging import PageQuery

CARRIERS = ("tcp", "tls", "ws", "wss", "sse", "sses")


class Connection(Struct, frozen=True):
    """A live session. `connected`: since when, in milliseconds since 1970 UTC."""

    session: str
    token: Annotated[str | None, Meta(description="its device; null: a user with a JWT alone")]
    user: str | None
    node: str
    ip: str
    carrier: Annotated[str, Meta(extra_json_schema={"enum": list(CARRIERS)})]
    connected: int


class ConnectionPage(Struct, frozen=True):
    """A page of sessions, by id. `cursor` asks for the next one; null: this is the last."""

    connections: list[Connection]
    cursor: str | None = None
    silent: SilentNodes = field(default_factory=no_items)


class KickBody(Struct, forbid_unknown_fields=True, frozen=True):
    """The address or network whose sessions end."""

    ip: Annotated[
        str,
        Meta(
            max_length=MAX_ADDRESS_CHARACTERS,
            description="an address, or a network like 10.0.0.0/8",
        ),
    ]


class ConnectionsQuery(PageQuery, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which live sessions."""

    node: Annotated[Name, Meta(description="the name of a connector's node")] | UnsetType = UNSET
    user: Annotated[Name, Meta(description="sessions of this user")] | UnsetType = UNSET
    ip: (
        Annotated[str, Meta(description="sessions from this address or network, as `10.0.0.0/8`")]
        | UnsetType
    ) = UNSET
    topic: Annotated[Name, Meta(description="sessions that follow this topic")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("node", self.node)
        check_names("user", self.user)
        check_names("topic", self.topic)


class KickResult(Struct, frozen=True):
    """How many sessions were ended, and the nodes that did not answer."""

    kicked: int
    silent: SilentNodes = field(default_factory=no_items)

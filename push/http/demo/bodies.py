"""The demo page: what its routes take and answer, and what the daemon asks the launcher for."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.messages import MessageLedger

USER_PREFIX = "demo-"
TOPIC = "demo-news"
MAX_TEXT_CHARACTERS = 200
CUT_MIN_SECONDS, CUT_MAX_SECONDS = 3, 20
TICKET_PATTERN = "^[A-Za-z0-9_-]{22}$"
NAME_PATTERN = "^[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?$"
NAME_RULE = "1 to 24 characters of a-z, 0-9 and -, without - at an end"
_NAME = re.compile(NAME_PATTERN)

# The patterns are for the document: Python's `$` also matches before a line end.
Ticket = Annotated[
    str,
    Meta(
        max_length=64,
        description="what this page was given when it began",
        extra_json_schema={"pattern": TICKET_PATTERN},
    ),
]
NameText = Annotated[
    str,
    Meta(
        max_length=64,
        description=f"the part after `{USER_PREFIX}`; without it one is made up",
        extra_json_schema={"pattern": NAME_PATTERN},
    ),
]
PushKind = Literal["device", "user", "topic", "everyone"]
CutKind = Literal["cut", "silent"]


class StartBody(Struct, forbid_unknown_fields=True, frozen=True):
    """A page begins."""

    name: NameText | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.name is not UNSET and _NAME.fullmatch(self.name) is None:
            raise ValueError(f"`name` is {NAME_RULE}")


class TicketBody(Struct, forbid_unknown_fields=True, frozen=True):
    """What a page asks for, and nothing else."""

    ticket: Ticket


class DemoPushBody(TicketBody, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A push. `user`: somebody of the demo; without it the page's own user."""

    to: PushKind
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    user: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class CutBody(TicketBody, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How the page's network fails: its connections are `cut`, or nothing gets through."""

    how: CutKind
    seconds: Annotated[int, Meta(ge=CUT_MIN_SECONDS, le=CUT_MAX_SECONDS)]


class DemoStart(Struct, frozen=True):
    """A device and a user that are made for a page. `ends`: when both are erased at the latest."""

    user: str
    token: str
    secret: str
    ticket: str
    group: Annotated[str, Meta(description="the group that everybody of the demo is in")]
    topic: str
    servers: Annotated[list[str], Meta(description="connectors that a browser can use")]
    ends: int


class DemoConnector(Struct, frozen=True):
    """A connector. `state`: `gone` if it was there before, and is not registered now."""

    node: str
    state: Literal["up", "draining", "gone"]
    sessions: int


class DemoPerson(Struct, frozen=True):
    """A user of the demo. `here`: their page asked within the last seconds."""

    user: str
    here: bool


class DemoState(Struct, frozen=True):
    """What a page shows. `launcher`: whether connectors can be drained and networks cut; `message`:
    the funnel of the last push of this page."""

    connectors: list[DemoConnector]
    people: list[DemoPerson]
    launcher: bool
    ends: int
    message: MessageLedger | None = None


class DemoPushed(Struct, frozen=True):
    """A push was accepted. `to`: its target, as `POST /v1/push` takes it."""

    id: str
    to: dict[str, str]


class DemoDrained(Struct, frozen=True):
    """The connector that was told to send its sessions elsewhere."""

    node: str


class DemoCut(Struct, frozen=True):
    """The network of the page is cut; so many messages are pushed to it meanwhile."""

    seconds: int
    pushes: int


class CutOrder(Struct, frozen=True):
    """From the daemon to the launcher, as one line of JSON."""

    token: str
    seconds: int
    how: CutKind


class CutDone(Struct, frozen=True):
    """The launcher's answer: how many connections of the device there were."""

    connections: int

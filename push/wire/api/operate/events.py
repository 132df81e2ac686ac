"""Events as they happen, and the timeline of a device."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.common import Name, SilentNodes, TokenText, check_names
from push.wire.idents import is_token

EventKind = Literal[
    "connected", "disconnected", "redirected", "pushed", "acknowledged", "dropped", "repaired"
]
EVENT_KINDS: tuple[EventKind, ...] = (
    "connected",
    "disconnected",
    "redirected",
    "pushed",
    "acknowledged",
    "dropped",
    "repaired",
)
SKIPPED = "skipped"
EVENTS_PER_SECOND = 200  # to one client


class EventsQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which events are wanted. With several filters an event must match all of them."""

    kinds: (
        Annotated[
            str,
            Meta(
                max_length=256,
                description=(
                    f"kinds with commas between them: {', '.join(EVENT_KINDS)}; absent: all. "
                    f"`{SKIPPED}` always comes"
                ),
            ),
        ]
        | UnsetType
    ) = UNSET
    user: Annotated[Name, Meta(description="only those of this user")] | UnsetType = UNSET
    token: Annotated[TokenText, Meta(description="only those of this device")] | UnsetType = UNSET
    node: Annotated[Name, Meta(description="only those of this node")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("user", self.user)
        check_names("node", self.node)
        if self.token is not UNSET and not is_token(self.token):
            raise ValueError("`token` its form or check character is wrong")


class LiveEvent(Struct, frozen=True, omit_defaults=True):
    """The `data` of an event; `event` names its kind. `ts`: milliseconds since 1970 UTC.

    `n`: of `pushed`, to how many streams; of `repaired`, how many sessions follow the stream; of
    `skipped`, how many events were left out.
    """

    ts: int
    node: str
    token: str | None = None
    user: str | None = None
    session: str | None = None
    ip: str | None = None
    message: Annotated[str, Meta(description="the id of a message")] | None = None
    code: str | None = None
    reason: str | None = None
    n: int | None = None


class Event(LiveEvent, frozen=True, omit_defaults=True):
    """An event as a backend's client gets it, with its kind."""

    kind: str = ""


class DeviceEvent(Struct, frozen=True, omit_defaults=True):
    """An entry of a device's timeline. `ts`: milliseconds since 1970 UTC.

    Of `acknowledged` and `dropped` there is one a session and minute (and `reason`), which says how
    often it happened (`n`).
    """

    ts: int
    event: EventKind
    node: str
    session: Annotated[str, Meta(description='"" for a device that was sent elsewhere at CONNECT')]
    code: str | None = None
    reason: str | None = None
    n: int | None = None


class DeviceEventPage(Struct, frozen=True):
    """A page of a device's timeline, the latest first."""

    events: list[DeviceEvent]
    cursor: str | None
    silent: SilentNodes

"""Devices and users: registering, where to connect, and the records of both."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from push.wire.api.common import LabelText, no_items
from push.wire.bodies import MAX_DEVICE_BYTES, MAX_LABEL_BYTES, MAX_OPAQUE_BYTES
from push.wire.text import NAME_TEXT_PATTERN, check_name_text


class RegistrationBody(Struct, forbid_unknown_fields=True, frozen=True):
    """A device that wants a token. With `token` and its `secret`: the same pair again."""

    platform: LabelText
    app: LabelText
    device: (
        Annotated[
            str,
            Meta(
                max_length=MAX_DEVICE_BYTES,
                description=f"information only, at most {MAX_DEVICE_BYTES} bytes, "
                "no control characters",
                extra_json_schema={"pattern": NAME_TEXT_PATTERN},
            ),
        ]
        | UnsetType
    ) = UNSET
    token: Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES)] | UnsetType = UNSET
    secret: Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_name_text("platform", self.platform, MAX_LABEL_BYTES)
        check_name_text("app", self.app, MAX_LABEL_BYTES)
        check_name_text("device", self.device, MAX_DEVICE_BYTES)


class Registration(Struct, frozen=True):
    """The token that addresses a device, and the secret that proves it; and where it can connect.

    The secret is in no other answer.
    """

    token: str
    secret: str
    servers: Annotated[list[str], Meta(description="URLs, best first")] = field(
        default_factory=no_items
    )


class ServersQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which servers."""

    carrier: (
        Annotated[
            Literal["tcp", "tls", "ws", "wss"],
            Meta(description="only servers of this carrier; all, if absent"),
        ]
        | UnsetType
    ) = UNSET


class Servers(Struct, frozen=True):
    """Where a device can connect now."""

    servers: Annotated[list[str], Meta(description="URLs, best first")]
    ttl: Annotated[int, Meta(description="seconds for which the list may be kept")] = 0


class Device(Struct):
    """A registered device. Times are milliseconds since 1970 UTC; `backlog` messages wait."""

    token: str
    platform: str
    app: str
    device: str | None
    user: str | None
    created: int
    seen: int | None
    topics: list[str]
    session: str | None
    node: str | None
    backlog: int
    online: bool


class UserDevice(Struct):
    """A device of a user; `session` and `node` while it is online. `seen`: ms since 1970 UTC."""

    token: str
    platform: str
    app: str
    online: bool
    session: str | None
    node: str | None
    seen: int | None


class User(Struct):
    """A user: online with one of the devices, or with a JWT alone. `silent`: nodes that were asked
    for such sessions and did not answer."""

    user: str
    online: bool
    devices: list[UserDevice]
    silent: list[str]

"""Bans: addresses, devices and users that may not connect."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from push.wire.api.common import MAX_ADDRESS_CHARACTERS, Name, Unconfirmed, null
from push.wire.bodies import MAX_OPAQUE_BYTES
from push.wire.idents import TOKEN_PATTERN

IP_TEXT = "an address, or a network like `10.0.0.0/8`"
TOKEN_TEXT = "a device, which need not be registered any more"
USER_TEXT = "a user, with all devices"


class BanBody(Struct, forbid_unknown_fields=True, frozen=True):
    """What is banned: exactly one of `ip`, `token` and `user`."""

    ip: Annotated[str, Meta(max_length=MAX_ADDRESS_CHARACTERS, description=IP_TEXT)] | UnsetType = (
        UNSET
    )
    token: Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES, description=TOKEN_TEXT)] | UnsetType = (
        UNSET
    )
    user: Annotated[Name, Meta(description=USER_TEXT)] | UnsetType = UNSET
    until: (
        Annotated[
            int,
            Meta(ge=1, le=2**53 - 1, description="ms since 1970 UTC; absent: until it is lifted"),
        ]
        | None
    ) = None


class BanQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which ban is lifted: exactly one of these."""

    ip: Annotated[str, Meta(description=IP_TEXT)] | UnsetType = UNSET
    token: (
        Annotated[str, Meta(description=TOKEN_TEXT, extra_json_schema={"pattern": TOKEN_PATTERN})]
        | UnsetType
    ) = UNSET
    user: Annotated[Name, Meta(description=USER_TEXT)] | UnsetType = UNSET


class Ban(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A ban that holds, of one `ip`, `token` or `user`. `until`: milliseconds since 1970 UTC,
    null: until it is lifted."""

    ip: str | None = None
    token: str | None = None
    user: str | None = None
    until: int | None = field(default_factory=null)


class BanMade(Ban, frozen=True, omit_defaults=True, kw_only=True):
    """A ban that holds from now on. `silent` is absent when every process has confirmed it."""

    silent: Unconfirmed = []


class BanPage(Struct, frozen=True):
    """A page of bans, the oldest first. `cursor` asks for the next one; null: this is the last."""

    bans: list[Ban]
    cursor: str | None = None

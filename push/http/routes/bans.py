"""Bans: addresses, devices and users that may not connect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from msgspec import UNSET, Meta, Struct, UnsetType

from push.access.bans import Ban, Kind
from push.http.framework.request_reading import LIMIT_PARAMETER, read_cursor, read_limit
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Parameter,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, Unconfirmed, in_effect
from push.http.routes.messages import CURSOR
from push.http.schemas import Name, check_name, read_network
from push.wire.errors import RequestError
from push.wire.idents import is_token
from push.wire.reading import decoder_for

IP_TEXT = "an address, or a network like `10.0.0.0/8`"
TOKEN_TEXT = "a device, which need not be registered any more"
USER_TEXT = "a user, with all devices"
KINDS: tuple[Kind, ...] = ("ip", "token", "user")


class BanBody(Struct, forbid_unknown_fields=True, frozen=True):
    """Who is banned: exactly one of `ip`, `token` and `user`."""

    ip: Annotated[str, Meta(max_length=64, description=IP_TEXT)] | UnsetType = UNSET
    token: Annotated[str, Meta(max_length=64, description=TOKEN_TEXT)] | UnsetType = UNSET
    user: Annotated[Name, Meta(description=USER_TEXT)] | UnsetType = UNSET
    until: (
        Annotated[
            int,
            Meta(ge=1, le=2**53 - 1, description="ms since 1970 UTC; absent: until it is lifted"),
        ]
        | None
    ) = None


class BanEntry(Struct, omit_defaults=True, kw_only=True):
    """A ban that holds. `until`: milliseconds since 1970 UTC, null: until it is lifted."""

    ip: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    until: int | None


class BanMade(BanEntry):
    """A ban that holds from now on. `silent` is absent when every process has confirmed it."""

    silent: Unconfirmed | UnsetType = UNSET


class BanList(Struct):
    """A page of bans, by kind and name. `cursor` asks for the next one; null: this is the last."""

    bans: list[BanEntry]
    cursor: str | None


class BanStore(Protocol):
    """What is needed of `push.access.bans.BanStore`."""

    async def add(self, ban: Ban) -> list[str]: ...

    async def lift(self, kind: Kind, name: str) -> list[str]: ...

    async def all(self) -> Sequence[Ban]: ...

    def now_ms(self) -> int: ...


def ban_routes(bans: BanStore) -> tuple[Route, ...]:
    async def list_bans(call: Request) -> Response:
        after, limit = _place_of(read_cursor(call.query)), read_limit(call.query)
        found = (await bans.all())[after:]
        cursor = str(after + limit) if len(found) > limit else None
        return json_answer(200, BanList([_entry(ban) for ban in found[:limit]], cursor))

    async def ban(call: Request) -> Response:
        kind, name = _who(call.body)
        until = call.body.until
        if until is not None and until <= bans.now_ms():
            raise RequestError("invalid", "`until`: expected a time to come", field="until")
        silent = await bans.add(Ban(kind, name, until))
        made = BanMade(until=until, silent=silent or UNSET)
        setattr(made, kind, name)
        return json_answer(201, made)

    async def lift(call: Request) -> Response:
        asked = call.body if call.body is not None else _body_of(call.query)
        return in_effect(await bans.lift(*_who(asked)))

    return (
        Route(
            "GET",
            "/v1/bans",
            "list_bans",
            "List bans",
            list_bans,
            {200: DocumentedResponse("A page of the bans that hold, by kind and name.", BanList)},
            scope="admin",
            query=(CURSOR, LIMIT_PARAMETER),
            problems=("invalid", "unavailable"),
        ),
        Route(
            "POST",
            "/v1/bans",
            "ban",
            "Ban an address, a device or a user",
            ban,
            {201: DocumentedResponse("It holds from now on, in place of an earlier one.", BanMade)},
            description=(
                "When it is answered, live sessions have ended with `kicked`, and registrations "
                "and connections are refused with `banned` (`CONNECT_ACK` `NOT_AUTHORIZED`) by "
                "every process. Of a ban that ends clients are told `after`, the seconds after "
                "which they come back; otherwise they give up. What waits for a device goes on "
                "waiting."
            ),
            scope="admin",
            body=Body(BanBody, decoder_for(BanBody), {"ip": "192.0.2.0/24"}),
            problems=("unavailable",),
        ),
        Route(
            "DELETE",
            "/v1/bans",
            "lift_ban",
            "Lift a ban",
            lift,
            {
                200: REPLY_UNCONFIRMED,
                204: DocumentedResponse("Every process admits the address, device or user again."),
            },
            description="The address, device or user is given in the query or in a body.",
            scope="admin",
            query=tuple(
                Parameter(kind, text, kind="" if kind == "ip" else kind)
                for kind, text in zip(KINDS, (IP_TEXT, TOKEN_TEXT, USER_TEXT), strict=True)
            ),
            body=Body(BanBody, decoder_for(BanBody), {"user": "mallory"}, optional=True),
            problems=("invalid", "not_found", "unavailable"),
        ),
    )


def _who(asked: BanBody) -> tuple[Kind, str]:
    """Raises `RequestError` `invalid`."""
    given: list[tuple[Kind, Any]] = [
        (kind, getattr(asked, kind)) for kind in KINDS if getattr(asked, kind) is not UNSET
    ]
    if len(given) != 1:
        raise RequestError(
            "invalid", "exactly one of `ip`, `token` and `user` is required", field="ip"
        )
    kind, name = given[0]
    if kind == "ip":
        return kind, read_network(name, "ip")
    if kind == "user":
        check_name(name, "user")
    elif not is_token(name):
        raise RequestError(
            "invalid", "`token`: its form or check character is wrong", field="token"
        )
    return kind, name


def _body_of(query: Mapping[str, str]) -> BanBody:
    return BanBody(
        ip=query.get("ip", UNSET), token=query.get("token", UNSET), user=query.get("user", UNSET)
    )


def _place_of(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 9):
        raise RequestError("invalid", "`cursor`: not the cursor of a page", field="cursor")
    return int(cursor)


def _entry(ban: Ban) -> BanEntry:
    entry = BanEntry(until=ban.until)
    setattr(entry, ban.kind, ban.name)
    return entry

"""Bans: addresses, devices and users that may not connect."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import UNSET

from push.access.bans import KINDS, ActiveBan, BanKind
from push.http.checks import check_name, read_network
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.bans import Ban, BanBody, BanMade, BanPage, BanQuery
from push.wire.api.paging import PageQuery, make_cursor, read_cursor
from push.wire.errors import RequestError
from push.wire.idents import is_token
from push.wire.reading import decoder_for


class BanStore(Protocol):
    """What is needed of `push.access.bans.Bans`."""

    async def add(self, ban: ActiveBan) -> list[str]: ...

    async def lift(self, kind: BanKind, name: str) -> list[str]: ...

    async def page(self, after: int, at_most: int) -> tuple[list[ActiveBan], int | None]: ...

    def now_ms(self) -> int: ...


def ban_routes(bans: BanStore) -> tuple[Route, ...]:
    async def list_bans(call: Request) -> Response:
        query: PageQuery = call.query
        place = read_cursor("bans", query.cursor, int)
        page, next_after = await bans.page(place[0] if place else 0, query.limit)
        cursor = None if next_after is None else make_cursor("bans", next_after)
        return json_answer(200, BanPage([_entry(ban) for ban in page], cursor))

    async def ban(call: Request) -> Response:
        kind, name = _who(call.body)
        until = call.body.until
        if until is not None and until <= bans.now_ms():
            raise RequestError("invalid", "`until`: expected a time in the future", field="until")
        silent = await bans.add(ActiveBan(kind, name, until))
        return json_answer(201, BanMade(**{kind: name}, until=until, silent=silent))

    async def lift(call: Request) -> Response:
        asked = call.body if call.body is not None else call.query
        return in_effect(await bans.lift(*_who(asked)))

    return (
        Route(
            "GET",
            "/v1/bans",
            "list_bans",
            "List bans",
            list_bans,
            {200: DocumentedResponse("A page of the bans that hold, the oldest first.", BanPage)},
            scope="admin",
            query=PageQuery,
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
                "which they come back; otherwise they give up. Messages for a device go on "
                "waiting."
            ),
            scope="admin",
            body=Body(BanBody, decoder_for(BanBody), {"ip": "192.0.2.0/24"}),
            problems=("not_allowed", "unavailable"),
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
            query=BanQuery,
            body=Body(BanBody, decoder_for(BanBody), {"user": "mallory"}, optional=True),
            problems=("invalid", "not_found", "unavailable"),
        ),
    )


def _who(asked: BanBody | BanQuery) -> tuple[BanKind, str]:
    """Raises `RequestError` `invalid`."""
    given: list[tuple[BanKind, Any]] = [
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


def _entry(ban: ActiveBan) -> Ban:
    return Ban(**{ban.kind: ban.name}, until=ban.until)

"""Bans: addresses, devices and users that may not connect."""

from __future__ import annotations

from msgspec import UNSET

from push.access.ban_table import KINDS, ActiveBan, BanKind
from push.access.bans import Bans
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


class BanRoutes:
    def __init__(self, bans: Bans) -> None:
        self._bans = bans

    @Route(
        "GET",
        "/v1/bans",
        "List bans",
        {200: DocumentedResponse("A page of the bans that hold, the oldest first.", BanPage)},
        scope="admin",
        query=PageQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_bans(self, call: Request) -> Response:
        query: PageQuery = call.query
        place = read_cursor("bans", query.cursor, int)
        page, next_after = await self._bans.page(place[0] if place else 0, query.limit)
        cursor = None if next_after is None else make_cursor("bans", next_after)
        return json_answer(200, BanPage([_entry(ban) for ban in page], cursor))

    @Route(
        "POST",
        "/v1/bans",
        "Ban an address, a device or a user",
        {201: DocumentedResponse("It holds from now on, in place of an earlier one.", BanMade)},
        description=(
            "When it is answered, live sessions have ended with `kicked`, and registrations "
            "and connections are refused with `banned` (`CONNECT_ACK` `NOT_AUTHORIZED`) by "
            "every process. If the ban has an end, a refused client gets `after`: it connects "
            "again after that many seconds. Otherwise it gives up. Messages for a device go on "
            "waiting."
        ),
        scope="admin",
        body=Body(BanBody, {"ip": "192.0.2.0/24"}),
        problems=("not_allowed", "unavailable"),
    )
    async def ban(self, call: Request) -> Response:
        kind, name = _banned_by(call.body)
        until = call.body.until
        if until is not None and until <= self._bans.now_ms():
            raise RequestError("invalid", "`until`: expected a time in the future", field="until")
        silent = await self._bans.add(ActiveBan(kind, name, until))
        return json_answer(201, BanMade(**{kind: name}, until=until, silent=silent))

    @Route(
        "DELETE",
        "/v1/bans",
        "Lift a ban",
        {
            200: REPLY_UNCONFIRMED,
            204: DocumentedResponse("Every process admits the address, device or user again."),
        },
        description="The address, device or user is given in the query or in a body.",
        scope="admin",
        query=BanQuery,
        body=Body(BanBody, {"user": "mallory"}, optional=True),
        problems=("invalid", "not_found", "unavailable"),
    )
    async def lift_ban(self, call: Request) -> Response:
        asked = call.query
        if call.body is not None:
            if asked != BanQuery():
                raise RequestError(
                    "invalid", "what is banned is given in the query or in a body, not in both"
                )
            asked = call.body
        return in_effect(await self._bans.lift(*_banned_by(asked)))


def _banned_by(asked: BanBody | BanQuery) -> tuple[BanKind, str]:
    """The kind and name of what is banned. Raises `RequestError` `invalid`."""
    given = [kind for kind in KINDS if getattr(asked, kind) is not UNSET]
    if len(given) != 1:
        raise RequestError(
            "invalid", "exactly one of `ip`, `token` and `user` is required", field="ip"
        )
    kind = given[0]
    name: str = getattr(asked, kind)
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

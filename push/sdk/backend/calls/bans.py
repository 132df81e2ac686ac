"""The HTTP API's requests about bans; see `push.sdk.backend.calls.base`."""

from __future__ import annotations

from push.sdk.backend.calls.base import ApiCall, read_silent, reader
from push.wire.api.bans import BanMade, BanPage


def ban(
    *,
    ip: str | None = None,
    token: str | None = None,
    user: str | None = None,
    until: int | None = None,
) -> ApiCall[BanMade]:
    """Refuse an address or network, a device, or a user, whose sessions end; `until` a time in
    milliseconds since 1970 UTC, or until `unban`."""
    body = {**_who(ip, token, user), **({} if until is None else {"until": until})}
    return ApiCall("POST", "/v1/bans", reader(BanMade), json=body)


def unban(
    *, ip: str | None = None, token: str | None = None, user: str | None = None
) -> ApiCall[list[str]]:
    """Lift a ban; `not_found` (404) when there is none. Returns the nodes that did not confirm it
    yet, usually none."""
    return ApiCall("DELETE", "/v1/bans", read_silent, params=_who(ip, token, user))


def bans(*, cursor: str | None = None, limit: int | None = None) -> ApiCall[BanPage]:
    """The bans that hold: a page of at most `limit` (50, at most 200) from `cursor` on.
    `each_ban` goes through all pages.
    """
    given = {"cursor": cursor, "limit": None if limit is None else str(limit)}
    params = {name: value for name, value in given.items() if value is not None}
    return ApiCall("GET", "/v1/bans", reader(BanPage), params=params or None)


def _who(ip: str | None, token: str | None, user: str | None) -> dict[str, str]:
    given = {"ip": ip, "token": token, "user": user}
    return {name: value for name, value in given.items() if value is not None}

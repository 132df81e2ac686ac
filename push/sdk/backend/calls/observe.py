"""The HTTP API's requests of operators: what happens and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from push.sdk.backend.calls.base import ApiCall, reader
from push.sdk.backend.calls.paths import path_of
from push.wire.api.operate.audit import AuditPage
from push.wire.api.operate.config import Configuration
from push.wire.api.operate.events import DeviceEventPage
from push.wire.api.operate.messages import RecentPage, WaitingPage
from push.wire.api.operate.series import Series


def event_params(
    kinds: Sequence[str] = (),
    user: str | None = None,
    token: str | None = None,
    node: str | None = None,
) -> dict[str, str]:
    """The query of `GET /v1/events`."""
    given = {"kinds": ",".join(kinds) or None, "user": user, "token": token, "node": node}
    return {name: value for name, value in given.items() if value is not None}


def series(name: str, *, node: str | None = None, step: int = 1) -> ApiCall[Series]:
    """A figure (`connections`, `pushes`, …) of the cluster or of one node: a value each `step`
    seconds (1, 10 or 60), the oldest first."""
    params = {"name": name, "step": str(step)}
    if node is not None:
        params["node"] = node
    return ApiCall("GET", "/v1/series", reader(Series), params=params)


def device_events(
    token: str, *, cursor: str | None = None, limit: int | None = None
) -> ApiCall[DeviceEventPage]:
    """A page of the timeline of a device, the latest first."""
    path = path_of("/v1/devices/{token}/events", token=token)
    return ApiCall("GET", path, reader(DeviceEventPage), params=_page(cursor, limit))


def waiting_messages(
    token: str, *, cursor: str | None = None, limit: int | None = None
) -> ApiCall[WaitingPage]:
    """A page of the messages that a device has not acknowledged, the first to come first."""
    path = path_of("/v1/devices/{token}/messages", token=token)
    return ApiCall("GET", path, reader(WaitingPage), params=_page(cursor, limit))


def recent_messages(
    *,
    to: str | None = None,
    since: int | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> ApiCall[RecentPage]:
    """A page of the recent messages, the newest first. `to`: `user:anna`, `topic:news`, `token:…`,
    `group:…` or `all`. `since`: in milliseconds since 1970 UTC."""
    params = _page(cursor, limit) or {}
    if to is not None:
        params["to"] = to
    if since is not None:
        params["since"] = str(since)
    return ApiCall("GET", "/v1/messages", reader(RecentPage), params=params or None)


def audit(
    *,
    since: int | None = None,
    key: str | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> ApiCall[AuditPage]:
    """A page of the audit trail, the latest first. `since`: in milliseconds since 1970 UTC; `key`:
    the name of an API key."""
    params = _page(cursor, limit) or {}
    if since is not None:
        params["since"] = str(since)
    if key is not None:
        params["key"] = key
    return ApiCall("GET", "/v1/audit", reader(AuditPage), params=params or None)


def configuration() -> ApiCall[Configuration]:
    """The settings of the daemon that answers, with where each comes from; without secrets."""
    return ApiCall("GET", "/v1/config", reader(Configuration))


def _page(cursor: str | None, limit: int | None) -> dict[str, str] | None:
    params = {} if cursor is None else {"cursor": cursor}
    if limit is not None:
        params["limit"] = str(limit)
    return params or None

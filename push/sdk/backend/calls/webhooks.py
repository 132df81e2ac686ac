"""The HTTP API's requests about webhooks; see `push.sdk.backend.calls.base`."""

from __future__ import annotations

from collections.abc import Sequence

from push.sdk.backend.calls.base import JSON, ApiCall, read_nothing, reader
from push.sdk.backend.calls.paths import path_of
from push.wire.api.operate.webhooks import (
    Replayed,
    Webhook,
    WebhookAttemptPage,
    WebhookChanged,
    WebhookMade,
    WebhookPage,
    WebhookTested,
)


def webhooks(*, cursor: str | None = None, limit: int | None = None) -> ApiCall[WebhookPage]:
    """The endpoints to which events are sent: a page of at most `limit` (50, at most 200) from
    `cursor` on. `each_webhook` goes through all pages.
    """
    return ApiCall("GET", "/v1/webhooks", reader(WebhookPage), params=_page(cursor, limit))


def create_webhook(
    url: str, types: Sequence[str], *, enabled: bool = True, description: str = ""
) -> ApiCall[WebhookMade]:
    """A new endpoint, `https://…` at a public address. Its `secret` is told only now."""
    body: JSON = {"url": url, "types": list(types)}
    body |= {} if enabled else {"enabled": False}
    body |= {"description": description} if description else {}
    return ApiCall("POST", "/v1/webhooks", reader(WebhookMade), json=body, idempotent=False)


def webhook(id: str) -> ApiCall[Webhook]:
    """An endpoint."""
    return ApiCall("GET", _path(id), reader(Webhook))


def change_webhook(
    id: str,
    *,
    url: str | None = None,
    types: Sequence[str] | None = None,
    enabled: bool | None = None,
    description: str | None = None,
    rotate: bool = False,
) -> ApiCall[WebhookChanged]:
    """Change what is given. With `rotate` the answer has a new `secret`, and the old one stays
    valid for 24 h; such a call is not retried."""
    given: JSON = {"url": url, "enabled": enabled, "description": description}
    given["types"] = None if types is None else list(types)
    body = {name: value for name, value in given.items() if value is not None}
    body |= {"rotate": True} if rotate else {}
    return ApiCall("PATCH", _path(id), reader(WebhookChanged), json=body, idempotent=not rotate)


def delete_webhook(id: str) -> ApiCall[None]:
    """Delete an endpoint; what waits for it is dropped."""
    return ApiCall("DELETE", _path(id), read_nothing)


def webhook_attempts(
    id: str, *, cursor: str | None = None, limit: int | None = None
) -> ApiCall[WebhookAttemptPage]:
    """What became of attempts of the last 7 days, the newest first. `each_webhook_attempt` goes
    through all pages."""
    path = f"{_path(id)}/attempts"
    return ApiCall("GET", path, reader(WebhookAttemptPage), params=_page(cursor, limit))


def replay_webhook(
    id: str,
    *,
    since: int | None = None,
    until: int | None = None,
    type: str | None = None,
    only_failed: bool = False,
) -> ApiCall[Replayed]:
    """Send events again: those decided from `since` to `until` (milliseconds since 1970 UTC), of
    one type, or only those that were tried and did not arrive."""
    given: JSON = {"since": since, "until": until, "type": type}
    body = {name: value for name, value in given.items() if value is not None}
    body |= {"only_failed": True} if only_failed else {}
    return ApiCall("POST", f"{_path(id)}/replay", reader(Replayed), json=body, idempotent=False)


def test_webhook(id: str) -> ApiCall[WebhookTested]:
    """Send a test event, of the type `webhook.test`."""
    return ApiCall("POST", f"{_path(id)}/test", reader(WebhookTested), idempotent=False)


def _path(id: str) -> str:
    return path_of("/v1/webhooks/{webhook}", webhook=id)


def _page(cursor: str | None, limit: int | None) -> dict[str, str] | None:
    given = {"cursor": cursor, "limit": None if limit is None else str(limit)}
    return {name: value for name, value in given.items() if value is not None} or None

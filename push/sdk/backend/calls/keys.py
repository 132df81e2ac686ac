"""The HTTP API's requests about API keys; see `push.sdk.backend.calls.base`."""

from __future__ import annotations

from collections.abc import Sequence

from push.sdk.backend.calls.base import ApiCall, read_silent, reader
from push.sdk.backend.calls.paths import path_of
from push.wire.api.operate.keys import KeyPage, NewKey
from push.wire.api.operate.whoami import KeyOwner


def make_key(name: str, scopes: Sequence[str], *, expires: int | None = None) -> ApiCall[NewKey]:
    """A new API key, which is told only now; `expires` a time in milliseconds since 1970 UTC.

    Never retried: of a key whose answer was lost nobody knows. Revoke it, and make another one.
    """
    body: dict[str, object] = {"name": name, "scopes": list(scopes)}
    if expires is not None:
        body["expires"] = expires
    return ApiCall("POST", "/v1/keys", reader(NewKey), json=body, idempotent=False)


def whoami() -> ApiCall[KeyOwner]:
    """The name and the scopes of the key of this client."""
    return ApiCall("GET", "/v1/whoami", reader(KeyOwner))


def revoke_key(name: str) -> ApiCall[list[str]]:
    """Revoke a key that was made by HTTP. Returns the nodes that did not confirm it yet, usually
    none."""
    return ApiCall("DELETE", path_of("/v1/keys/{key}", key=name), read_silent)


def keys(*, cursor: str | None = None, limit: int | None = None) -> ApiCall[KeyPage]:
    """The keys that are valid, without the keys themselves: a page of at most `limit` (50, at most
    200) from `cursor` on. `each_key` goes through all pages."""
    given = {"cursor": cursor, "limit": None if limit is None else str(limit)}
    params = {name: value for name, value in given.items() if value is not None}
    return ApiCall("GET", "/v1/keys", reader(KeyPage), params=params or None)

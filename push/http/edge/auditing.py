"""Which requests are in the audit trail, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from push.observe.audit import AuditTrail
from push.wire.addresses import without_secrets
from push.wire.errors import STATUS_OF_CODE

_URL = "url"
# Of a query or a body: what an act is about, the first that is there.
_TARGET_FIELDS = ("token", "user", "group", "topic", "ip", "name", "id", _URL)


class AuditedRoute(Protocol):
    """A route; `audited` False: messages are sent by it."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def scope(self) -> str | None: ...

    @property
    def audited(self) -> bool: ...


class Auditing:
    """Notes requests in `trail`."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def answered(
        self,
        route: AuditedRoute,
        key: str,
        ip: str,
        path: Mapping[str, str],
        query: object,
        body: object,
        status: int,
    ) -> None:
        """A request with a valid key was answered; reading is not noted."""
        if route.method == "GET" or not route.audited:
            return
        target = "/".join(path.values()) or _named_in(query) or _named_in(body)
        where, is_admin = f"{route.method} {route.path}", route.scope == "admin"
        self._trail.note(key, ip, where, target, status, is_admin=is_admin)

    def refused(
        self, route: AuditedRoute, key: str | None, ip: str, path: Mapping[str, str], code: str
    ) -> None:
        """Its key is not valid, or may not do this: then it is named. That somebody may not read
        is not noted: the trail is of writes and of credentials that are no credentials."""
        if route.method == "GET" and key is not None:
            return
        where = f"{route.method} {route.path}"
        self._trail.note_refused(key, ip, where, "/".join(path.values()), STATUS_OF_CODE[code])


def _named_in(value: object) -> str:
    if not isinstance(value, msgspec.Struct):
        return ""
    for name in _TARGET_FIELDS:
        named = getattr(value, name, None)
        if isinstance(named, str) and named:
            return without_secrets(named) if name == _URL else named
    return ""

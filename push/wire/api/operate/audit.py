"""The audit trail: who changed what, and whose credentials were refused."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.common import Name, check_names
from push.wire.api.paging import PageQuery


class AuditEntry(Struct, frozen=True):
    """One act. `ts`: milliseconds since 1970 UTC."""

    ts: int
    key: Annotated[str, Meta(description="the name of the API key; null: it was refused")] | None
    ip: str
    route: Annotated[str, Meta(description="`DELETE /v1/devices/{token}`, or `CONNECT`")]
    target: Annotated[str, Meta(description="what it was about; empty where nothing is named")]
    status: Annotated[int, Meta(description="the status of the answer")]


class AuditQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which page of the trail."""

    since: Annotated[
        int, Meta(ge=0, description="only later acts, in milliseconds since 1970 UTC")
    ] = 0
    key: Annotated[Name, Meta(description="only acts with this key")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("key", self.key)


class AuditPage(Struct, frozen=True):
    """A page of the trail, the latest first. `cursor` asks for the next one; null: the last."""

    audit: list[AuditEntry]
    cursor: str | None

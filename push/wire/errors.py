"""The two families of errors a peer can cause, and the form that the second has over HTTP.

`ProtocolError` ends a connection: the peer broke the protocol. `RequestError` answers one request:
the peer is understood and told no, over HTTP by a `Problem`. Our own faults are ordinary
exceptions and are never sent as text.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.signals import DisconnectCode

# Every code the contract documents, with its HTTP status.
STATUS_OF_CODE: dict[str, int] = {
    "malformed": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_member": 403,
    "muted": 403,
    "not_allowed": 403,
    "recall_expired": 403,
    "banned": 403,
    "not_found": 404,
    "unknown_token": 404,
    "unknown_group": 404,
    "unknown_message": 404,
    "method_not_allowed": 405,
    "already_exists": 409,
    "in_progress": 409,
    "group_full": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid": 422,
    "unknown_request": 422,
    "idempotency_mismatch": 422,
    "rate_limited": 429,
    "internal": 500,
    "unavailable": 503,
}


# How much of its own words a peer gets back, in an answer or in a log that quotes it.
MAX_TEXT_CHARACTERS = 200
MAX_FIELD_CHARACTERS = 64
_OWN_WORDS = ("unavailable", "internal")  # their texts quote nothing that was sent


def shortened(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """`text` with at most `limit` characters, and as something that UTF-8 can carry."""
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class LimitPolicy(NamedTuple):
    """A limit, by the name that metrics and headers have: `quota` in a window of so many
    seconds."""

    name: str
    quota: int
    window_seconds: int


class ProtocolError(Exception):
    """The peer's fault: the connection is to be closed with `code` and `reason`."""

    def __init__(self, code: DisconnectCode, reason: str) -> None:
        reason = shortened(reason)
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class VersionMismatch(ProtocolError):
    """The magic was right and the version is not ours."""

    def __init__(self, version: int) -> None:
        super().__init__(
            DisconnectCode.BAD_FRAME, f"version: {version} is not supported, only version 2"
        )
        self.version = version


class RequestError(Exception):
    """A request is refused: the same code over HTTP and to devices.

    `code` is one of `STATUS_OF_CODE`; `detail` is a sentence for a person; `field` names the
    member that is wrong, where there is one; `after_seconds` says when to try again; `limit` is
    the one that was reached. What quotes a peer is shortened here, so that no refusal
    sends megabytes back.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        after_seconds: int | None = None,
        limit: LimitPolicy | None = None,
    ) -> None:
        if code not in STATUS_OF_CODE:
            raise ValueError(f"{code!r} is not a documented code")
        if code not in _OWN_WORDS:
            detail = shortened(detail)
        if field is not None:
            field = shortened(field, MAX_FIELD_CHARACTERS)
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.field = field
        self.after_seconds = after_seconds
        self.limit = limit

    @property
    def http_status(self) -> int:
        return STATUS_OF_CODE[self.code]


# All members but the last three are always written. The defaults are for a reader: a proxy before
# the API may answer with less.
class Problem(Struct, frozen=True):
    """RFC 9457. `code` is stable and for programs, `detail` for people."""

    type: Annotated[str, Meta(description="the path of a page about the code")] = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    field: (
        Annotated[str, Meta(description="the field that is wrong, as `to.token`")] | UnsetType
    ) = UNSET
    violated_policies: (
        Annotated[list[str], Meta(description="of `rate_limited`: the limits that were reached")]
        | UnsetType
    ) = msgspec.field(name="violated-policies", default=UNSET)
    reasons: Annotated[list[str], Meta(description="of `/readyz`: all of them")] | UnsetType = UNSET


def bad_frame(reason: str) -> ProtocolError:
    """The commonest end of a connection: something in a frame is wrong; `reason` names it."""
    return ProtocolError(DisconnectCode.BAD_FRAME, reason)

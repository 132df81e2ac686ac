"""What goes wrong, as RFC 9457 problems: the texts of every code, and one table of exceptions.

`type` is a path on the daemon that answers; the page it names is made from the same texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import UNSET, structs
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from push.http.framework.route import Response
from push.redis.connection.errors import (
    RETRY_AFTER_SECONDS,
    StoreUnavailable,
    as_request_error,
)
from push.wire.errors import STATUS_OF_CODE, LimitPolicy, Problem, RequestError

PROBLEM_TYPE = b"application/problem+json"


class ErrorText(NamedTuple):
    """What a page tells about a code: a title, what it means, what to do."""

    title: str
    meaning: str
    remedy: str


ERRORS: dict[str, ErrorText] = {
    "malformed": ErrorText(
        "The request cannot be read",
        "The body is not JSON in UTF-8 (or nests deeper than 32), or the request line or a header "
        "is not HTTP/1.1, or could be read in two ways.",
        "Send the output of a JSON encoder. `detail` says where reading stopped.",
    ),
    "unauthenticated": ErrorText(
        "No valid key",
        "The request has no API key, or an invalid one.",
        "Send `Authorization: Bearer <key>`. A first start without `[auth] keys` writes a key "
        "with all scopes to `admin.key` in the data folder.",
    ),
    "forbidden": ErrorText(
        "The key may not do this",
        "The key is valid but lacks the scope that this request needs; `detail` names it.",
        "Use a key with that scope, or add the scope to the key in the configuration.",
    ),
    "not_member": ErrorText(
        "Not a member",
        "Only members of the group may do this.",
        "Add the user to the group first.",
    ),
    "muted": ErrorText(
        "Muted", "The user may not write in this group now.", "Wait, or unmute the user."
    ),
    "not_allowed": ErrorText(
        "Not allowed",
        "The rules of the conversation or group do not let this user do this, or a limit is "
        "reached: `detail` says so.",
        "Use a user with the right role, or make room.",
    ),
    "recall_expired": ErrorText(
        "Too late to recall", "The time in which a message can be recalled has passed.", "Nothing."
    ),
    "banned": ErrorText("Banned", "The address, token or user is banned.", "Lift the ban."),
    "not_found": ErrorText(
        "Not found",
        "There is nothing at this path, or what it names does not exist.",
        "Compare the path with the list at `/docs`.",
    ),
    "unknown_token": ErrorText(
        "Unknown token",
        "No registered device has this token: it never had, or it was deleted or forgotten.",
        "Drop the token from your own records. The app on the device registers again by itself.",
    ),
    "unknown_group": ErrorText(
        "Unknown group", "There is no group with this id.", "Create the group first."
    ),
    "unknown_message": ErrorText(
        "Unknown message",
        "There is no message with this id, or it is older than what is kept.",
        "Check the id that the push was answered with.",
    ),
    "method_not_allowed": ErrorText(
        "Method not allowed",
        "The path exists, but not with this method.",
        "The header `Allow` lists the methods.",
    ),
    "already_exists": ErrorText(
        "Already exists", "Something with this name is there already.", "Choose another name."
    ),
    "in_progress": ErrorText(
        "In progress",
        "The first request with this idempotency key is still running.",
        "Repeat the request in a moment.",
    ),
    "group_full": ErrorText(
        "Group full", "The group has as many members as it may have.", "Remove members first."
    ),
    "too_large": ErrorText(
        "Too large",
        "The body, or the message in it, is larger than the limit in `detail`.",
        "Send less: put large content on a web server and push its address.",
    ),
    "unsupported_media_type": ErrorText(
        "Not JSON by its content type",
        "The request must say that its body is JSON.",
        "Send `Content-Type: application/json`.",
    ),
    "invalid": ErrorText(
        "Invalid",
        "The body is JSON, but a field (or a query parameter, or a header) is missing, unknown, of "
        "the wrong type or out of range.",
        "`field` names it and `detail` says what is expected. The whole schema is at `/docs`.",
    ),
    "unknown_request": ErrorText(
        "Unknown request",
        "A device sent a request that this version does not know.",
        "Update the server, or do not use the feature.",
    ),
    "idempotency_mismatch": ErrorText(
        "Idempotency key used before",
        "The same idempotency key came earlier with another body, or the same `client_id` with "
        "another message.",
        "Use a new key for a new request; to repeat a request, send what was sent then.",
    ),
    "rate_limited": ErrorText(
        "Too many requests",
        "More requests of this kind came from one address, user or API key than a limit allows. "
        "`violated-policies` names it.",
        "Wait as many seconds as the header `Retry-After` says.",
    ),
    "internal": ErrorText(
        "Internal error",
        "The server failed. The details are in its log, never in the answer.",
        "Look at the log of the daemon. Whether the request took effect is not known.",
    ),
    "unavailable": ErrorText(
        "Unavailable",
        "Something that is needed is unreachable: Redis does not answer, or all "
        "connectors are full. Whether a push took effect is not known.",
        "Repeat the request after the seconds in the header `Retry-After`.",
    ),
}
assert ERRORS.keys() == STATUS_OF_CODE.keys()


_encoder = msgspec.json.Encoder()


def quota_headers(
    policy: LimitPolicy, remaining: int, reset_seconds: int
) -> list[tuple[bytes, bytes]]:
    """As draft-ietf-httpapi-ratelimit-headers has them."""
    name, quota, window_seconds = policy
    return [
        (b"RateLimit-Policy", f'"{name}";q={quota};w={window_seconds}'.encode()),
        (b"RateLimit", f'"{name}";r={remaining};t={reset_seconds}'.encode()),
    ]


def problem_of(refusal: RequestError, reasons: list[str] | None = None) -> Problem:
    return Problem(
        type=f"/errors/{refusal.code}",
        title=ERRORS[refusal.code].title,
        status=refusal.http_status,
        detail=refusal.detail,
        code=refusal.code,
        field=UNSET if refusal.field is None else refusal.field,
        violated_policies=UNSET if refusal.limit is None else [refusal.limit.name],
        reasons=UNSET if reasons is None else reasons,
    )


def refusal_answer(refusal: RequestError, reasons: list[str] | None = None) -> Response:
    """The answer to a request that is refused, with the headers that belong to its code."""
    problem = problem_of(refusal, reasons)
    headers: list[tuple[bytes, bytes]] = []
    after_seconds = refusal.after_seconds
    if after_seconds is None and refusal.code == "unavailable":
        after_seconds = RETRY_AFTER_SECONDS
    if after_seconds is not None:
        headers.append((b"Retry-After", b"%d" % after_seconds))
    if refusal.limit is not None:
        headers += quota_headers(refusal.limit, 0, after_seconds or 0)
    if refusal.code == "unauthenticated":
        headers.append((b"WWW-Authenticate", b'Bearer realm="push"'))
    return Response(refusal.http_status, _encoder.encode(problem), PROBLEM_TYPE, tuple(headers))


def _of_store(error: Exception) -> Response:
    assert isinstance(error, StoreUnavailable)
    return refusal_answer(as_request_error(error))


def _of_refusal(error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return refusal_answer(error)


def _of_method(error: Exception) -> Response:
    assert isinstance(error, MethodNotAllowed)
    allow = allowed_methods(error)
    answer = refusal_answer(
        RequestError("method_not_allowed", f"only {allow.decode()} can be used here")
    )
    return structs.replace(answer, headers=((b"Allow", allow),))


def _of_router(error: Exception) -> Response:
    return refusal_answer(RequestError("not_found", "there is nothing at this path"))


# The first that fits. Any other exception is a fault of the server, and is never shown.
_TABLE: tuple[tuple[type[Exception], Callable[[Exception], Response]], ...] = (
    (RequestError, _of_refusal),
    (StoreUnavailable, _of_store),
    (MethodNotAllowed, _of_method),
    (HTTPException, _of_router),
)


def answer_to(error: Exception) -> Response | None:
    """The documented answer to an exception, or None: then log it and send `internal_answer()`."""
    for kind, make in _TABLE:
        if isinstance(error, kind):
            return make(error)
    return None


def internal_answer() -> Response:
    return refusal_answer(RequestError("internal", "the server failed; its log has the reason"))


def allowed_methods(error: MethodNotAllowed) -> bytes:
    """The value of `Allow`: what the path has, and OPTIONS, which every path has."""
    return ", ".join(sorted({*(error.valid_methods or ()), "OPTIONS"})).encode()

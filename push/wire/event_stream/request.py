"""What a request for a stream of events asks for (sse.md, "The request")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

import h11

from push.wire.bodies import MAX_JWT_BYTES, MAX_OPAQUE_BYTES, ConnectRequest
from push.wire.errors import MAX_FIELD_CHARACTERS, RequestError, shortened

STREAM_PATH = "/v1/stream"
BY_ID = "id"
WRITTEN = "written"

_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_EVENT_ID = re.compile(rb"[!-~]{1,%d}" % MAX_OPAQUE_BYTES)


class RequestHead(NamedTuple):
    """The head of an HTTP request; names of headers are in lower case."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


class StreamConnect(ConnectRequest):
    """A CONNECT by GET. `last_event_id`: acknowledge up to it, "" = nothing; `by_id`: only that
    acknowledges."""

    last_event_id: str = ""
    by_id: bool = False


def is_stream(target: bytes) -> bool:
    """Whether a request is for the stream of events."""
    path = _ABSOLUTE.sub(b"", target, count=1).partition(b"?")[0]
    return path == STREAM_PATH.encode()


def stream_url(url: str) -> str:
    """Where the listener with the address `url` (`ws://…`, `wss://…`) serves streams of events."""
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{parts.netloc}{STREAM_PATH}"


def parse_head(raw: bytes) -> RequestHead:
    """The complete head of a request; raises `RequestError` `malformed`."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw))
    try:
        reader.receive_data(raw)
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise RequestError("malformed", f"this is not a request of HTTP/1.1: {error}") from None
    if not isinstance(event, h11.Request) or not event.http_version.startswith(b"1."):
        raise RequestError("malformed", "this is not a request of HTTP/1.1")
    return RequestHead(event.method, event.target, list(event.headers))


def read_request(head: RequestHead) -> StreamConnect:
    """What `head` asks for. Raises `RequestError`: `method_not_allowed`, `unauthenticated`,
    `invalid`."""
    if head.method != b"GET":
        raise RequestError("method_not_allowed", "only GET can be used here")
    by_id = _read_query(head.target) == BY_ID
    jwt = _read_jwt(head.values(b"authorization"))
    token = _read_opaque(head, "Push-Token")
    secret = _read_opaque(head, "Push-Secret")
    if (token is None) != (secret is None):
        missing = "Push-Token" if token is None else "Push-Secret"
        detail = "the headers Push-Token and Push-Secret go together"
        raise RequestError("invalid", detail, field=missing)
    if token is None and jwt is None:
        detail = "send Authorization: Bearer <JWT>, or Push-Token and Push-Secret"
        raise RequestError("unauthenticated", detail)
    return StreamConnect(
        token=token,
        secret=secret,
        jwt=jwt,
        last_event_id=_read_event_id(head.values(b"last-event-id")),
        by_id=by_id,
    )


def _read_query(target: bytes) -> str:
    """The value of `ack`; any other parameter is refused and named."""
    found = ""
    for item in filter(None, target.partition(b"?")[2].split(b"&")):
        name, _, value = (_text(part) for part in item.partition(b"="))
        shown = shortened(name, MAX_FIELD_CHARACTERS)
        if name != "ack":
            raise RequestError("invalid", f"`{shown}` is not a parameter here", field=shown)
        if found:
            raise RequestError("invalid", "`ack` is given twice", field="ack")
        if value not in (WRITTEN, BY_ID):
            raise RequestError("invalid", "`ack`: expected written or id", field="ack")
        found = value
    return found or WRITTEN


def _text(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "replace")


def _read_jwt(values: list[bytes]) -> str | None:
    if not values:
        return None
    scheme, _, jwt = values[0].partition(b" ")
    if len(values) > 1 or scheme.lower() != b"bearer":
        raise RequestError("unauthenticated", "Authorization must be: Bearer <JWT>")
    if len(jwt) > MAX_JWT_BYTES:
        raise RequestError("unauthenticated", f"the JWT is longer than {MAX_JWT_BYTES} bytes")
    return jwt.strip().decode("utf-8", "replace")


def _read_opaque(head: RequestHead, name: str) -> str | None:
    values = head.values(name.lower().encode())
    if not values:
        return None
    if len(values) > 1:
        raise RequestError("invalid", f"`{name}` is given twice", field=name)
    if not 0 < len(values[0]) <= MAX_OPAQUE_BYTES:
        raise RequestError("invalid", f"`{name}`: 1 to {MAX_OPAQUE_BYTES} bytes", field=name)
    return values[0].decode("utf-8", "replace")


def _read_event_id(values: list[bytes]) -> str:
    """One that cannot be ours is as one that is not known any more."""
    if len(values) != 1 or not _EVENT_ID.fullmatch(values[0]):
        return ""
    return values[0].decode("ascii")

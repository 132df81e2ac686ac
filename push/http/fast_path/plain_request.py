"""Requests that are read straight from the bytes: plain ones, which are there as a whole.

Nothing is refused here. All that is not plain in every way is read by twisted.web, which also
refuses mistakes: so there is no second opinion of what a request may be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from twisted.internet.interfaces import IAddress

from push.http.framework.framing import check_header, check_host
from push.http.framework.route import Endpoint
from push.wire.errors import RequestError

HTTP_1_1 = b"HTTP/1.1"
MAX_BYTES = 64 * 1024  # larger bodies are read by other rules, see `RequestAccess.admit`
MAX_HEAD_BYTES = 4 * 1024
MAX_HEADERS = 64
# A name as RFC 9110 has it, and a value without control characters but tabs.
_FIELD = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n"
_ONE_FIELD = re.compile(_FIELD)
_FIELDS = re.compile(rb"(?:%b)+" % _FIELD.replace(b"(", b"(?:"))
# They change how the request is read, or what is sent before and after its answer.
_NOT_PLAIN = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"))


class Peers(Protocol):
    """The two ends of a connection."""

    def getPeer(self) -> IAddress: ...

    def getHost(self) -> IAddress: ...

    def isSecure(self) -> bool: ...


class PlainHeaders:
    """Headers by their name in small letters, each of which came once."""

    __slots__ = ("content_length", "getRawHeaders", "hasHeader", "values")

    def __init__(self, values: Mapping[bytes, bytes]) -> None:
        self.values = values
        self.content_length = 0
        # Most requests bring a head that came before: what is asked of it is there.
        lists = {name: (value,) for name, value in values.items()}
        self.getRawHeaders: Callable[[bytes], Sequence[bytes] | None] = lists.get
        self.hasHeader: Callable[[bytes], bool] = lists.__contains__


class PlainRequest:
    """A whole request to `route`. (An `IncomingRequest`.)"""

    __slots__ = ("_peers", "body", "requestHeaders", "route", "uri")

    def __init__(
        self, route: Endpoint, uri: bytes, headers: PlainHeaders, body: bytes, peers: Peers
    ) -> None:
        self.route = route
        self.uri = uri
        self.requestHeaders = headers
        self.body = body
        self._peers = peers

    def getHeader(self, name: bytes) -> bytes | None:
        return self.requestHeaders.values.get(name)

    def getClientAddress(self) -> IAddress:
        return self._peers.getPeer()

    def getHost(self) -> IAddress:
        return self._peers.getHost()

    def isSecure(self) -> bool:
        return self._peers.isSecure()


class PlainReader:
    """Reads requests to those of `routes` that are `fast_path`."""

    def __init__(self, routes: Sequence[Endpoint]) -> None:
        self._routes = {
            f"{route.method} {route.path} HTTP/1.1".encode(): (route, route.path.encode())
            for route in routes
            if route.fast_path
        }

    def read(self, data: bytes, peers: Peers) -> PlainRequest | None:
        """The one request that `data` is exactly; None if it is not a plain one."""
        if len(data) > MAX_BYTES:
            return None
        line_end = data.find(b"\r\n", 0, MAX_HEAD_BYTES)
        found = self._routes.get(data[: max(line_end, 0)])
        if found is None:
            return None
        body_begins = data.find(b"\r\n\r\n", line_end, MAX_HEAD_BYTES) + 4
        headers = _plain_headers(data[line_end + 2 : body_begins - 2])
        if headers is None or headers.content_length != len(data) - body_begins:
            return None
        route, path = found
        return PlainRequest(route, path, headers, data[body_begins:], peers)


@lru_cache(256)  # most clients send the same with every request
def _plain_headers(lines: bytes) -> PlainHeaders | None:
    """What the lines of a head say; None unless they are plain."""
    if not _FIELDS.fullmatch(lines):
        return None
    fields: list[tuple[bytes, bytes]] = _ONE_FIELD.findall(lines)
    values = {name.lower(): value.strip(b" \t") for name, value in fields}
    if len(values) != len(fields) or len(fields) > MAX_HEADERS:
        return None  # one came twice
    if not _NOT_PLAIN.isdisjoint(values):
        return None
    if values.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    headers = PlainHeaders(values)
    try:
        check_host(headers, HTTP_1_1)
        length = check_header(b"Content-Length", values.get(b"content-length", b""), HTTP_1_1)
    except RequestError:
        return None
    if length != values[b"content-length"]:
        return None  # it has zeros before it
    headers.content_length = int(length)
    return headers

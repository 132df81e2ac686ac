"""Requests that are read straight from the bytes: plain ones, which are there as a whole.

Nothing is refused here. What is not plain in every way is read by twisted.web, which also refuses
what is wrong: so there is no second opinion of what a request may be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.internet.interfaces import IAddress

from push.http.framework.framing import check_header, check_host
from push.http.framework.route import Endpoint
from push.wire.errors import RequestError

HTTP_1_1 = b"HTTP/1.1"
MAX_BYTES = 64 * 1024  # larger bodies are read by other rules, see `RequestAccess.admit`
MAX_HEAD_BYTES = 8 * 1024
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

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[bytes, bytes]) -> None:
        self._values = values

    def getRawHeaders(
        self, name: bytes, default: Sequence[bytes] | None = None
    ) -> Sequence[bytes] | None:
        value = self._values.get(name)
        return default if value is None else [value]

    def hasHeader(self, name: bytes) -> bool:
        return name in self._values


class PlainRequest:
    """A whole request to `route`. (An `IncomingRequest`.)"""

    __slots__ = ("_peers", "_values", "body", "requestHeaders", "route", "uri")

    def __init__(
        self, route: Endpoint, uri: bytes, values: Mapping[bytes, bytes], body: bytes, peers: Peers
    ) -> None:
        self.route = route
        self.uri = uri
        self.requestHeaders = PlainHeaders(values)
        self.body = body
        self._values = values
        self._peers = peers

    def getHeader(self, name: bytes) -> bytes | None:
        return self._values.get(name)

    def getClientAddress(self) -> IAddress:
        return self._peers.getPeer()

    def getHost(self) -> IAddress:
        return self._peers.getHost()

    def isSecure(self) -> bool:
        return self._peers.isSecure()


class PlainReader:
    """Reads requests to those of `routes` that are `direct`."""

    def __init__(self, routes: Sequence[Endpoint]) -> None:
        self._routes = {
            b"%b %b HTTP/1.1" % (route.method.encode(), route.path.encode()): route
            for route in routes
            if route.direct
        }

    def read(self, data: bytes, peers: Peers) -> PlainRequest | None:
        """The request that `data` is, no more and no less; None if it is not a plain one."""
        if len(data) > MAX_BYTES:
            return None
        line_end = data.find(b"\r\n", 0, MAX_HEAD_BYTES)
        route = self._routes.get(data[: max(line_end, 0)])
        if route is None:
            return None
        head_end = data.find(b"\r\n\r\n", line_end, MAX_HEAD_BYTES)
        if head_end < 0 or not _FIELDS.fullmatch(data, line_end + 2, head_end + 2):
            return None
        values = _values_of(_ONE_FIELD.findall(data, line_end + 2, head_end + 2))
        if values is None:
            return None
        body = data[head_end + 4 :]
        if values.get(b"content-length") != b"%d" % len(body):
            return None
        return PlainRequest(route, route.path.encode(), values, body, peers)


def _values_of(fields: list[tuple[bytes, bytes]]) -> Mapping[bytes, bytes] | None:
    """The values by name; None unless they are plain."""
    values = {name.lower(): value.strip(b" \t") for name, value in fields}
    if len(values) != len(fields) or len(fields) > MAX_HEADERS:
        return None  # one came twice
    if not _NOT_PLAIN.isdisjoint(values) or values.get(b"connection", b"keep-alive").lower() != (
        b"keep-alive"
    ):
        return None
    try:
        check_host(PlainHeaders(values), HTTP_1_1)
        check_header(b"Content-Length", values.get(b"content-length", b""), HTTP_1_1)
    except RequestError:
        return None
    return values

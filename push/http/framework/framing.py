"""What must hold for the head of a request (RFC 9112) where twisted.web is more lenient.

Two readers of one connection, a proxy and this server, must never disagree where a request ends or
what it is about. So an ambiguous request is refused with `malformed`, and the connection closes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from push.http.edge.incoming import HeaderValues
from push.wire.errors import RequestError

MAX_LENGTH_DIGITS: Final = 18  # of a Content-Length; more than any limit here, and an int at once

MAX_SEGMENTS: Final = 64

# RFC 3986: an IP literal or a name (which may be an IPv4 address), and perhaps a port.
_AUTHORITY = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9\-._~!$&'()*+,;=%]{1,255})(?::([0-9]*))?"
)
MAX_PORT: Final = 65535
# A field of the trailer: a name as RFC 9110 has it, and no control character but tabs.
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_TARGET = re.compile(rb"[!-~]+")  # visible ASCII: anything else is to be percent-encoded
_CONTROLS = bytes({*range(0x20), 0x7F} - {ord("\t")})


def malformed(detail: str) -> RequestError:
    return RequestError("malformed", detail)


def target_of(method: bytes, target: bytes) -> bytes:
    """Path and query that a request is about; `*` for `OPTIONS *`. Raises `RequestError`
    `malformed` or `not_found`.

    In the absolute form (`http://host/path`) the host is for proxies, and may differ from `Host`.
    """
    if not _TARGET.fullmatch(target) or b"#" in target:
        raise malformed("the request target has a character that must be percent-encoded")
    if target.startswith(b"/"):
        return _addressable(target)
    if target == b"*":
        if method != b"OPTIONS":
            raise malformed("the request target * is for OPTIONS only")
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not _is_authority(absolute[1]):
        raise malformed("the request target must be a path or an http URL")
    path: bytes = absolute[2]
    if not path and method == b"OPTIONS":
        return b"*"
    return _addressable(path if path.startswith(b"/") else b"/" + path)


def _addressable(target: bytes) -> bytes:
    """Raises `RequestError` `not_found` for more segments than any path has: a router looks at
    each."""
    if target.partition(b"?")[0].count(b"/") > MAX_SEGMENTS:
        raise RequestError("not_found", "there is nothing at this path")
    return target


@lru_cache(256)  # clients repeat it with each request
def _is_authority(text: bytes) -> bool:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return False
    digits: bytes = (match[1] or b"").lstrip(b"0")
    return len(digits) <= 5 and int(digits or b"0") <= MAX_PORT


def check_trailer(line: bytes) -> None:
    """Raises `RequestError` `malformed` for a line after the last chunk that is no field."""
    if not _TRAILER.fullmatch(line):
        raise malformed("a line of the trailer is not a header")


def check_header(name: bytes, value: bytes, version: bytes) -> bytes:
    """The value to go on with; raises `RequestError` `malformed` for one that cannot be right."""
    if len(value.translate(None, _CONTROLS)) != len(value):
        raise malformed("a header has a control character")
    if name == b"Content-Length":
        return _length(value)
    if name == b"Transfer-Encoding" and (version != b"HTTP/1.1" or value.lower() != b"chunked"):
        raise malformed("the only Transfer-Encoding is chunked, in HTTP/1.1")
    return value


def _length(value: bytes) -> bytes:
    """Any number of digits is a length; a huge one is bounded, and so refused as too large."""
    if not value.isdigit():
        raise malformed("Content-Length must be a number")
    digits = value.lstrip(b"0") or b"0"
    return digits if len(digits) <= MAX_LENGTH_DIGITS else b"9" * MAX_LENGTH_DIGITS


def check_host(headers: HeaderValues, version: bytes) -> None:
    """Raises `RequestError` `malformed` unless there is exactly one Host; HTTP/1.0 may have
    none."""
    values = headers.getRawHeaders(b"host") or ()
    if not values and version == b"HTTP/1.0":
        return
    if len(values) != 1:
        raise malformed(f"exactly one Host is required; there are {len(values)}")
    if not _is_authority(values[0]):
        raise malformed("Host must be a name or an address, perhaps with a port")


def closes(headers: HeaderValues, version: bytes) -> bool:
    """Whether the connection ends after this request."""
    values = headers.getRawHeaders(b"connection")
    if version != b"HTTP/1.1" or values is None:
        return version != b"HTTP/1.1"
    options = b",".join(values).lower().split(b",")
    return b"close" in (option.strip() for option in options)

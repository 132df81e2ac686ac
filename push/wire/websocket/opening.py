"""The opening handshake of a WebSocket, as a server: one HTTP request, one answer.

The head is bounded in bytes and cut off here, because frames may follow it at once. h11 reads it;
what it says is judged by RFC 6455, and by this project's rules: path, `Origin`, sub-protocol.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import h11
from wsproto.utilities import generate_accept_token

from push.wire.addresses import HostPort
from push.wire.errors import shortened
from push.wire.websocket.origins import Origins

PATH = "/ws"
SUB_PROTOCOL = "push.v2"
MAX_HEAD_BYTES = 16 * 1024
_END = b"\r\n\r\n"
_KEY_BYTES = 16
VERSION = "13"
_SCHEMES = (b"http", b"https", b"ws", b"wss")
# What belongs to an answer 426 (RFC 9110, 15.5.22 and 7.8; RFC 6455, 4.2.2).
_UPGRADE_TO = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: " + VERSION.encode(),
)


class OpeningRules(NamedTuple):
    """What a server asks of a request; `sub_protocol` None: it names none. `is_other(target)`:
    whether a request is not for a WebSocket, and is answered by somebody else."""

    origins: Origins
    path: str = PATH
    sub_protocol: str | None = SUB_PROTOCOL
    is_other: Callable[[bytes], bool] = lambda target: False


class Accepted(NamedTuple):
    """`answer` opens the WebSocket; `rest` was sent after the request."""

    answer: bytes
    rest: bytes


class OtherRequest(NamedTuple):
    """`head` is the complete head of a request that somebody else answers."""

    head: bytes


class Refused(NamedTuple):
    """`answer` says so; nothing more is read."""

    answer: bytes
    reason: str


class Opening:
    """The request of one connection, while it comes in."""

    def __init__(self, rules: OpeningRules) -> None:
        self._rules = rules
        self._received = b""

    def feed(self, data: bytes) -> Accepted | OtherRequest | Refused | None:
        """What became of the request; None while it is incomplete."""
        outcome = self._read(data)
        if isinstance(outcome, Refused) and self._received.startswith(b"HEAD "):
            head = outcome.answer.partition(_END)[0] + _END
            return outcome._replace(answer=head)  # to HEAD there is no body (RFC 9110, 9.3.2)
        return outcome

    def _read(self, data: bytes) -> Accepted | OtherRequest | Refused | None:
        begun = max(len(self._received) - len(_END) + 1, 0)
        self._received += data
        end = self._received.find(_END, begun)
        head_bytes = len(self._received) if end < 0 else end + len(_END)
        if head_bytes > MAX_HEAD_BYTES:
            return refused(431, f"The request is longer than {MAX_HEAD_BYTES} bytes.")
        if not self._received[:1].isalpha():
            return refused(400, "This is not an HTTP request.")
        if end < 0:
            return None
        return self._outcome_of(self._received[:head_bytes], self._received[head_bytes:])

    def _outcome_of(self, head: bytes, rest: bytes) -> Accepted | OtherRequest | Refused:
        rules = self._rules
        line = head.split(b"\r\n", 1)[0].split(b" ")
        if len(line) == 3 and rules.is_other(line[1]):
            return OtherRequest(head)
        path = line[1].partition(b"?")[0] if len(line) == 3 else None
        authority, path = (None, None) if path is None else _parts(path)
        if path is not None and path != rules.path.encode():
            return refused(404, f"There is nothing at this path, only a WebSocket at {rules.path}.")
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        try:
            request = connection.next_event()
        except h11.RemoteProtocolError as error:
            return refused(400, f"This is not an HTTP request: {shortened(str(error), 100)}.")
        if not isinstance(request, h11.Request):
            return refused(400, "This is not an HTTP request.")
        headers = _Headers(request)
        # The host of an absolute-form target counts, and not the header (RFC 9112, 3.2.2).
        hosts = headers.lines("host") if authority is None else [authority]
        refusal = (
            _no_websocket(request, headers)
            or _wrong_host(hosts)
            or _wrong_fields(headers)
            or self._refusal(headers, hosts[0])
        )
        return refusal or Accepted(_answer(headers, rules.sub_protocol), rest)

    def _refusal(self, headers: _Headers, host: str) -> Refused | None:
        """What does not fit the rules of this server."""
        origins = headers.lines("origin")
        if len(origins) > 1 or (origins and not self._rules.origins.accepts(origins[0], host)):
            shown = shortened(", ".join(origins), 100)
            return refused(403, f"Pages of the origin {shown} may not connect here.")
        sub_protocol = self._rules.sub_protocol
        if sub_protocol is not None and sub_protocol not in headers.items("sec-websocket-protocol"):
            return refused(400, f"The sub-protocol must be {sub_protocol}.")
        return None


class _Headers:
    """The headers of a request, by their names in lower case."""

    def __init__(self, request: h11.Request) -> None:
        self._fields = [(name, value.decode("latin-1")) for name, value in request.headers]

    def lines(self, name: str) -> list[str]:
        return [value for key, value in self._fields if key == name.encode()]

    def items(self, name: str) -> list[str]:
        """Of a header that is a list: over several lines, or with commas."""
        return [item.strip() for line in self.lines(name) for item in line.split(",")]


def _parts(target: bytes) -> tuple[str | None, bytes]:
    """The authority, only of an absolute target, and the path. `target`: without its query."""
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in _SCHEMES:
        return None, target
    authority, slash, path = rest.partition(b"/")
    return authority.decode("latin-1"), slash + path


def _no_websocket(request: h11.Request, headers: _Headers) -> Refused | None:
    """What is HTTP and asks for something else."""
    if not b"1.1" <= request.http_version < b"2":
        return refused(400, "WebSocket needs HTTP/1.1.")
    if request.method != b"GET":
        return refused(400, "The method must be GET.")
    if headers.lines("transfer-encoding") or any(map(_is_not_0, headers.lines("content-length"))):
        return refused(400, "The request of a WebSocket has no body.")
    for name, wanted in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
        if wanted.lower() not in map(str.lower, headers.items(name.lower())):
            return refused(400, f"This is not the request of a WebSocket: no {name}: {wanted}.")
    return None


def _is_not_0(content_length: str) -> bool:
    return content_length.strip("0") != ""


def _wrong_host(hosts: list[str]) -> Refused | None:
    try:
        [host] = hosts
        if host:  # an empty one is allowed, and no page is of that host
            HostPort.parse(host.removesuffix(":"), default_port=80)
        return None if host.isascii() else refused(400, "Host must be ASCII.")
    except ValueError:
        return refused(400, "There must be one host, as host or host:port.")


def _wrong_fields(headers: _Headers) -> Refused | None:
    """What RFC 6455 asks of its own headers."""
    versions, keys = headers.lines("sec-websocket-version"), headers.lines("sec-websocket-key")
    if not versions:
        return refused(400, "Sec-WebSocket-Version is missing.")
    if set(versions) != {VERSION}:
        return refused(426, f"The version of WebSocket must be {VERSION}.", *_UPGRADE_TO)
    if len(keys) != 1 or not _is_key(keys[0]):
        return refused(400, "Sec-WebSocket-Key must be 16 bytes in base64.")
    return None


def _answer(headers: _Headers, sub_protocol: str | None) -> bytes:
    [key] = headers.lines("sec-websocket-key")
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + generate_accept_token(key.encode()),
    ]
    if sub_protocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + sub_protocol.encode())
    return b"\r\n".join(lines) + _END


def _is_key(text: str) -> bool:
    try:
        return len(binascii.a2b_base64(text, strict_mode=True)) == _KEY_BYTES
    except ValueError:
        return False


def refused(status: int, reason: str, *headers: bytes) -> Refused:
    """A short plain answer, after which the connection ends."""
    body = f"{reason}\n".encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
        *headers,
    ]
    return Refused(b"\r\n".join(lines) + _END + body, reason)

"""The opening handshake of a WebSocket, as a server: one HTTP request, one answer.

The head is bounded in bytes and cut off here, because frames may follow it at once. What it says
is judged by wsproto, and by this project's rules: path, `Origin`, sub-protocol.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from push.wire.errors import shortened
from push.wire.websocket.origins import Origins

PATH = "/ws"
SUB_PROTOCOL = "push.v2"
MAX_HEAD_BYTES = 16 * 1024
_END = b"\r\n\r\n"
_KEY_BYTES = 16


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
        return self._judge(self._received[:head_bytes], self._received[head_bytes:])

    def _judge(self, head: bytes, rest: bytes) -> Accepted | OtherRequest | Refused:
        rules = self._rules
        line = head.split(b"\r\n", 1)[0].split(b" ")
        if len(line) == 3 and rules.is_other(line[1]):
            return OtherRequest(head)
        path = line[1].partition(b"?")[0] if len(line) == 3 else None
        if path is not None and path != rules.path.encode():
            return refused(404, f"There is nothing at this path, only a WebSocket at {rules.path}.")
        if path is not None and line[2] == b"HTTP/1.0":
            return refused(400, "WebSocket needs HTTP/1.1.")
        handshake = H11Handshake(ConnectionType.SERVER)
        try:
            handshake.receive_data(head)
            request = next(handshake.events(), None)
        except RemoteProtocolError as error:
            return _not_a_handshake(error)
        except ValueError:  # bytes that are not text, in a header that is
            request = None
        if not isinstance(request, Request):
            return refused(400, "This is not the request of a WebSocket.")
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        accepted = AcceptConnection(subprotocol=rules.sub_protocol)
        return Accepted(handshake.send(accepted), rest)

    def _refusal(self, request: Request) -> Refused | None:
        origins = _header(request, b"origin")
        if len(origins) > 1 or (
            origins and not self._rules.origins.accepts(origins[0], request.host)
        ):
            shown = shortened(", ".join(origins), 100)
            return refused(403, f"Pages of the origin {shown} may not connect here.")
        sub_protocol = self._rules.sub_protocol
        if sub_protocol is not None and sub_protocol not in request.subprotocols:
            return refused(400, f"The sub-protocol must be {sub_protocol}.")
        keys = _header(request, b"sec-websocket-key")
        if len(keys) != 1 or not _is_key(keys[0]):
            return refused(400, "Sec-WebSocket-Key must be 16 bytes in base64.")
        return None


def _header(request: Request, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in request.extra_headers if key == name]


def _is_key(text: str) -> bool:
    try:
        return len(binascii.a2b_base64(text, strict_mode=True)) == _KEY_BYTES
    except ValueError:
        return False


def _not_a_handshake(error: RemoteProtocolError) -> Refused:
    hint = error.event_hint
    if isinstance(hint, RejectConnection) and hint.status_code == 426:
        return refused(426, "The version of WebSocket must be 13.", b"Sec-WebSocket-Version: 13")
    return refused(400, f"{error}.")


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

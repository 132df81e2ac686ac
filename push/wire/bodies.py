"""The bodies of frames as msgspec structs, and the one place where they are checked.

Unknown members are ignored on the wire (forward compatibility). Lengths are in bytes of UTF-8.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.errors import ProtocolError, bad_frame
from push.wire.signals import DisconnectCode
from push.wire.text import check_name_text

MAX_JSON_DEPTH = 32
MAX_OPAQUE_BYTES = 64
MAX_LABEL_BYTES = 64  # `platform`, `app`, `sdk`
MAX_DEVICE_BYTES = 128
MAX_JWT_BYTES = 8 * 1024
MIN_CLIENT_MAX_FRAME_BYTES = 4 * 1024

B = TypeVar("B", bound=Struct)

# Characters bound bytes from below; `check_utf8_length` makes the bound exact for all of Unicode.
Opaque = Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES)]
Label = Annotated[str, Meta(max_length=MAX_LABEL_BYTES)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]


def check_utf8_length(value: str | None, field: str, max_bytes: int) -> None:
    """Raises ValueError, which msgspec reports with the path, when `value` is longer."""
    if value is not None and not value.isascii() and len(value.encode()) > max_bytes:
        raise ValueError(f"`{field}` is longer than {max_bytes} bytes")


class SubRequest(Struct, omit_defaults=True):
    """SUB, device to server."""

    platform: Label
    app: Label
    key: Annotated[str, Meta(max_length=256)] | None = None
    device: Annotated[str, Meta(max_length=MAX_DEVICE_BYTES)] | None = None
    token: Opaque | None = None
    secret: Opaque | None = None

    def __post_init__(self) -> None:
        check_name_text("platform", self.platform, MAX_LABEL_BYTES)
        check_name_text("app", self.app, MAX_LABEL_BYTES)
        check_name_text("device", self.device, MAX_DEVICE_BYTES)
        check_utf8_length(self.token, "token", MAX_OPAQUE_BYTES)
        check_utf8_length(self.secret, "secret", MAX_OPAQUE_BYTES)


class SubAnswer(Struct, omit_defaults=True):
    """SUB, server to device: the pair, or `ok` false with a code."""

    token: str | None = None
    secret: str | None = None
    ok: bool = True
    code: str | None = None
    detail: str | None = None
    after: int | None = None


class ConnectRequest(Struct, omit_defaults=True):
    """CONNECT: a device by token and secret, a user by JWT, or both."""

    token: Opaque | None = None
    secret: Opaque | None = None
    jwt: Annotated[str, Meta(max_length=MAX_JWT_BYTES)] | None = None
    heartbeat: int | None = None
    sdk: Label | None = None
    window: Positive | None = None
    max_frame: Annotated[int, Meta(ge=MIN_CLIENT_MAX_FRAME_BYTES, le=2**31 - 1)] | None = None
    cursors: dict[Annotated[str, Meta(max_length=140)], Opaque] = {}

    def __post_init__(self) -> None:
        check_name_text("sdk", self.sdk, MAX_LABEL_BYTES)
        check_utf8_length(self.token, "token", MAX_OPAQUE_BYTES)
        check_utf8_length(self.secret, "secret", MAX_OPAQUE_BYTES)
        if (self.token is None) != (self.secret is None):
            raise ValueError("`token` and `secret` go together")
        if self.token is None and self.jwt is None:
            raise ValueError("`token` with `secret`, or `jwt`, is required")


class ConnectAccepted(Struct, omit_defaults=True):
    """CONNECT_ACK ACCEPTED. `heartbeat` seconds, `window` messages, `time` ms since 1970 UTC."""

    session: str
    user: str | UnsetType | None = UNSET
    heartbeat: int = 0
    window: int = 0
    max_frame: int = 0
    node: str = ""
    time: int = 0
    truncated: list[str] | UnsetType = UNSET
    streams: dict[str, str] | UnsetType = UNSET


class ConnectRefused(Struct, omit_defaults=True):
    """CONNECT_ACK with any other sub-signal than ACCEPTED."""

    code: str | None = None
    detail: str | None = None
    after: int | None = None
    servers: list[str] | None = None
    versions: list[int] | None = None


class PingBody(Struct, omit_defaults=True):
    """PING, both ways: `interval` in seconds; `time` only from the server."""

    interval: int | None = None
    time: int | None = None


class AuthRequest(Struct):
    """AUTH, device to server."""

    jwt: Annotated[str, Meta(max_length=MAX_JWT_BYTES)]


class RequestAnswer(Struct, omit_defaults=True):
    """AUTH and PUB_ACK, server to device; further members depend on the request."""

    ok: bool | UnsetType = UNSET
    code: str | None = None
    detail: str | None = None
    field: str | None = None
    after: int | None = None
    expires: int | None = None


class DisconnectBody(Struct):
    """DISCONNECT, both ways. `after` in seconds. Lenient in reading: the sender leaves anyway."""

    code: Annotated[str, Meta(max_length=64)] = DisconnectCode.BYE.value
    reason: Annotated[str, Meta(max_length=1024)] = ""
    servers: list[str] | UnsetType = UNSET
    after: int | UnsetType = UNSET


class Empty(Struct):
    """A body that says nothing: PUB_ACK from a device, for one."""


_NOT_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_SQUARE = bytes.maketrans(b"{}", b"[]")

_encoder = msgspec.json.Encoder()
_decoders: dict[type[Struct], msgspec.json.Decoder[Any]] = {}


def json_depth_exceeds(raw: bytes, limit: int = MAX_JSON_DEPTH) -> bool:
    """Whether arrays and objects nest deeper than `limit`. Of broken JSON: so deep before it breaks
    that a decoder would go deeper than twice `limit`.

    No step looks at single characters: 1 MiB of brackets must not stop everybody else.
    """
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    left = _brackets(raw)
    if b"[" * (limit + 1) in left:
        return True
    tries_blocks = True
    for level in range(1, limit + 1):  # each time the innermost level goes
        size = len(left)
        left = left.replace(b"[]", b"")
        if len(left) == size:
            break
        if tries_blocks and len(left) * 4 > size * 3:
            tries_blocks = False
            if _is_made_of_blocks(left, limit - level):
                return False
    # Brackets without a counterpart: ]]][[[
    return b"[]" in left or left.count(b"[") > limit


def _is_made_of_blocks(brackets: bytes, levels: int) -> bool:
    """Whether nothing is left of them without [[[…]]] of half of the levels, of a quarter, … In
    text that is deep everywhere levels do not go by the innermost: that would be one at a time."""
    while brackets and levels:
        at_once = (levels + 1) // 2
        brackets = brackets.replace(b"[" * at_once + b"]" * at_once, b"")
        levels -= at_once
    return not brackets


def _brackets(raw: bytes) -> bytes:
    """The brackets that are in no string, all of them square."""
    if b"\\" in raw:
        raw = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = raw.translate(_SQUARE, _NOT_MARKS)
    # Whether two quotes are a string or lie between two strings: what comes after them is in a
    # string, or is not, as without them.
    marks = marks.replace(b'""', b"")
    return b"".join(marks.split(b'"')[::2]) if b'"' in marks else marks


def check_text(raw: bytes) -> None:
    """Raises ValueError for what is not UTF-8."""
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 at byte {error.start}") from None


def check_json_text(raw: bytes) -> None:
    """Raises ValueError for what is not UTF-8 or nests too deep; the syntax is not judged here."""
    check_text(raw)
    if json_depth_exceeds(raw):
        raise ValueError(f"JSON nests deeper than {MAX_JSON_DEPTH}")


def encode_body(body: Struct) -> bytes:
    return _encoder.encode(body)


def decode_body(kind: type[B], body: bytes, what: str) -> B:
    """`body` as `kind`; raises `ProtocolError` `bad_frame` whose reason names the wrong field.

    `what` is the name of the signal, for the reason.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        check_json_text(body)
        decoded: B = decoder.decode(body or b"{}")
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _bad_body(what, error) from None
    return decoded


def _bad_body(what: str, error: Exception) -> ProtocolError:
    return bad_frame(f"{what} body: {error}")

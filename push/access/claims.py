"""What a JWT says, read as what it is: text that anybody can send.

Its header is read before any signature is checked, so it gets the same decoder as every other body
of a client: UTF-8 only, no lone surrogates, no NaN, bounded depth, the types that are expected.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from push.wire.bodies import MAX_JWT_BYTES, check_json_text
from push.wire.errors import RequestError
from push.wire.idents import is_name, is_opaque

# Those of which a key can be (`algorithm_of`), and that the configuration may allow.
JwtAlgorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

LATEST_SECONDS = 253_402_300_799  # the year 9999: a later end is as good as this one

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_Time = int | float


Decoded = TypeVar("Decoded")


class Claims(msgspec.Struct, frozen=True):
    """What an accepted JWT says. `expires_s` in seconds since 1970 UTC, without the leeway."""

    user: str
    token: str | None
    expires_s: int
    topics: tuple[str, ...] = ()


class Header(msgspec.Struct, frozen=True):
    """What of a header counts. Keys in it (`jwk`, `jku`, `x5u`) are a sender's words: not read."""

    alg: str
    kid: str | None = None
    crit: msgspec.Raw | UnsetType = UNSET
    b64: msgspec.Raw | UnsetType = UNSET


class _Payload(msgspec.Struct, frozen=True):
    sub: str
    exp: _Time
    aud: str | list[str]
    iss: str | None = None
    nbf: _Time | None = None
    iat: _Time | None = None
    token: str | None = None
    topics: list[str] = []


_decode_header = msgspec.json.Decoder(Header).decode
_decode_payload = msgspec.json.Decoder(_Payload).decode


def read_header(text: str) -> Header:
    """The header of a JWT, of which nothing is proven yet; raises `RequestError`
    `unauthenticated`."""
    if len(text) > MAX_JWT_BYTES:
        raise jwt_refusal(f"it is longer than {MAX_JWT_BYTES:,} bytes")
    segments = _COMPACT.fullmatch(text)
    if segments is None:
        raise jwt_refusal("it is not three segments of base64url")
    raw = read_segment(segments[1], "header")
    header: Header = _decoded(_decode_header, raw, "header")
    if header.crit is not UNSET or header.b64 is not UNSET:
        raise jwt_refusal("the header asks for an extension (`crit`, `b64`); none is supported")
    return header


def read_segment(segment: str, what: str) -> bytes:
    """The bytes of a segment, of which there is one spelling; raises `RequestError`
    `unauthenticated`."""
    try:
        raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raw = b""
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise jwt_refusal(f"the {what} is not base64url")
    return raw


def check_claims(
    payload: bytes,
    *,
    audience: str,
    issuer: str | None,
    now_seconds: float,
    leeway_seconds: int,
) -> Claims:
    """The claims of a payload whose signature was right; raises `RequestError`
    `unauthenticated`."""
    said: _Payload = _decoded(_decode_payload, payload, "claims")
    if said.exp <= now_seconds - leeway_seconds:
        raise jwt_refusal("it has expired (exp)")
    for name, time in (("nbf", said.nbf), ("iat", said.iat)):
        if time is not None and time > now_seconds + leeway_seconds:
            raise jwt_refusal(f"it is not yet valid ({name})")
    if audience not in ([said.aud] if isinstance(said.aud, str) else said.aud):
        raise jwt_refusal("Audience doesn't match (aud)")
    if issuer is not None and said.iss != issuer:
        raise jwt_refusal("it is not from the issuer that is expected (iss)")
    if not is_name(said.sub):
        raise jwt_refusal("sub is not a user id")
    if said.token is not None and not is_opaque(said.token):
        raise jwt_refusal("the token claim is not a token")
    if not all(map(is_name, said.topics)):
        raise jwt_refusal("the topics claim is not a list of topic names")
    return Claims(said.sub, said.token, int(min(said.exp, LATEST_SECONDS)), tuple(said.topics))


def _decoded(decode: Callable[[bytes], Decoded], raw: bytes, what: str) -> Decoded:
    try:
        check_json_text(raw)
        return decode(raw)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise jwt_refusal(f"the {what}: {error}") from None


def jwt_refusal(detail: str) -> RequestError:
    return RequestError("unauthenticated", f"JWT: {detail}", field="jwt")

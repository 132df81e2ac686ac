"""Signing JWTs for users, as an application's backend does it."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode


def sign_jwt(claims: dict[str, object], secret: bytes) -> str:
    """A compact HS256 JWT."""
    parts = [_segment({"alg": "HS256", "typ": "JWT"}), _segment(claims)]
    signature = hmac.digest(secret, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, _base64(signature)]).decode()


def _segment(value: dict[str, object]) -> bytes:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")

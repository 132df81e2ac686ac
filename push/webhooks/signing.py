"""Signatures by the Standard Webhooks specification, version `v1`: HMAC-SHA256."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


def new_secret() -> str:
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key of a `whsec_…`. Raises ValueError, which says what is expected."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(
            f"expected {PREFIX} and the base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
        )
    return key


def signed_headers(
    id: str, timestamp_s: int, body: bytes, secrets_of: Iterable[str]
) -> dict[str, str]:
    """The headers of an attempt at the time `timestamp_s`; a signature for each secret."""
    signed = b"%b.%d.%b" % (id.encode(), timestamp_s, body)
    signatures = (hmac.digest(key_of(secret), signed, "sha256") for secret in secrets_of)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{b64encode(digest).decode()}" for digest in signatures),
    }

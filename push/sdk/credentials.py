"""What a device proves itself with, and when a JWT must be renewed."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass

RENEW_BEFORE_SECONDS = 30.0
_RENEW_AT_MOST_BEFORE = 0.5  # of what is left


@dataclass(frozen=True, slots=True)
class Credentials:
    """A device's pair. The token is its address; the secret opens it: keep it."""

    token: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials(token={self.token!r}, secret=…)"


def jwt_expiry_seconds(jwt: str) -> float | None:
    """The `exp` of a JWT (seconds since 1970 UTC), unverified: only to know when to renew it."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expiry = float(claims["exp"])
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return expiry if math.isfinite(expiry) else None


def renewal_delay_seconds(jwt: str, server_time_ms: int) -> float | None:
    """How long to wait before renewing `jwt`; by the server's clock, as it is the one that judges.

    30 s before the end, or half-way when less than a minute is left. None: it names no end.
    """
    expiry = jwt_expiry_seconds(jwt)
    if expiry is None:
        return None
    left = max(expiry - server_time_ms / 1000, 0.0)
    return left - min(RENEW_BEFORE_SECONDS, left * _RENEW_AT_MOST_BEFORE)

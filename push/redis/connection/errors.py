"""What a call to Redis can end in, besides its answer."""

from __future__ import annotations

import txredisapi

from push.wire.errors import RequestError

RETRY_AFTER_SECONDS = 1

# Answers that say "not now" rather than "you are wrong"; also found inside a script's error.
TEMPORARY_REPLIES = (
    "LOADING",
    "MISCONF",
    "READONLY",
    "OOM",
    "BUSY",
    "NOREPLICAS",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
)


class StoreUnavailable(Exception):
    """Redis cannot be used now. `unknown` tells whether the call may have run all the same."""

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unknown = unknown


def as_request_error(
    error: StoreUnavailable, *, after_seconds: int = RETRY_AFTER_SECONDS
) -> RequestError:
    """What a client is told, on either interface.

    Not the reason: it names addresses. `/readyz` tells it, and the log.
    """
    detail = "Redis does not answer now"
    if error.unknown:
        detail += "; whether the request took effect is not known"
    return RequestError("unavailable", detail, after_seconds=after_seconds)


def for_another(error: Exception) -> Exception:
    """What one more caller of the same call gets: raising an exception adds a traceback to it, so
    each has one of its own."""
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(error.reason, unknown=error.unknown)
    return RuntimeError(f"{type(error).__name__}: {error}")


class UnsuitableServer(Exception):
    """The server answers and cannot be used as it is; the text says what is to be done."""


class NoMaster(Exception):
    """The sentinels name no master now. The code that asked them has logged it."""


def translated(text: str, error: txredisapi.RedisError, name: str) -> Exception:
    """Our exception for txredisapi's, whose text is `text`, from the server `name`; an error that
    is our own fault keeps its class."""
    if isinstance(error, txredisapi.ConnectionError):
        return StoreUnavailable(f"the connection to Redis at {name} was lost: {text}", unknown=True)
    if any(word in text for word in TEMPORARY_REPLIES):
        return StoreUnavailable(f"Redis at {name} is temporarily unable to serve commands: {text}")
    own_fault: Exception = type(error)(text)
    return own_fault

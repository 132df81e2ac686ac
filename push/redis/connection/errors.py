"""What a call to Redis can end in, besides its answer."""

from __future__ import annotations

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


class UnsuitableServer(Exception):
    """The server answers and cannot be used as it is; the text says what is to be done."""


class NoMaster(Exception):
    """The sentinels name no master now. The code that asked them has logged it."""

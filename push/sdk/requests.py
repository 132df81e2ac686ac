"""The names of PUBLISH requests and their numbers (contract, "`PUBLISH`")."""

from __future__ import annotations

from enum import IntEnum


class RequestName(IntEnum):
    MS = 1
    MN = 2
    MP = 3
    MR = 4
    RMN = 5
    MRN = 6
    GC = 7
    GPGI = 8
    GPGM = 9
    GAM = 10
    GKM = 11
    GQ = 12
    GMI = 13
    GD = 14
    CL = 15
    TS = 16
    TU = 17
    TP = 18
    PS = 19


UNANSWERED = frozenset({RequestName.TP})  # usually sent with message id 0


def request_number(request: str | int) -> int:
    """The sub-signal of a request given by name or number; raises `ValueError`."""
    if isinstance(request, int):
        if not 0 <= request <= 0x7F:
            raise ValueError(f"a request's number is 0 … 127, not {request}")
        return request
    try:
        return RequestName[request]
    except KeyError:
        raise ValueError(
            f"unknown request {request!r}: {', '.join(RequestName.__members__)}"
        ) from None

"""PUBLISH requests by name or number (protocol.md, "PUBLISH: requests")."""

from __future__ import annotations

from push.wire.signals import RequestName

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

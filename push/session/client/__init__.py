"""The client role of the device protocol, without I/O; see `push.session.client.session`."""

from push.session.client.outgoing import (
    MAX_UNANSWERED_REQUESTS,
    RequestNotPossible,
    TooManyRequests,
)
from push.session.client.receiving import KNOWN_KINDS
from push.session.client.session import ANSWER_SECONDS, ClientSession

__all__ = [
    "ANSWER_SECONDS",
    "KNOWN_KINDS",
    "MAX_UNANSWERED_REQUESTS",
    "ClientSession",
    "RequestNotPossible",
    "TooManyRequests",
]

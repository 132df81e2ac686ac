"""What a connector knows of one device's session, from its CONNECT to its end.

The connection moves bytes, the protocol's state machine (`push.session.server`) says what may come
when; this is what the parts of a connector share: whose session it is and what it follows. What a
part is just doing for a session (reading on, reading its record again) the part itself keeps.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from push.connector.limits.read_queue import ReadConnection
from push.session.events import Ended, PublishRequested
from push.session.server import ServerSession
from push.session.subscription import Subscription


class SessionConnection(ReadConnection, Protocol):
    """What a session needs of the connection that carries it."""

    carrier: str
    device: DeviceSession | None  # from its CONNECT on
    blocked: bool  # bytes wait: nothing stored is handed out until they were sent
    due_slot: int  # of the timing wheel

    @property
    def protocol(self) -> ServerSession: ...

    @property
    def ip(self) -> str:
        """The device's address."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is lost."""

    def tell_session(self) -> None:
        """Say in `DeviceSession.send` whether it may be sent to now."""

    def write(self, data: bytes) -> None:
        """Send now, or as soon as the socket takes it."""

    def send_later(self, rest: bytes) -> None:
        """The session's `send` did not take `rest`: it waits."""

    def may_queue(self, size_bytes: int) -> bool:
        """Whether a message that is kept nowhere may wait for a blocked connection."""

    def flush(self) -> None:
        """Write what the protocol has to say."""

    def read_no_more(self) -> None:
        """The peer said goodbye, but its requests are still carried out."""

    def end(self, ended: Ended) -> None:
        """Close. Unless the peer ended it, it gets time to read why."""


MAX_REQUEST_BYTES = 256 * 1024  # of requests that wait, until no further ones are read
# What a request costs beside its body; so its number is bounded, too.
REQUEST_OVERHEAD_BYTES = 256
SESSION_ID_BYTES = 12


class Phase(Enum):
    """LEAVING: the session is being sent to another connector, nothing stored is handed out.
    CLOSED: it is over, and its connector no longer has it."""

    OPEN = auto()
    LEAVING = auto()
    CLOSED = auto()


class DeviceSession:
    """A session of a device, or of a user without a device (`token` None).

    While it is being opened (`protocol.state`) `token` and `user` are not known at first. `send`:
    the socket's, with TLS the `RecordLayer`, while the session is open and nothing waits to be
    sent; what many get goes there without a look at the connection.
    """

    __slots__ = (
        "codec",
        "connected_ms",
        "connection",
        "jwt_topics",
        "phase",
        "protocol",
        "request_bytes",
        "requests",
        "send",
        "session_id",
        "subscriptions",
        "token",
        "unsettled",
        "user",
    )

    def __init__(self, connection: SessionConnection) -> None:
        self.connection = connection
        self.protocol = connection.protocol
        self.codec = connection.protocol.codec
        self.send: Callable[[bytes], int] | None = None
        self.session_id = secrets.token_hex(SESSION_ID_BYTES)
        self.token: str | None = None
        self.user: str | None = None
        self.jwt_topics: tuple[str, ...] = ()  # the topics that its JWT names
        self.subscriptions: dict[str, Subscription] = {}
        self.phase = Phase.OPEN
        self.connected_ms = 0
        self.unsettled = 0  # acknowledgements that its timeline does not have yet
        self.requests: deque[PublishRequested] | None = None  # that wait for the one before
        self.request_bytes = 0  # of these

    @property
    def ip(self) -> str:
        return self.connection.ip

    @property
    def has_many_requests(self) -> bool:
        """Whether some are to be done before it says more."""
        return self.request_bytes > MAX_REQUEST_BYTES

    @property
    def is_over(self) -> bool:
        """Whether nothing more is done for it."""
        return self.phase is Phase.CLOSED or self.protocol.closing

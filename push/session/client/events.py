"""What a `ClientSession` tells its shell. Every event is a value; none of them holds a socket.

Units: `*_seconds` are seconds, `time_ms`, `ts` and `expires` are milliseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from push.wire.errors import ProtocolError


class DeviceRegistered(Struct, frozen=True):
    """SUB was granted: keep the pair, it comes only once."""

    token: str
    secret: str


class RegistrationRefused(Struct, frozen=True):
    """SUB was refused; the connection stays open."""

    code: str
    detail: str
    after_seconds: int | None = None


class Connected(Struct, frozen=True):
    """CONNECT_ACK ACCEPTED: the session is open."""

    session: str
    user: str | None
    heartbeat_seconds: int
    window_messages: int
    max_frame_bytes: int
    node: str
    time_ms: int
    truncated: tuple[str, ...]
    streams: dict[str, str] | None


class ConnectionRefused(Struct, frozen=True):
    """CONNECT_ACK with another status. The server closes; `status` may be newer than our table."""

    status: int
    code: str
    detail: str
    after_seconds: int | None = None
    servers: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()


class MessageReceived(Struct, frozen=True):
    """A PUSH the application has not seen. `number` 0 is QoS 0: nothing is to be acknowledged.

    `body` is the whole body as it came, `id`, `stream`, `offset` and `kind` are taken from it.
    """

    number: int
    id: str
    stream: str
    offset: str | None
    kind: str | None
    body: dict[str, Any]


class Duplicate(Struct, frozen=True):
    """A copy of a message the application has, or had. `done`: it was acknowledged again."""

    id: str
    done: bool


class Ignored(Struct, frozen=True):
    """A PUSH of a kind this version does not know; it was acknowledged, as the contract asks."""

    id: str
    kind: str


class StreamFollowed(Struct, frozen=True):
    """The session follows `stream` from `offset` on."""

    stream: str
    offset: str | None


class Unfollowed(Struct, frozen=True):
    """The session no longer follows `stream`."""

    stream: str


class RequestAnswered(Struct, frozen=True):
    """The answer to the PUBLISH with `message_id`; `body` is all of it."""

    message_id: int
    sub_signal: int
    ok: bool
    code: str
    detail: str
    field: str | None
    after_seconds: int | None
    body: dict[str, Any]


class AuthAnswer(Struct, frozen=True):
    """The answer to AUTH. Refused, the session goes on to its old expiry."""

    message_id: int
    ok: bool
    expires_ms: int | None
    code: str
    detail: str


class Pong(Struct, frozen=True):
    """The answer to PING: the interval that holds now."""

    heartbeat_seconds: int
    time_ms: int


class Disconnected(Struct, frozen=True):
    """The server ended the connection and said why."""

    code: str
    reason: str
    servers: tuple[str, ...] = ()
    after_seconds: int | None = None


class ConnectionDead(Struct, frozen=True):
    """Nothing came in time: close the connection, it leads nowhere."""

    reason: str


class ProtocolViolated(Struct, frozen=True):
    """The server broke the protocol: send what is queued, close, and back off.

    An event and not an exception, so that the events of good frames before the bad one in the same
    bytes are not lost.
    """

    error: ProtocolError


Event = (
    DeviceRegistered
    | RegistrationRefused
    | Connected
    | ConnectionRefused
    | MessageReceived
    | Duplicate
    | Ignored
    | StreamFollowed
    | Unfollowed
    | RequestAnswered
    | AuthAnswer
    | Pong
    | Disconnected
    | ConnectionDead
    | ProtocolViolated
)

"""The numbers and names of the device protocol (protocol.md, "Frames")."""

from __future__ import annotations

from enum import IntEnum, StrEnum

MAGIC = 0xF8
VERSION = 2

# A number; or a name that has none here, which only text frames can carry.
SubSignal = int | str


class Signal(IntEnum):
    """What a frame is; the low 7 bits of header byte 2."""

    SUB = 1
    AUTH = 2
    PING = 3
    PUSH = 4
    CONTACT = 5
    CONNECT = 6
    CONNECT_ACK = 7
    DISCONNECT = 8
    PUBLISH = 9
    PUB_ACK = 10


class RequestName(IntEnum):
    """The sub-signal of PUBLISH. MN and RMN are reserved."""

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


class ConnectStatus(IntEnum):
    """The sub-signal of CONNECT_ACK."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_CREDENTIALS = 4
    NOT_AUTHORIZED = 5
    USE_ANOTHER_SERVER = 6
    SESSION_NOT_EXIST = 7


class DisconnectCode(StrEnum):
    """Why a connection ends, in the contract's order (WebSocket closes with 4000 + position)."""

    BYE = "bye"
    TAKEN_OVER = "taken_over"
    KICKED = "kicked"
    DRAINING = "draining"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    BAD_FRAME = "bad_frame"
    FRAME_TOO_LARGE = "frame_too_large"
    RATE_LIMITED = "rate_limited"
    CREDENTIALS_EXPIRED = "credentials_expired"
    INTERNAL = "internal"


TAKEN_OVER_REASON = "a newer connection has this token"


def signal_name(signal: int) -> str:
    """The name of a signal for people, also of one that does not exist."""
    try:
        return Signal(signal).name
    except ValueError:
        return f"signal {signal}"

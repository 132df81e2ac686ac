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
    """The sub-signal of PUBLISH (protocol.md, "PUBLISH: requests")."""

    MS = 1  # send a message
    MN = 2  # reserved
    MP = 3  # page of the history
    MR = 4  # recall a message
    RMN = 5  # reserved
    MRN = 6  # move positions: delivered, read
    GC = 7  # create a group
    GPGI = 8  # look a group up
    GPGM = 9  # list its members
    GAM = 10  # add members
    GKM = 11  # remove members
    GQ = 12  # leave a group
    GMI = 13  # change a group or a member
    GD = 14  # dismiss a group
    CL = 15  # list conversations
    TS = 16  # subscribe to a topic
    TU = 17  # unsubscribe from a topic
    TP = 18  # tell of typing
    PS = 19  # ask who is online


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

"""All states and signals of the protocol, in one table a role (protocol.md, "Order of things").

A signal that has no cell in a server's state is `bad_frame`; in a client's state it is ignored,
because a client must live with servers newer than itself.
"""

from __future__ import annotations

from enum import Enum, auto

from push.wire.signals import Signal


class State(Enum):
    """Where a connection is.

    ENDING (of a server): the peer said DISCONNECT, what it asked for before is still carried out.
    CLOSING: a DISCONNECT (or refusal) was sent or answered, nothing else will be.
    """

    OPENING = auto()
    CONNECTING = auto()
    OPEN = auto()
    ENDING = auto()
    CLOSING = auto()


class Action(Enum):
    """What the receiver does with a signal that is allowed."""

    REGISTER = auto()
    CONNECT = auto()
    RENEW = auto()
    HEARTBEAT = auto()
    REQUEST = auto()
    ACKNOWLEDGE = auto()
    CLOSE = auto()
    REGISTERED = auto()
    CONNECTED = auto()
    RENEWED = auto()
    MESSAGE = auto()
    ANSWER = auto()


SERVER: dict[State, dict[int, Action]] = {
    State.OPENING: {
        Signal.SUB: Action.REGISTER,
        Signal.CONNECT: Action.CONNECT,
        Signal.DISCONNECT: Action.CLOSE,
    },
    State.CONNECTING: {
        Signal.DISCONNECT: Action.CLOSE,
    },
    State.OPEN: {
        Signal.AUTH: Action.RENEW,
        Signal.PING: Action.HEARTBEAT,
        Signal.PUBLISH: Action.REQUEST,
        Signal.PUB_ACK: Action.ACKNOWLEDGE,
        Signal.DISCONNECT: Action.CLOSE,
    },
    State.ENDING: {},
    State.CLOSING: {},
}

CLIENT: dict[State, dict[int, Action]] = {
    State.OPENING: {
        Signal.SUB: Action.REGISTERED,
        Signal.CONNECT_ACK: Action.CONNECTED,
        Signal.DISCONNECT: Action.CLOSE,
    },
    State.CONNECTING: {
        Signal.SUB: Action.REGISTERED,
        Signal.CONNECT_ACK: Action.CONNECTED,
        Signal.DISCONNECT: Action.CLOSE,
    },
    State.OPEN: {
        Signal.AUTH: Action.RENEWED,
        Signal.PING: Action.HEARTBEAT,
        Signal.PUSH: Action.MESSAGE,
        Signal.PUB_ACK: Action.ANSWER,
        Signal.DISCONNECT: Action.CLOSE,
    },
    State.CLOSING: {},
}

# The same as sets, for the decoder, which judges a signal before it buffers the body.
SERVER_ACCEPTS: dict[State, frozenset[int]] = {
    state: frozenset(cells) for state, cells in SERVER.items()
}

"""What a server session tells its owner: requests to answer, progress, the end."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from push.session.entry import HandedOut
from push.session.subscription import (
    LateAcknowledgement,
    OutstandingMessage,
    Subscription,
)
from push.wire.bodies import AuthRequest, ConnectRequest, SubRequest
from push.wire.signals import SubSignal


class RegisterRequested(NamedTuple):
    """SUB: answer with `registered` or `refuse_registration`."""

    message_id: int
    body: SubRequest


class ConnectRequested(NamedTuple):
    """CONNECT: answer with `accept` or `refuse_connect`."""

    message_id: int
    body: ConnectRequest


class RenewRequested(NamedTuple):
    """AUTH: answer with `renewed` or `refuse_renewal`."""

    message_id: int
    body: AuthRequest


class PublishRequested(NamedTuple):
    """PUBLISH: answer each with `answer`, in the end (with `message_id` 0 nothing is sent)."""

    message_id: int
    sub_signal: SubSignal
    body: bytes


class HeartbeatRequested(NamedTuple):
    """PING: answer with `pong`, which needs the time of the day."""

    message_id: int
    sub_signal: SubSignal


class Progress(msgspec.Struct, frozen=True, gc=False):
    """The cursor of `subscription` moved when `messages` were acknowledged: store it.

    It comes for each acknowledgement, and a named tuple takes twice as long to make.
    """

    subscription: Subscription
    messages: tuple[HandedOut, ...]


class OnlineAcknowledged(NamedTuple):
    """The message `id` of `stream`, which is in no log, was acknowledged: for the ledger."""

    stream: str
    id: str


class LateAcknowledged(NamedTuple):
    """A message was acknowledged that the cursor had passed for another reason: for the ledger."""

    late: LateAcknowledgement


class RedeliveryDue(NamedTuple):
    """The first messages of streams that were not acknowledged in time: look them up, and hand what
    the log has to `DeliveryPolicy.again`."""

    deliveries: list[OutstandingMessage]


class EventPosition(NamedTuple):
    """What the id of an event stands for, with all events of its session before it: `stream` was
    written up to `offset`."""

    event_id: str
    stream: str
    offset: int


class PositionsReached(NamedTuple):
    """Positions of a response to `GET /v1/stream`: keep them with the device's record. Those that
    are kept are kept on; there may be no new ones."""

    positions: tuple[EventPosition, ...] = ()


class GoodbyeSaid(NamedTuple):
    """DISCONNECT while requests are not answered: carry them out. `Ended` comes with the last of
    them, or when the time for them is over."""


class Ended(NamedTuple):
    """The connection is to be closed once `data_to_send` is written. `by_peer`: close at once."""

    code: str
    reason: str
    by_peer: bool


Event = (
    RegisterRequested
    | ConnectRequested
    | RenewRequested
    | PublishRequested
    | HeartbeatRequested
    | Progress
    | OnlineAcknowledged
    | LateAcknowledged
    | RedeliveryDue
    | PositionsReached
    | GoodbyeSaid
    | Ended
)

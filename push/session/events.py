"""What a server session tells its owner: requests to answer, progress, the end."""

from __future__ import annotations

from typing import NamedTuple

from push.session.window import Delivery, Follow, LateDelivery
from push.wire.bodies import AuthRequest, ConnectRequest, SubRequest


class RegisterWanted(NamedTuple):
    """SUB: answer with `registered` or `refuse_registration`."""

    message_id: int
    body: SubRequest


class ConnectWanted(NamedTuple):
    """CONNECT: answer with `accept` or `refuse_connect`."""

    message_id: int
    body: ConnectRequest


class RenewWanted(NamedTuple):
    """AUTH: answer with `renewed` or `refuse_renewal`."""

    message_id: int
    body: AuthRequest


class RequestWanted(NamedTuple):
    """PUBLISH: answer with `answer` (unless `message_id` is 0)."""

    message_id: int
    sub_signal: int
    body: bytes


class HeartbeatAsked(NamedTuple):
    """PING: answer with `pong`, which needs the time of the day."""

    message_id: int
    sub_signal: int


class Progress(NamedTuple):
    """The cursor of `follow` moved: store it."""

    follow: Follow


class OnlineAcknowledged(NamedTuple):
    """The message `id` of `stream`, which is in no log, was acknowledged: for the ledger."""

    stream: str
    id: str


class LateAcknowledged(NamedTuple):
    """A message was acknowledged that the cursor had passed for another reason: for the ledger."""

    late: LateDelivery


class RedeliveryDue(NamedTuple):
    """The first messages of streams that were not acknowledged in time: look them up, and hand what
    the log has to `Handout.again`."""

    deliveries: list[Delivery]


class Ended(NamedTuple):
    """The connection is to be closed once `data_to_send` is written. `by_peer`: close at once."""

    code: str
    reason: str
    by_peer: bool


Event = (
    RegisterWanted
    | ConnectWanted
    | RenewWanted
    | RequestWanted
    | HeartbeatAsked
    | Progress
    | OnlineAcknowledged
    | LateAcknowledged
    | RedeliveryDue
    | Ended
)

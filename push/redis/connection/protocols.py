"""The two protocols spoken with Redis: commands, and subscriptions.

Both are txredisapi's, with numbers and text left alone (`charset=None, convertNumbers=False`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import txredisapi
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure


def end_reason(why: Failure) -> str:
    """Why a connection ended when TLS did not accept it; "" for the many other reasons."""
    if why.check(VerificationError):
        return "its certificate is for another name"
    if isinstance(why.value, SSL.Error) and why.value.args:
        return "TLS: " + ", ".join(str(entry[-1]) for entry in why.value.args[0])
    return ""


class CommandProtocol(txredisapi.RedisProtocol):
    """Commands and their answers, in order. `on_lost` is called once when the connection ends.

    `answered` is called with the seconds from each command to its answer.
    """

    def __init__(
        self,
        monotonic_seconds: Callable[[], float],
        on_lost: Callable[[RedisProtocol], None],
        answered: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.end_reason = ""  # see `end_reason`
        self._monotonic = monotonic_seconds
        self._on_lost = on_lost
        self._answered = answered
        self._asked_at: deque[float] = deque()

    def call(self, *command: bytes | str | int) -> Deferred[Any]:
        """Send a command; the Deferred has its answer, or txredisapi's error."""
        answer: Deferred[Any] = self.execute_command(*command)
        self._asked_at.append(self._monotonic())
        return answer

    def dataReceived(self, data: bytes) -> None:
        try:
            super().dataReceived(data)
        except txredisapi.InvalidData:
            _end_stranger(self)

    def replyReceived(self, reply: object) -> None:
        if self._asked_at:
            self._answered(self._monotonic() - self._asked_at.popleft())
        super().replyReceived(reply)

    def connectionLost(self, why: Failure = connectionDone) -> None:
        self.end_reason = self.end_reason or end_reason(why)
        self._on_lost(self)  # first: a caller whose call fails finds us disconnected
        super().connectionLost(why)

    def waiting_seconds(self) -> float:
        """How long the oldest unanswered command has waited; 0 when none does."""
        return self._monotonic() - self._asked_at[0] if self._asked_at else 0.0

    @property
    def unanswered(self) -> int:
        return len(self._asked_at)

    @property
    def itself(self) -> CommandProtocol:
        """This protocol, also when asked through the proxy that `ClientService` hands out."""
        return self


class SubscriberProtocol(txredisapi.SubscriberProtocol):
    """Subscriptions. Each command's Deferred fires when *all* its channels were confirmed.

    txredisapi fires it at the first confirmation and may take the others for answers to the next
    command; so confirmations are counted here, before it sees them.
    """

    def __init__(
        self,
        monotonic_seconds: Callable[[], float],
        on_lost: Callable[[RedisProtocol], None],
        on_message: Callable[[bytes, bytes], None],
    ) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.end_reason = ""  # see `end_reason`
        self._monotonic = monotonic_seconds
        self._on_lost = on_lost
        self._on_message = on_message
        # One per command that waits: answers still to come, and when it was asked.
        self._expected: deque[tuple[int, float]] = deque()
        self._received_at = 0.0

    def subscribe_to(self, channels: Sequence[bytes]) -> Deferred[Any]:
        return self._ask(len(channels), b"SUBSCRIBE", *channels)

    def unsubscribe_from(self, channels: Sequence[bytes]) -> Deferred[Any]:
        return self._ask(len(channels), b"UNSUBSCRIBE", *channels)

    def call(self, *command: bytes | str | int) -> Deferred[Any]:
        """PING, AUTH, SELECT and the like: one answer."""
        return self._ask(1, *command)

    def _ask(self, answers: int, *command: bytes | str | int) -> Deferred[Any]:
        answer: Deferred[Any] = self.execute_command(*command)
        self._expected.append((answers, self._monotonic()))
        return answer

    def dataReceived(self, data: bytes) -> None:
        self._received_at = self._monotonic()
        try:
            super().dataReceived(data)
        except txredisapi.InvalidData:
            _end_stranger(self)

    def replyReceived(self, reply: object) -> None:
        if type(reply) is list and len(reply) == 3 and reply[0] == b"message":
            self._on_message(reply[1], reply[2])
            return
        if not self._expected:
            return  # a confirmation of a connection that is ending
        answers, asked_at = self._expected[0]
        if answers > 1 and not isinstance(reply, Exception):
            self._expected[0] = (answers - 1, asked_at)
            return
        self._expected.popleft()
        self.replyQueue.put(reply)

    def connectionLost(self, why: Failure = connectionDone) -> None:
        self.end_reason = self.end_reason or end_reason(why)
        self._on_lost(self)
        super().connectionLost(why)

    def waiting_seconds(self) -> float:
        """How long the oldest unconfirmed command has waited in silence; 0 when none does.

        An answer comes behind all that was published before: while that comes, nothing is amiss.
        """
        if not self._expected:
            return 0.0
        return self._monotonic() - max(self._expected[0][1], self._received_at)

    @property
    def unanswered(self) -> int:
        return len(self._expected)

    @property
    def itself(self) -> SubscriberProtocol:
        """This protocol, also when asked through the proxy that `ClientService` hands out."""
        return self


def _end_stranger(protocol: RedisProtocol) -> None:
    """Something else listens there, an HTTP server perhaps."""
    protocol.end_reason = "what answers there does not speak the protocol of Redis"
    assert protocol.transport is not None
    protocol.transport.abortConnection()


RedisProtocol = CommandProtocol | SubscriberProtocol

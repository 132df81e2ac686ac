"""The two protocols spoken with Redis: commands, and subscriptions.

Both are txredisapi's, with numbers and text left alone. Two things are replaced: how a command is
sent (`execute_command`), and the queue of those that wait for an answer. Its own takes several
times as long for a command, and may take the confirmation of one channel for another answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
import txredisapi
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

Handler = Callable[[bytes], None]

USUAL_READ_BYTES = FileDescriptor.bufferSize
LARGE_READ_BYTES = 512 * 1024  # once Redis had more to say than a usual read


def end_reason(why: Failure) -> str:
    """Why a connection ended when TLS did not accept it; "" for the many other reasons."""
    if why.check(VerificationError):
        return "its certificate is for another name"
    if isinstance(why.value, SSL.Error) and why.value.args:
        return "TLS: " + ", ".join(str(entry[-1]) for entry in why.value.args[0])
    return ""


class RedisProtocol(txredisapi.RedisProtocol):
    """Commands and their replies, in order. `on_lost` is called once when the connection ends.

    A reply is None, int, bytes or a list of these; the error of one part of a list is a
    `txredisapi.ResponseError` in its place.
    """

    def __init__(
        self,
        monotonic_seconds: Callable[[], float],
        on_lost: Callable[[RedisProtocol], None],
    ) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.end_reason = ""  # see `end_reason`
        self.received_at = 0.0  # anything at all
        self._monotonic = monotonic_seconds
        self._on_lost = on_lost
        # Of each command that waits: who gets its answer, when it was asked, and how many replies
        # are still to come.
        self._asked: deque[tuple[Deferred[Any], float, int]] = deque()

    def execute_command(self, *command: bytes | str | int, **_options: object) -> Deferred[Any]:
        """All commands of txredisapi come through here."""
        return self.call(*command)

    def call(self, *command: bytes | str | int, replies: int = 1) -> Deferred[Any]:
        """Send a command; the Deferred has its answer (the last of its `replies`), or txredisapi's
        error."""
        if not self.connected:
            raise txredisapi.ConnectionError("Not connected")
        self.transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # says: of one
        answer: Deferred[Any] = Deferred()
        self._asked.append((answer, self._monotonic(), replies))
        return answer

    def flush(self) -> None:
        """Send the commands of this turn now. The reactor does that after all that it reads, which
        may take it long. (With TLS it does.)"""
        transport = self.transport
        if (
            isinstance(transport, FileDescriptor)
            and transport.connected
            and not transport.disconnecting
            and transport._tempDataBuffer  # it has no public name: what was written in this turn
        ):
            transport.doWrite()  # an error of it is seen by the reactor, too

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.received_at = self._monotonic()
        if len(data) == USUAL_READ_BYTES:
            # In steps of that size, others would wait for a turn of the reactor for each.
            self.transport.bufferSize = LARGE_READ_BYTES
        reader = self._reader  # of hiredis, with txredisapi's errors
        reader.feed(data)
        try:
            reply = reader.gets()
            while reply is not False:
                self._received(reply)
                reply = reader.gets()
        except txredisapi.InvalidData:
            # Something else listens there, an HTTP server perhaps.
            self.end_reason = "what answers there does not speak the protocol of Redis"
            self.transport.abortConnection()

    def _received(self, reply: object) -> None:
        if not self._asked:
            return  # a confirmation of a connection that is ending
        answer, asked_at, replies = self._asked.popleft()
        if isinstance(reply, Exception):
            self._answered(asked_at)
            answer.errback(reply)
        elif replies > 1:
            self._asked.appendleft((answer, asked_at, replies - 1))
        else:
            self._answered(asked_at)
            answer.callback(reply)

    def _answered(self, asked_at: float) -> None:
        """A command has its answer."""

    def connectionLost(self, why: Failure = connectionDone) -> None:
        self.end_reason = self.end_reason or end_reason(why)
        self._on_lost(self)  # first: a caller whose call fails finds us disconnected
        super().connectionLost(why)
        asked, self._asked = self._asked, deque()
        for answer, _, _ in asked:
            answer.errback(txredisapi.ConnectionError("Connection lost"))

    def waiting_seconds(self) -> float:
        """How long the oldest unanswered command has waited; 0 when none does."""
        return self._monotonic() - self._asked[0][1] if self._asked else 0.0

    def silent_seconds(self) -> float:
        """For how long nothing has come while a command waits for its answer."""
        if not self._asked:
            return 0.0
        return self._monotonic() - max(self._asked[0][1], self.received_at)

    @property
    def unanswered(self) -> int:
        return len(self._asked)

    @property
    def itself(self) -> Any:
        """This protocol, also when asked through the proxy that `ClientService` hands out."""
        return self


class CommandProtocol(RedisProtocol):
    """Commands. `measured` is called with the seconds from each to its answer."""

    def __init__(
        self,
        monotonic_seconds: Callable[[], float],
        on_lost: Callable[[RedisProtocol], None],
        measured: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        super().__init__(monotonic_seconds, on_lost)
        self._measured = measured

    def _answered(self, asked_at: float) -> None:
        self._measured(self._monotonic() - asked_at)


class ChannelHandlers(dict[bytes, Handler]):
    """Who gets what is published on which channel, and how many `messages` came.

    `all_read` is called when all that came at once was handled."""

    messages = 0
    all_read: Callable[[], object] | None = None


class SubscriberProtocol(RedisProtocol):
    """Subscriptions. A command gets one of its `replies` for each of its channels.

    What comes goes to the handler of its channel, if there is one by then; one that fails is
    logged.
    """

    def __init__(
        self,
        monotonic_seconds: Callable[[], float],
        on_lost: Callable[[RedisProtocol], None],
        handlers: ChannelHandlers,
    ) -> None:
        super().__init__(monotonic_seconds, on_lost)
        self._handlers = handlers

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        super().dataReceived(data, unpause)
        if self._handlers.all_read is not None:
            try:
                self._handlers.all_read()
            except Exception:
                log.failure("What came on channels was not handled", event="redis.handler_failed")

    def _received(self, reply: object) -> None:
        if type(reply) is not list or len(reply) != 3 or reply[0] != b"message":
            super()._received(reply)
            return
        _, channel, payload = reply
        self._handlers.messages += 1
        handler = self._handlers.get(channel)
        if handler is None:
            return
        try:
            handler(payload)
        except Exception:
            log.failure(
                "A handler of channel {channel!r} failed",
                channel=channel,
                event="redis.handler_failed",
            )

    def waiting_seconds(self) -> float:
        """How long the oldest unconfirmed command has waited in silence; 0 when none does.

        An answer comes after all that was published before: while that comes, nothing is wrong.
        """
        return self.silent_seconds()

"""One connection of a client: the session, and who waits for which of its answers. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from push.sdk.core.actions import HangUp
from push.sdk.core.pending import Pending
from push.sdk.message import truncation
from push.session.client import MAX_UNANSWERED_REQUESTS, ClientSession
from push.session.client.events import (
    AuthAnswer,
    Connected,
    ConnectionDead,
    ConnectionRefused,
    DeviceRegistered,
    Disconnected,
    Event,
    MessageReceived,
    ProtocolViolated,
    RegistrationRefused,
    RequestAnswered,
)

Answer = TypeVar("Answer", RequestAnswered, AuthAnswer)
Greeting = DeviceRegistered | RegistrationRefused | Connected | ConnectionRefused


class ConnectionEnded(Exception):
    """The connection ended before the answer; `goodbye` is the server's DISCONNECT, if it came."""

    def __init__(
        self, reason: str, goodbye: Disconnected | None = None, *, silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.goodbye = goodbye
        self.silent = silent  # nobody is there any more

    def again(self) -> ConnectionEnded:
        """Another exception of the same content, for one more that waits."""
        return ConnectionEnded(self.reason, self.goodbye, silent=self.silent)


class ClientConnection:
    """`on_message` is called for each new message, in order. What CONNECT_ACK calls truncated comes
    first, as messages of that kind.

    `now` is the time of the last input. `ended` is resolved once, with how the connection ended.
    """

    def __init__(
        self,
        session: ClientSession,
        on_message: Callable[[MessageReceived], None],
        now: float,
    ) -> None:
        self.session = session
        self.now = now
        self.ended: Pending[ConnectionEnded] = Pending()
        self._on_message = on_message
        self._greeting: Pending[Greeting] | None = None
        self._publishes: dict[int, Pending[RequestAnswered]] = {}
        self._renewals: dict[int, Pending[AuthAnswer]] = {}
        self._checks: list[Pending[bool]] = []

    # --- Requests -------------------------------------------------------------------------------

    def greet(self, send: Callable[[ClientSession, float], int]) -> Pending[Greeting]:
        """`send(session, now)` sends SUB or CONNECT. Fails with `ConnectionEnded`."""
        self._greeting = Pending()
        if self.ended.done:
            self._greeting.fail(self.ended.result().again())
        else:
            send(self.session, self.now)
        return self._greeting

    @property
    def may_ask(self) -> bool:
        return not self.ended.done and self.session.unanswered < MAX_UNANSWERED_REQUESTS

    def publish(self, number: int, body: msgspec.Raw) -> Pending[RequestAnswered]:
        """PUBLISH, while `may_ask`. Fails with `ConnectionEnded`; raises `RequestNotPossible`."""
        message_id = self.session.publish(number, body, now=self.now)
        answer = self._publishes[message_id] = Pending()
        return answer

    def publish_unanswered(self, number: int, body: msgspec.Raw) -> None:
        self.session.publish(number, body, answered=False, now=self.now)

    def renew(self, jwt: str) -> Pending[AuthAnswer]:
        """AUTH. Fails with `ConnectionEnded`; raises `RequestNotPossible`."""
        message_id = self.session.renew(jwt, self.now)
        answer = self._renewals[message_id] = Pending()
        return answer

    def check(self) -> Pending[bool]:
        """Whether anything comes within 3 s."""
        checked: Pending[bool] = Pending()
        self._checks.append(checked)
        self.session.check(self.now)
        return checked

    def close(self) -> None:
        """Say `bye` unless the connection has ended."""
        self.session.disconnect()
        self._end(ConnectionEnded("closed by this client"))

    # --- Bytes and time -------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        self.now = now
        self._finish_checks(answered=True)
        self._take(self.session.receive_data(data, now))

    def tick(self, now: float) -> None:
        self.now = now
        self._take(self.session.tick(now))

    def lost(self, reason: str, now: float) -> None:
        self.now = now
        if not self.session.closed:
            self.session.lost()
        why = f": {reason}" if reason else ""
        self._end(ConnectionEnded(f"the connection was lost{why}"))

    # --- Events ---------------------------------------------------------------------------------

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case MessageReceived():
                    self._on_message(event)
                case RequestAnswered():
                    _resolve(self._publishes, event.message_id, event)
                case AuthAnswer():
                    _resolve(self._renewals, event.message_id, event)
                case DeviceRegistered() | RegistrationRefused() | Connected() | ConnectionRefused():
                    self._greeted(event)
                case Disconnected():
                    self._end(ConnectionEnded(f"{event.code}: {event.reason}", event))
                case ConnectionDead():
                    self._end(ConnectionEnded(event.reason, silent=True))
                case ProtocolViolated():
                    self._end(ConnectionEnded(f"the server broke the protocol: {event.error}"))
                case _:
                    pass  # duplicates, pongs and the like need nothing from us

    def _greeted(self, event: Greeting) -> None:
        if isinstance(event, Connected):
            for stream in event.truncated:
                self._on_message(truncation(stream))
        if self._greeting is not None:
            self._greeting.resolve(event)

    def _end(self, ended: ConnectionEnded) -> None:
        """The first reason holds; all that wait for an answer get it."""
        if self.ended.done:
            return
        if self._greeting is not None:
            self._greeting.fail(ended.again())
        publishes, self._publishes = self._publishes, {}
        for answer in publishes.values():
            answer.fail(ended.again())
        renewals, self._renewals = self._renewals, {}
        for renewal in renewals.values():
            renewal.fail(ended.again())
        self._finish_checks(answered=False)
        self.ended.resolve(ended)

    def _finish_checks(self, *, answered: bool) -> None:
        checks, self._checks = self._checks, []
        for check in checks:
            check.resolve(answered)


def _resolve(waiting: dict[int, Pending[Answer]], message_id: int, answer: Answer) -> None:
    pending = waiting.pop(message_id, None)
    if pending is not None:
        pending.resolve(answer)


def hang_up(connection: ClientConnection | None, *, abort: bool = False) -> HangUp:
    """Close `connection`, if there is one yet."""
    is_ours = connection is not None and not connection.session.closed
    if connection is not None:
        connection.close()
    return HangUp(is_ours, abort)

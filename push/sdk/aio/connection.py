"""One connection: moves bytes and time between a socket and a `ClientSession`.

Writes are collected and leave once in a turn of the loop, so that a burst of acknowledgements is
one system call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from push.sdk.aio.dial import CLOSE_SECONDS, Address
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

Greeting = DeviceRegistered | RegistrationRefused | Connected | ConnectionRefused


class ConnectionEnded(Exception):
    """The connection ended before the answer; `goodbye` is the server's DISCONNECT, if it came."""

    def __init__(self, reason: str, goodbye: Disconnected | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.goodbye = goodbye


class ClientConnection(asyncio.Protocol):
    """`on_message` is called for each new message, in order, from the loop. What CONNECT_ACK calls
    truncated comes first, as messages of that kind.

    Must be made in a running loop. `ended` is resolved once, with how the connection ended.
    """

    def __init__(
        self, session: ClientSession, on_message: Callable[[MessageReceived], None]
    ) -> None:
        self.session = session
        self._on_message = on_message
        self.address: Address | None = None  # of the server, once connected
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._greeting: asyncio.Future[Greeting] | None = None
        self._answers: dict[int, asyncio.Future[RequestAnswered | AuthAnswer]] = {}
        self._change = asyncio.Event()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[ConnectionEnded] = self._loop.create_future()

    # --- Requests -------------------------------------------------------------------------------

    async def greet(self, send: Callable[[ClientSession, float], int]) -> Greeting:
        """Call `send(session, now)`, which sends SUB or CONNECT, and wait for the answer.

        Raises `ConnectionEnded`.
        """
        self._raise_if_ended()
        self._greeting = self._loop.create_future()
        send(self.session, self._loop.time())
        self.flush_soon()
        return await self._greeting

    async def publish(self, number: int, body: msgspec.Raw) -> RequestAnswered:
        """PUBLISH and its answer. Waits while 64 are unanswered. Raises `ConnectionEnded`."""
        while self.session.unanswered >= MAX_UNANSWERED_REQUESTS and not self.ended.done():
            self._change.clear()
            await self._change.wait()
        self._raise_if_ended()
        asked = self.session.publish(number, body, now=self._loop.time())
        answer = await self._answer(asked)
        assert isinstance(answer, RequestAnswered)
        return answer

    def publish_unanswered(self, number: int, body: msgspec.Raw) -> None:
        self._raise_if_ended()
        self.session.publish(number, body, answered=False, now=self._loop.time())
        self.flush_soon()

    async def renew(self, jwt: str) -> AuthAnswer:
        """AUTH and its answer. Raises `ConnectionEnded`."""
        self._raise_if_ended()
        answer = await self._answer(self.session.renew(jwt, self._loop.time()))
        assert isinstance(answer, AuthAnswer)
        return answer

    async def _answer(self, message_id: int) -> RequestAnswered | AuthAnswer:
        future: asyncio.Future[RequestAnswered | AuthAnswer] = self._loop.create_future()
        self._answers[message_id] = future
        self.flush_soon()
        return await future

    def _raise_if_ended(self) -> None:
        if self.ended.done():
            raise ConnectionEnded(self.ended.result().reason, self.ended.result().goodbye)

    # --- Sending and closing --------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Send what the session has queued, once in this turn of the loop."""
        if self._flush_handle is None and not self._closed.done():
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        data = self.session.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        self._arm()

    def _arm(self) -> None:
        """One timer, for the session's next deadline; it is only moved when it must ring earlier.

        A timer that rings too early finds nothing due and is armed again: cheaper than moving it
        with every frame.
        """
        deadline = self.session.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._closed.done():
            self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._take(self.session.tick(self._loop.time()))

    async def close(self, code: str = "bye", reason: str = "") -> None:
        """Say why if the session is open, send what is queued, close; abort after 2 s."""
        by_us = not self.session.closed
        self.session.disconnect(code, reason)
        self._flush()
        self._end(ConnectionEnded("closed by this client"))
        if self._transport is None:
            return
        if by_us and self._transport.can_write_eof() and not self._transport.is_closing():
            # Let the server close: closing with unread input resets the connection, and a reset
            # may overtake our last acknowledgements.
            self._transport.write_eof()
        else:
            self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By what it does, not by its class: other event loops have classes of their own.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._take(self.session.receive_data(data, self._loop.time()))

    def eof_received(self) -> bool:
        return False  # close our side as well

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed.done():
            self._closed.set_result(None)
        why = f": {error}" if error is not None else ""
        self._end(ConnectionEnded(f"the connection was lost{why}"))

    # --- Events ---------------------------------------------------------------------------------

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case MessageReceived():
                    self._on_message(event)
                case RequestAnswered() | AuthAnswer():
                    self._resolve(event)
                case DeviceRegistered() | RegistrationRefused() | Connected() | ConnectionRefused():
                    if self._greeting is not None and not self._greeting.done():
                        self._greeting.set_result(event)
                    if isinstance(event, Connected):
                        for stream in event.truncated:
                            self._on_message(truncation(stream))
                case Disconnected():
                    self._end(ConnectionEnded(f"{event.code}: {event.reason}", event))
                case ConnectionDead():
                    self._end(ConnectionEnded(event.reason))
                case ProtocolViolated():
                    self._end(ConnectionEnded(f"the server broke the protocol: {event.error}"))
                case _:
                    pass  # duplicates, pongs and the like need nothing from us
        self._flush()

    def _resolve(self, answer: RequestAnswered | AuthAnswer) -> None:
        future = self._answers.pop(answer.message_id, None)
        if future is not None and not future.done():
            future.set_result(answer)
        self._change.set()

    def _end(self, ended: ConnectionEnded) -> None:
        """The first reason holds; all that wait for an answer get it."""
        if self.ended.done():
            return
        self.ended.set_result(ended)
        self._change.set()
        waiting: list[asyncio.Future[Any]] = [*self._answers.values()]
        if self._greeting is not None:
            waiting.append(self._greeting)
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionEnded(ended.reason, ended.goodbye))
        self._answers.clear()

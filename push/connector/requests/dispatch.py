"""Requests of devices, with the same rules as HTTP (protocol.md, "PUBLISH: requests").

Requests of a session are carried out one after the other, in the order in which they were sent.
Those that wait when the session ends are not carried out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from push.connector.transport.connection import DeviceConnection
from push.redis.errors import StoreUnavailable
from push.session.events import PublishRequested
from push.wire.bodies import RequestAnswer, encode_body
from push.wire.errors import RequestError
from push.wire.nulls import nulls_taken_out_for
from push.wire.reading import decoder_for

MAX_WAITING = 128  # beside those that are answered, of which a session may have 64
RETRY_SECONDS = 1

Body = TypeVar("Body", bound=msgspec.Struct)


class Caller(NamedTuple):
    """Who asks: the session, its device and its user, as far as it has them."""

    session: str
    token: str | None
    user: str | None


# Gets who asks and the JSON body; its answer's members stand beside `ok`. Raises `RequestError`.
Handler = Callable[[Caller, bytes], Awaitable[msgspec.Struct | None]]


def handling(
    kind: type[Body], handle: Callable[[Caller, Body], Awaitable[msgspec.Struct | None]]
) -> Handler:
    """A handler whose body is a `kind`; null in a member that may be absent is as if it were."""
    decode = decoder_for(kind, nulls_taken_out_for(kind))

    async def decoded(caller: Caller, raw: bytes) -> msgspec.Struct | None:
        return await handle(caller, decode(raw or b"{}"))

    return decoded


class RequestDispatcher:
    """Answers requests. `own(connection, job)` runs a job of a connection to its end.

    `is_current(connection)`: whether what is known of a session holds every change that was
    answered; `make_current(connection)` sees to it, and may end the session.
    """

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        own: Callable[[DeviceConnection, Coroutine[Any, Any, None]], None],
        is_current: Callable[[DeviceConnection], bool],
        make_current: Callable[[DeviceConnection], Awaitable[None]],
    ) -> None:
        self._handlers = handlers
        self._own = own
        self._is_current = is_current
        self._make_current = make_current
        # The connections whose requests are being carried out; who waits until they are.
        self._running: dict[DeviceConnection, list[Deferred[None]] | None] = {}

    def take(self, connection: DeviceConnection, request: PublishRequested) -> None:
        waiting = connection.requests
        if waiting is None:
            connection.requests = deque([request])
            self._running[connection] = None
            self._own(connection, self._run(connection))
        elif request.message_id or len(waiting) < MAX_WAITING:
            waiting.append(request)  # else one that wants no answer gets none

    async def _run(self, connection: DeviceConnection) -> None:
        try:
            while connection.requests and not connection.is_gone():
                request = connection.requests.popleft()
                body = await self._answer(connection, request)
                connection.session.answer(request.message_id, request.sub_signal, body)
                connection.flush()
                self._tell_settled(connection)
        finally:
            connection.requests = None
            self._tell_settled(connection)
            del self._running[connection]

    async def ended_are_settled(self) -> None:
        """Return when no request of a session that has ended is being carried out."""
        await self.settled([each for each in self._running if each.is_gone()])

    async def settled(self, connections: Iterable[DeviceConnection]) -> None:
        """Return when the requests of these sessions are done that are being carried out now."""
        waiters = []
        for connection in connections:
            if connection in self._running:
                waiter: Deferred[None] = Deferred()
                waiters.append(waiter)
                self._running[connection] = [*(self._running[connection] or ()), waiter]
        for waiter in waiters:
            await waiter

    def _tell_settled(self, connection: DeviceConnection) -> None:
        """A request was carried out."""
        waiting, self._running[connection] = self._running[connection], None
        for waiter in waiting or ():
            waiter.callback(None)

    async def _answer(self, connection: DeviceConnection, request: PublishRequested) -> bytes:
        handler = self._handlers.get(request.sub_signal)
        try:
            if not self._is_current(connection):
                await self._make_current(connection)
                if connection.is_gone():
                    raise RequestError("banned", "this session has ended")
            caller = Caller(connection.session_id, connection.token, connection.user)
            if handler is None:
                raise RequestError(
                    "unknown_request",
                    f"this server knows no request with the sub-signal {request.sub_signal}",
                )
            answer = await handler(caller, request.body)
        except RequestError as refusal:
            return _refused(refusal)
        except StoreUnavailable as error:
            return _refused(RequestError("unavailable", error.reason, after_seconds=RETRY_SECONDS))
        members = b"" if answer is None else encode_body(answer)[1:-1]
        return b'{"ok":true' + (b"," + members if members else b"") + b"}"


def _refused(refusal: RequestError) -> bytes:
    # There is one kind of "wrong" here; what is no JSON has no other code (protocol.md, "Errors").
    code = "invalid" if refusal.code == "malformed" else refusal.code
    return encode_body(
        RequestAnswer(
            ok=False,
            code=code,
            detail=refusal.detail,
            field=refusal.field,
            after=refusal.after_seconds,
        )
    )

"""Requests of devices, with the same rules as HTTP (protocol.md, "PUBLISH: requests").

Requests of a session are carried out one after the other, in the order in which they were sent.
Those that were sent before a DISCONNECT are carried out, too; those that wait when the session ends
for another reason are not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from push.access.bans import Bans
from push.connector.limits.large_requests import LARGE_REQUEST_BYTES
from push.connector.requests.nulls import nulls_taken_out_for
from push.connector.sessions.device_session import REQUEST_OVERHEAD_BYTES, DeviceSession
from push.connector.sessions.freshness import Freshness
from push.connector.sessions.port import GatewayPort
from push.redis.connection.errors import StoreUnavailable, as_request_error
from push.runtime.places import TakenPlace
from push.session.events import PublishRequested
from push.session.transitions import State
from push.wire.bodies import RequestAnswer, encode_body
from push.wire.errors import RequestError
from push.wire.reading import decoder_for
from push.wire.signals import RequestName

MAX_WAITING = 128  # beside those that are answered, of which a session may have 64
MAX_WAITING_BYTES = 64 * 1024 * 1024  # of all sessions; of one see `device_session`
NO_ROOM_AFTER_SECONDS = 5
# One of so many bytes took long to look up and to make: its place rests so many times as long as
# the request took.
LONG_ANSWER_BYTES = 4 * 1024
LONG_ANSWER_RESTS = 2.0

Body = TypeVar("Body", bound=msgspec.Struct)


class Caller(NamedTuple):
    """Who asks: the session, its device and its user, as far as it has them."""

    session: str
    token: str | None
    user: str | None


class Handler:
    """What answers one kind of request. Both raise `RequestError`.

    `decode` makes its body, a `kind`, of the JSON; null in a member that may be absent is as if it
    were. `handle` gets the caller and that body; the members of its answer are beside `ok`. One
    with so many bytes as `large_from_bytes` is a large request (see `LargeRequests`).
    `asks_others`: see `TakenPlace`.
    """

    def __init__(
        self,
        kind: type[Body],
        handle: Callable[[Caller, Body], Awaitable[msgspec.Struct | None]],
        large_from_bytes: int = LARGE_REQUEST_BYTES,
        *,
        asks_others: bool = False,
    ) -> None:
        self.large_from_bytes = large_from_bytes
        self.asks_others = asks_others
        self.decode = decoder_for(kind, nulls_taken_out_for(kind))
        self.handle: Callable[..., Awaitable[msgspec.Struct | None]] = handle


class RequestDispatcher:
    """Answers requests. What a session asks for is judged by every change that was answered.

    While `may_begin()` is false, and while too many bytes of all sessions wait, new requests are
    answered `unavailable`.
    """

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        freshness: Freshness,
        bans: Bans,
        port: GatewayPort,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_begin = may_begin
        self.waiting_bytes = 0
        # By the name of the request, and its error code or "ok".
        self.answered: Counter[tuple[str, str]] = Counter()
        # Those whose answers are not read, and who wakes them.
        self._unread: dict[DeviceSession, Deferred[None]] = {}
        # Whose next request waits for its turn, or whose place rests.
        self._in_line: set[DeviceSession] = set()
        self._handlers = handlers
        self._freshness = freshness
        self._bans = bans
        self._port = port
        # The sessions whose requests are being carried out; who waits until they are.
        self._running: dict[DeviceSession, list[Deferred[None]] | None] = {}

    def take_request(self, device: DeviceSession, request: PublishRequested) -> None:
        waiting = device.requests
        if self.waiting_bytes > MAX_WAITING_BYTES or not self._may_begin():
            device.protocol.answer(request.message_id, request.sub_signal, _NO_ROOM)
        elif waiting is None:
            device.requests = deque([request])
            self._count(device, _cost_bytes(request))
            self._running[device] = None
            self._port.tasks.run(device.connection, self._carry_out_all(device))
        elif request.message_id or len(waiting) < MAX_WAITING:
            waiting.append(request)
            self._count(device, _cost_bytes(request))
        else:
            # Nobody waits for its answer: it is not carried out.
            device.protocol.answer(request.message_id, request.sub_signal, b"")

    def _count(self, device: DeviceSession, size_bytes: int) -> None:
        """So many bytes more, or less, wait."""
        device.request_bytes += size_bytes
        self.waiting_bytes += size_bytes
        connection = device.connection
        if device.has_many_requests or connection.paused is not None:
            self._port.reads.check(connection)

    def drained(self, device: DeviceSession) -> None:
        """It has read its answers, or never will."""
        waiter = self._unread.pop(device, None)
        if waiter is not None:
            waiter.callback(None)

    async def _carry_out_all(self, device: DeviceSession) -> None:
        """Carry out what it asks for, one after the other, each in its place among those of other
        sessions."""
        try:
            while await self._may_go_on(device):
                async with self._place_of(device) as place:
                    if device.requests and not device.is_over:
                        await self._carry_out(device, device.requests.popleft(), place)
        finally:
            device.requests = None
            self._count(device, -device.request_bytes)
            self._tell_done(device)
            del self._running[device]

    async def _may_go_on(self, device: DeviceSession) -> bool:
        """Wait until its next request may be carried out; False: there is none."""
        had_turn = False
        while device.requests and not device.is_over:
            if device.connection.has_unread_answers and device.protocol.state is State.OPEN:
                # Answers that nobody reads are not made.
                waiter = self._unread[device] = Deferred()
                self._tell_done(device)
                await waiter
                continue
            turn = None if had_turn else self._port.reads.turn_of(device.connection)
            if turn is None:
                return True
            had_turn = True
            self._in_line.add(device)
            self._tell_done(device)
            try:
                await turn
            finally:
                self._in_line.remove(device)
        return False

    @asynccontextmanager
    async def _place_of(self, device: DeviceSession) -> AsyncIterator[TakenPlace | None]:
        """Inside it the next request of a session is carried out. A large one has no place.

        While the place rests after that the session counts as one that waits: nothing is being
        carried out for it."""
        reads = self._port.reads
        owner = device.user or device.session_id
        assert device.requests, "`_may_go_on` has seen one"
        handler = self._handler_of(device.requests[0])
        large_from_bytes = LARGE_REQUEST_BYTES if handler is None else handler.large_from_bytes
        place: AbstractAsyncContextManager[TakenPlace | None]
        if len(device.requests[0].body) >= large_from_bytes:
            place = reads.large_requests.turn(owner)
        else:
            place = reads.request_places.place(owner)
        self._in_line.add(device)
        self._tell_done(device)
        try:
            async with place as taken:
                self._in_line.remove(device)
                yield taken
                self._in_line.add(device)
                self._tell_done(device)
        finally:
            self._in_line.discard(device)

    def _handler_of(self, request: PublishRequested) -> Handler | None:
        name = request.sub_signal  # one that is no number is known to nobody
        return None if isinstance(name, str) else self._handlers.get(name)

    async def _carry_out(
        self, device: DeviceSession, request: PublishRequested, place: TakenPlace | None
    ) -> None:
        handler = self._handler_of(request)
        sub_signal = request.sub_signal
        try:
            is_current = self._bans.is_current and self._freshness.is_current(device)
            if place is not None:
                asks_others = handler is not None and handler.asks_others
                place.asks_others = asks_others or not is_current
            if not is_current:
                await self._make_current(device)
            caller = Caller(device.session_id, device.token, device.user)
            if handler is None:
                raise RequestError(
                    "unknown_request",
                    f"this server knows no request with the sub-signal {sub_signal}",
                )
            answer = await handler.handle(caller, handler.decode(request.body or b"{}"))
        except RequestError as error:
            body = self._refusal(sub_signal, error)
        except StoreUnavailable as error:
            body = self._refusal(sub_signal, as_request_error(error))
        else:
            self.answered[_name_of(sub_signal), "ok"] += 1
            members = b"" if answer is None else encode_body(answer)[1:-1]
            body = b'{"ok":true' + (b"," + members if members else b"") + b"}"
            if place is not None:
                place.kind = handler
                if len(body) >= LONG_ANSWER_BYTES:
                    place.rests = LONG_ANSWER_RESTS
        events = device.protocol.answer(request.message_id, sub_signal, body)
        device.connection.flush()
        self._tell_done(device)
        if events:
            self._port.events.handle(device.connection, events)
        self._count(device, -_cost_bytes(request))

    async def until_ended_are_done(self) -> None:
        """Return when no request of a session that has ended is being carried out."""
        await self.until_done([each for each in self._running if each.is_over])

    async def until_done(self, devices: Iterable[DeviceSession]) -> None:
        """Return when the requests of these sessions are done that are being carried out now."""
        waiters = []
        for device in devices:
            is_waiting = device in self._unread or device in self._in_line
            if device in self._running and not is_waiting:
                waiter: Deferred[None] = Deferred()
                waiters.append(waiter)
                self._running[device] = [*(self._running[device] or ()), waiter]
        for waiter in waiters:
            await waiter

    def _tell_done(self, device: DeviceSession) -> None:
        """A request was carried out."""
        waiting, self._running[device] = self._running[device], None
        for waiter in waiting or ():
            waiter.callback(None)

    async def _make_current(self, device: DeviceSession) -> None:
        await self._freshness.make_current(device)
        await self._bans.wait_until_current()
        if device.is_over:
            raise RequestError("banned", "this session has ended")

    def _refusal(self, sub_signal: int | str, refusal: RequestError) -> bytes:
        """Beside the frame that it was raised to: a variable there would hold it, and it holds the
        frame with the whole request, until somebody looks for such garbage."""
        self.answered[_name_of(sub_signal), refusal.code] += 1
        return _refused(refusal)


def _name_of(sub_signal: int | str) -> str:
    """For the metrics: what a client made up has one name."""
    try:
        return RequestName(sub_signal).name  # type: ignore[arg-type]  # a str is none, either
    except ValueError:
        return "unknown"


def _cost_bytes(request: PublishRequested) -> int:
    return len(request.body) + REQUEST_OVERHEAD_BYTES


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


_NO_ROOM = _refused(
    RequestError(
        "unavailable", "this connector is short of memory", after_seconds=NO_ROOM_AFTER_SECONDS
    )
)

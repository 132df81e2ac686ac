"""Whose turn it is to be read: no connection is worked off for long while others wait.

What a connection receives is worked off in slices. Usually there is one slice and nothing waits.
Where there are more, the rest waits with its transport paused in one queue, which works off a
bounded number of bytes in a turn of the reactor, a slice of each connection after the other. The
same holds for whatever comes after many counted frames in one turn, from any connection.

Those that have not asked for a session yet have a line of their own, whatever they want (TLS
handshakes, credentials, openings of WebSockets): it works for a bounded time in a turn. While most
of them come to nothing the line rests for longer than it has worked, so that most of the time is
left to sessions. So does the line of connections that have used up a tenth of what they may send at
once, or have sent something that took long to read.

A connection whose turn it is, but which is over a limit (its rates, requests that wait, answers
that it does not read), waits aside until it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.connector.limits.counts import (
    BYTES_PER_SECOND,
    FRAMES_PER_SECOND,
    UNREAD_ANSWERS,
    WAITING_REQUESTS,
    LimitCounts,
)
from push.connector.limits.large_requests import LargeRequests
from push.connector.limits.line import LONG_RESTS, SECONDS_PER_TURN, Line, Newcomers
from push.connector.limits.session_rates import Rates, SessionRates
from push.runtime.places import Places
from push.runtime.ports import Clock
from push.runtime.timers import Debounced

log = Logger()

# Worked off in a turn for those that wait: about 100 of the shortest frames, a millisecond.
BYTES_PER_TURN = 1024
# Counted frames that are worked off at once as they come; after that, all wait for their turn.
FRAMES_AT_ONCE_PER_TURN = 128
# Requests that begin as they come, in one turn or in several; after that, all wait for the next:
# what is refused is done at once, and each session may have dozens that wait.
REQUESTS_AT_ONCE_PER_TURN = 16
# How often those that wait aside are looked at; about 50 frames come together at 200 a second.
ASIDE_SECONDS = 0.25
OVER_RATE_SECONDS = 10.0
# Of all sessions: what everybody else asks of Redis waits behind those, however many sessions there
# are, and however little each of them asks. At first; see `Places`.
REQUESTS_AT_A_TIME = 16
_RATES = (FRAMES_PER_SECOND, BYTES_PER_SECOND)


class PausedReading:
    """What a connection has received and not worked off; `start`: up to there it is done.

    `limit`: the one for which it waits aside. `stopped`: whether its transport is paused.
    """

    __slots__ = ("data", "limit", "start", "stopped")

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = start
        self.limit: str | None = None
        self.stopped = False

    @property
    def waiting_bytes(self) -> int:
        return len(self.data) - self.start


class ReadConnection(Protocol):
    """What the queue needs of a connection."""

    paused: PausedReading | None

    @property
    def is_newcomer(self) -> bool:
        """Whether it has not asked for a session yet."""

    @property
    def is_read(self) -> bool:
        """Whether what it sends is still worked off."""

    @property
    def has_unread_answers(self) -> bool:
        """Whether the peer is to read before it says more."""

    @property
    def has_many_requests(self) -> bool:
        """Whether what it asked for is to be done before it says more."""

    def take_slice(self, data: bytes, start: int) -> int:
        """Work off some of `data` from `start` on; where the next slice begins."""

    def stop_reading(self) -> None:
        """Receive nothing more until told to."""

    def read_again(self) -> None:
        """Receive again."""

    def abort(self) -> None:
        """End at once, whatever waits."""


class ReadQueue:
    """All connections of a connector that are not read just as they send.

    `over_rate(connection, limit)`: it was over that rate for too long, and is to be ended.
    """

    def __init__(
        self,
        reactor: Clock,
        rates: Rates,
        counts: LimitCounts,
        over_rate: Callable[[Any, str], None],
    ) -> None:
        self.is_busy = False  # whatever comes now waits for its turn
        self._is_stopped = False
        self.waiting_bytes = 0  # of all connections
        self._reactor = reactor
        self._rates = SessionRates(rates)
        self._counts = counts
        self._over_rate = over_rate
        self._ready = self._line()
        self._busy = self._line(rests=LONG_RESTS)
        self.newcomers = Newcomers(reactor, self._take_turn, self._failed)
        self.large_requests = LargeRequests(reactor)
        self.request_places = Places(reactor, REQUESTS_AT_A_TIME)
        self._requests = _line_of_requests(reactor)
        self._busy_requests = _line_of_requests(reactor, rests=LONG_RESTS)
        self._aside: dict[ReadConnection, None] = {}
        self._frames_at_once = 0
        self._requests_at_once = 0
        self._calm = Debounced(reactor, 0, self._calm_down)
        self._look = Debounced(reactor, ASIDE_SECONDS, self._look_aside)
        self._put_off: list[ReadConnection] = []
        self._resume_put_off = Debounced(reactor, ASIDE_SECONDS, self._read_put_off)

    def _line(self, rests: float = 0.0) -> Line[ReadConnection]:
        return Line(
            self._reactor,
            self._take_turn,
            self._failed,
            bytes_per_turn=BYTES_PER_TURN,
            seconds_per_turn=SECONDS_PER_TURN,
            rests=rests,
        )

    def stop(self) -> None:
        self._is_stopped = True
        for line in (self._ready, self._busy, self.newcomers):
            line.stop()
        for line_of_requests in (self._requests, self._busy_requests):
            for turn in line_of_requests.stop():
                turn.callback(None)
        self.request_places.stop()
        self.large_requests.stop()
        self._calm.cancel()
        self._look.cancel()
        self._resume_put_off.cancel()

    @property
    def paused_count(self) -> int:
        """Connections that wait for their turn or aside."""
        lined_up = len(self._ready) + len(self._busy) + len(self.newcomers)
        return lined_up + len(self._aside)

    def turn_of(self, connection: ReadConnection) -> Deferred[None] | None:
        """When a connection that asks for something may begin its next request; None: now. It
        waits when it has sent much, or when many requests have begun at once."""
        if self._is_stopped:
            return None
        line = self._busy_requests
        if not self._rates.has_used_much(connection, self._reactor.seconds()):
            self._requests_at_once += 1
            if self._requests_at_once <= REQUESTS_AT_ONCE_PER_TURN:
                return None
            self._calm.request()
            line = self._requests
        turn: Deferred[None] = Deferred()
        line.append(turn)
        return turn

    # What connections tell

    def received(self, connection: ReadConnection, data: bytes) -> None:
        """More than a slice came, or something while others wait, or from a newcomer."""
        paused = connection.paused
        if paused is not None:
            self.waiting_bytes += len(data)
            paused.data = paused.data[paused.start :] + data if paused.waiting_bytes else data
            paused.start = 0
            self._stop(connection, paused)
            return
        waits = (
            self.is_busy
            or connection.is_newcomer
            or self._rates.has_used_much(connection, self._reactor.seconds())
        )
        start = 0 if waits else connection.take_slice(data, 0)
        if start == len(data) or not connection.is_read:
            return
        paused = connection.paused
        if paused is None:
            self._enter(connection, PausedReading(data, start))
        else:  # the slice was too much already
            self.waiting_bytes += len(data) - start
            paused.data, paused.start = data, start

    def charge(
        self, connection: ReadConnection, frames: int, size_bytes: int, now: float | None = None
    ) -> None:
        """What was just worked off counts for the rates of `connection`; `now`: when that began."""
        if now is None:
            now = self._reactor.seconds()
        else:
            self._rates.took(connection, self._reactor.seconds() - now, now)
        self._frames_at_once += frames
        if self._frames_at_once > FRAMES_AT_ONCE_PER_TURN and not self.is_busy:
            self.is_busy = True
            self._calm.request()
        self._rates.take(connection, frames, size_bytes, now)
        if (
            connection.paused is None
            and connection.is_read
            and self._rates.has_used_much(connection, now)
        ):
            self._enter(connection, PausedReading(b"", 0))

    def check(self, connection: ReadConnection) -> None:
        """Something waits for `connection`, or no longer waits: stop or resume reading it."""
        if connection.paused is None:
            if self._limit_over(connection) is not None and connection.is_read:
                self._enter(connection, PausedReading(b"", 0))
        elif connection in self._aside:
            self._look_at(connection, connection.paused)

    def put_off(self, connection: ReadConnection) -> None:
        """What came is of no use, or of none yet, and counts for nothing: it is not read for a
        while, so that what comes next comes together."""
        connection.stop_reading()
        self._put_off.append(connection)
        self._resume_put_off.request()

    def _read_put_off(self) -> None:
        put_off, self._put_off = self._put_off, []
        for connection in put_off:
            self._guarded(connection, connection.read_again)

    def forget(self, connection: ReadConnection) -> None:
        """It is lost, or no longer read."""
        self._rates.forget(connection)
        paused, connection.paused = connection.paused, None
        if paused is not None:
            self.waiting_bytes -= paused.waiting_bytes
            self._aside.pop(connection, None)  # among those that are ready it is passed over

    # Pausing

    @staticmethod
    def _stop(connection: ReadConnection, paused: PausedReading) -> None:
        if not paused.stopped:
            paused.stopped = True
            connection.stop_reading()

    def _enter(self, connection: ReadConnection, paused: PausedReading) -> None:
        """Let it wait for its turn, or aside."""
        if connection.paused is None:
            connection.paused = paused
            self.waiting_bytes += paused.waiting_bytes
            if paused.start or not paused.data:
                self._stop(connection, paused)  # else it has sent little, and waits for a moment
        limit = paused.limit = self._limit_over(connection)
        if limit is not None:
            self._counts.acted[limit] += 1
            self._stop(connection, paused)
            self._aside[connection] = None
            self._look.request()
        elif connection.is_newcomer:
            self.newcomers.append(connection)
        elif self._rates.has_used_much(connection, self._reactor.seconds()):
            self._busy.append(connection)
        else:
            self._ready.append(connection)

    def _limit_over(self, connection: ReadConnection) -> str | None:
        if connection.has_unread_answers:
            return UNREAD_ANSWERS
        if connection.has_many_requests:
            return WAITING_REQUESTS
        return self._rates.limit_over(connection, self._reactor.seconds())

    # Turns

    def _calm_down(self) -> None:
        self.is_busy = False
        self._frames_at_once = 0
        self._requests_at_once = 0

    def _take_turn(self, connection: ReadConnection) -> int | None:
        """Work off one slice of it; its bytes."""
        paused = connection.paused
        if paused is None or paused.limit is not None:
            return None  # it was lost, or waits aside
        done = 0
        if paused.waiting_bytes:
            end = connection.take_slice(paused.data, paused.start)
            done = end - paused.start
            paused.start = end
        if connection.paused is paused:  # else it was forgotten, with all that waited
            self.waiting_bytes -= done
            if not connection.is_read:
                self.forget(connection)
            elif paused.waiting_bytes or self._limit_over(connection) is not None:
                self._enter(connection, paused)
            else:
                connection.paused = None
                if paused.stopped:
                    connection.read_again()
        return done

    def _failed(self, connection: ReadConnection) -> None:
        """An error of the server ends the connection whose turn it was, and no other."""
        self.forget(connection)
        connection.abort()

    def _guarded(self, connection: ReadConnection, act: Callable[..., None], *given: Any) -> None:
        """What is done for one of several connections, all of which get their turn."""
        try:
            act(*given)
        except Exception:
            log.failure(
                "A connection that waited could not be handled", event="connection.wait_failed"
            )
            self._failed(connection)

    def _look_aside(self) -> None:
        """Look at all that wait aside: one that is under its limit again gets a turn."""
        for connection in list(self._aside):
            if connection.paused is not None:
                self._guarded(connection, self._look_at, connection, connection.paused)
        if self._aside:
            self._look.request()

    def _look_at(self, connection: ReadConnection, paused: PausedReading) -> None:
        limit = self._limit_over(connection)
        if not connection.is_read:
            self.forget(connection)
            return
        rate = paused.limit
        over_seconds = self._rates.over_seconds(connection, self._reactor.seconds())
        if rate in _RATES and over_seconds >= OVER_RATE_SECONDS:
            self._counts.ended[rate] += 1
            self.forget(connection)
            self._over_rate(connection, rate)
        elif limit is None:
            del self._aside[connection]
            self._enter(connection, paused)
        elif limit != paused.limit:
            paused.limit = limit
            self._counts.acted[limit] += 1


def _line_of_requests(reactor: Clock, rests: float = 0.0) -> Line[Deferred[None]]:
    return Line(
        reactor,
        _begin,
        _ignore,
        bytes_per_turn=BYTES_PER_TURN,
        seconds_per_turn=SECONDS_PER_TURN,
        rests=rests,
    )


def _begin(turn: Deferred[None]) -> int:
    turn.callback(None)
    return 0


def _ignore(turn: Deferred[None]) -> None:
    """The request that waited for its turn handles its own errors."""

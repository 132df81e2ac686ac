"""What time it is on the Redis servers, and how long they take to answer: asked once a second.

`ServerClock` is a floor that is never ahead, and between two answers it runs slower than time does.
To measure milliseconds this is too coarse; here the time of an answer is that of its middle.
"""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.runtime.timers import Periodic

log = Logger()

INTERVAL_SECONDS = 1.0
# An answer that took longer says little of the time; after so many such answers it is taken.
GOOD_ANSWER_SECONDS = 0.02
MAX_BAD_ANSWERS = 30


class _ServerTime:
    """One server, and how long it took to answer last."""

    def __init__(self, server: RedisClient) -> None:
        self.server = server
        self.answer_ms: float | None = None
        self.bad_answers = 0


class ServerTimes:
    """The clocks of all servers, by their numbers."""

    def __init__(self, reactor: Clock, shards: Shards) -> None:
        self._reactor = reactor
        self.seconds = reactor.seconds
        self._servers = [_ServerTime(server) for server in shards]
        # Of each server its clock less ours, None while nothing is known.
        self._ahead_us: list[int | None] = [None] * len(self._servers)
        self._asking = Periodic(reactor, INTERVAL_SECONDS, self._ask_all, _log_failure)

    def start(self) -> None:
        self._asking.start(now=True)

    def stop(self) -> None:
        self._asking.stop()

    def ahead_us(self, number: int) -> int:
        """How far the clock of server `number` is ahead of `seconds`, in microseconds."""
        ahead_us = self._ahead_us[number]
        if ahead_us is not None:
            return ahead_us
        now_us = self._servers[number].server.clock.now_us()
        return now_us - int(self.seconds() * MICROSECONDS)

    @property
    def answer_ms(self) -> list[float | None]:
        """How long each server took to answer last; None for one that did not."""
        return [server.answer_ms for server in self._servers]

    async def _ask_all(self) -> None:
        await gather([self._ask(number) for number in range(len(self._servers))])

    async def _ask(self, number: int) -> None:
        time = self._servers[number]
        began = self.seconds()
        try:
            seconds, microseconds = await time.server.command("TIME")
        except StoreUnavailable:
            time.answer_ms = None
            return
        took = self.seconds() - began
        time.answer_ms = round(took * 1000, 3)
        time.bad_answers += 1
        if (
            took <= GOOD_ANSWER_SECONDS
            or self._ahead_us[number] is None
            or time.bad_answers > MAX_BAD_ANSWERS
        ):
            server_us = int(seconds) * MICROSECONDS + int(microseconds)
            self._ahead_us[number] = server_us - int((began + took / 2) * MICROSECONDS)
            time.bad_answers = 0


def _log_failure(failure: Failure) -> None:
    log.failure(
        "The time of the Redis servers could not be asked",
        failure=failure,
        event="redis.time_failed",
    )

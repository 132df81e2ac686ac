"""The master behind sentinels: asked for, listened for, and never an older one than is known.

All sentinels are asked, and the answer of the highest configuration epoch holds: the majority that
decides on a fail-over gives it a new epoch, so a sentinel that was cut off and is behind cannot
lead us back to the old master, which may be up again and call itself a master for a while. One
sentinel announces a switch (`+switch-master`); asking every few seconds finds what that misses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import txredisapi
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.connection.availability import Availability
from push.redis.connection.errors import NoMaster
from push.redis.connection.protocols import ChannelHandlers, CommandProtocol, SubscriberProtocol
from push.redis.connection.supervised import (
    ProtocolFactory,
    SupervisedConnection,
    endpoint_of,
    explained,
    greet,
)
from push.redis.connection.url import RedisAddress, SentinelAddress
from push.runtime.ports import Clock, TrustRoot
from push.runtime.tasks import TaskGroup, within
from push.runtime.timers import Periodic
from push.wire.addresses import HostPort

log = Logger()

SWITCHES = b"+switch-master"
# The two together, with the retries of a connection, are well below the ten seconds in which we
# follow.
ANSWER_SECONDS = 1.5
POLL_SECONDS = 3.0


class MasterReport(NamedTuple):
    """What a sentinel says. The order is that of trust: the highest epoch is the best."""

    epoch: int
    host: str
    port: int
    sentinel: RedisAddress


class Sentinels:
    """Knows the master. `moved` is called with it when it has changed.

    `problem` says why a fail-over could not be followed now; "" when it could.
    """

    def __init__(
        self,
        reactor: Clock,
        address: SentinelAddress,
        *,
        timeout_seconds: float,
        moved: Callable[[RedisAddress], None],
        trust_root: TrustRoot | None = None,
    ) -> None:
        self.problem = ""
        self._reactor = reactor
        self._address = address
        self._trust_root = trust_root
        self._moved = moved
        self._master: RedisAddress | None = None
        self._epoch = 0
        self._jobs = TaskGroup()
        self._polls = Periodic(reactor, POLL_SECONDS, self._look, _log_failure)
        self._news = Availability(reactor, f"{address} (news of fail-overs)")
        handlers = ChannelHandlers({SWITCHES: self._announced})
        self._listener: SupervisedConnection[SubscriberProtocol] = SupervisedConnection(
            reactor,
            self._locate_sentinel,
            lambda lost: SubscriberProtocol(reactor.seconds, lost, handlers),
            self._listen,
            name=str(address),
            purpose="news of fail-overs",
            timeout_seconds=timeout_seconds,
            trust_root=trust_root,
            availability=self._news,
            on_up=self._listening,
        )

    def start(self) -> None:
        self._listener.start()
        self._polls.start()

    async def stop(self) -> None:
        self._polls.stop()
        self._jobs.cancel()
        await self._listener.stop()

    async def locate(self) -> RedisAddress:
        """The master, asked for now. Raises `NoMaster`. Whether it is one, it must say itself."""
        best = await self._ask_all()
        return self._address.at(best.host, best.port)

    async def _ask_all(self) -> MasterReport:
        asked = [
            within(
                ANSWER_SECONDS, self._reactor, Deferred.fromCoroutine(self._ask(sentinel)), _late
            )
            for sentinel in self._address.sentinels
        ]
        results: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
        try:
            best = self._newest(results)
        except NoMaster as error:
            self._log_change(str(error))
            raise
        self._log_change("")
        master = self._address.at(best.host, best.port)
        if master != self._master:
            log.info(
                "Sentinel: the master {name} is {at}",
                name=self._address.master,
                at=master,
                event="sentinel.master",
            )
            self._master = master
            self._moved(master)
        return best

    def _newest(self, results: list[tuple[bool, Any]]) -> MasterReport:
        answers: list[MasterReport] = [answer for succeeded, answer in results if succeeded]
        if not answers:
            reasons = [
                f"{HostPort(sentinel.host, sentinel.port)}: {_reason(failure)}"
                for sentinel, (_, failure) in zip(self._address.sentinels, results, strict=True)
            ]
            raise NoMaster(
                f"no sentinel names the master {self._address.master} ({'; '.join(reasons)})"
            )
        best = max(answers)
        unanimous = len(answers) == len(results) and len({a[1:3] for a in answers}) == 1
        # All of them together may have been set up again: then their epochs start from zero.
        if best.epoch < self._epoch and not unanimous:
            raise NoMaster(
                f"the sentinels that answer do not know of the last fail-over (they are at epoch "
                f"{best.epoch}, and {self._epoch} was seen)"
            )
        self._epoch = best.epoch
        return best

    async def _ask(self, sentinel: RedisAddress) -> MasterReport:
        """One question on a connection of its own."""
        endpoint = endpoint_of(sentinel, self._reactor, ANSWER_SECONDS, self._trust_root)
        factory = ProtocolFactory(lambda: CommandProtocol(self._reactor.seconds, lambda _: None))
        protocol: CommandProtocol = await endpoint.connect(factory)
        try:
            await _greet_sentinel(protocol, sentinel)
            # The epoch first: in the middle of a fail-over it is new before the address is.
            state = protocol.call("SENTINEL", "MASTER", self._address.master)
            where = protocol.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.master)
            (_, fields), (_, place) = await DeferredList([state, where], consumeErrors=True)
            for answer in (fields, place):
                if isinstance(answer, Failure):
                    answer.raiseException()
        except Exception as error:
            raise explained(error, protocol) from None
        finally:
            assert protocol.transport is not None
            protocol.transport.abortConnection()
        if not place:
            raise NoMaster("it names none")
        epoch = dict(zip(fields[::2], fields[1::2], strict=True))[b"config-epoch"]
        return MasterReport(int(epoch), place[0].decode(), int(place[1]), sentinel)

    # News of a fail-over

    async def _locate_sentinel(self) -> RedisAddress:
        return (await self._ask_all()).sentinel

    async def _listen(self, protocol: SubscriberProtocol) -> None:
        await protocol.call(b"SUBSCRIBE", SWITCHES)

    def _listening(self) -> None:
        self._news.all_up()
        self._look()  # it may have happened before we listened

    def _announced(self, payload: bytes) -> None:
        if payload.split(b" ", 1)[0] == self._address.master.encode():
            self._look()

    def _look(self) -> None:
        self._jobs.run(self._ask_again(), _log_failure)

    async def _ask_again(self) -> None:
        try:
            await self._ask_all()
        except NoMaster:
            return  # it was logged

    def _log_change(self, problem: str) -> None:
        """Log one line when no sentinel names the master, and one when one does again."""
        if problem and not self.problem:
            log.error(
                "Redis at {name}: {problem}. Asking again until one does.",
                name=str(self._address),
                problem=problem,
                event="sentinel.no_master",
            )
        elif self.problem and not problem:
            log.info(
                "Redis at {name}: a sentinel names the master again",
                name=str(self._address),
                event="sentinel.master_named",
            )
        self.problem = problem


async def _greet_sentinel(protocol: CommandProtocol, sentinel: RedisAddress) -> None:
    """Log in. The password of the servers is offered to sentinels too, which often have none."""
    try:
        await greet(protocol, sentinel)
    except txredisapi.ResponseError as error:
        if "without any password configured" not in str(error):
            raise


def _late() -> NoMaster:
    return NoMaster(f"no answer within {ANSWER_SECONDS:g} s")


def _reason(failure: Failure) -> str:
    return failure.getErrorMessage().rstrip(".") or type(failure.value).__name__


def _log_failure(failure: Failure) -> None:
    log.failure("The sentinels could not be asked", failure=failure, event="sentinel.asking_failed")

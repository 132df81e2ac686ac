"""Asking other processes: all connectors, all processes, or some by their boot ids.

A question goes out on a channel that its audience subscribes to; the answers come on a channel of
the process that asks. It ends when as many have answered as Redis says have received it, or at
the deadline: a process that is paused has received it, one that was killed has not. Nodes that the
directory lists and that did not answer are named, and so are those that it has listed in the last
minutes and that still receive: they were paused for longer than their lease.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.seen_processes import SeenProcesses
from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.subscribed_channels import subscribed_in_time
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup, gather
from push.runtime.timers import Debounced, Periodic
from push.wire.errors import shortened

log = Logger()

CHANNEL = "connectors"
PROCESSES_CHANNEL = "processes"
DEADLINE_SECONDS = 2.0
# For processes that received a question and that the directory does not list: connectors that have
# just started, or whose lease has lapsed. They may answer, but are not waited for as long as the
# others.
UNLISTED_SECONDS = 0.25
LOOK_SECONDS = 5.0  # how often to look which processes are listed

Handler = Callable[[bytes], Awaitable[Any]]
Listed = Callable[[], Mapping[str, str]]


class Everybody(Enum):
    """Audiences that need no list. A process counts once, whatever daemons it is."""

    CONNECTORS = CHANNEL
    PROCESSES = PROCESSES_CHANNEL


ALL_CONNECTORS = Everybody.CONNECTORS
ALL_PROCESSES = Everybody.PROCESSES


class Boots(frozenset[str]):
    """The processes with these boot ids. One that is neither listed nor there is not missed."""


Audience = Everybody | Boots


class SurveyQuestion(msgspec.Struct):
    """`until_us`: after this time, by the server's clock, nobody waits for an answer any more, and
    what the question asks for must not be done, but for kinds that say otherwise (`handle`)."""

    id: str
    reply_to: str
    kind: str
    until_us: int
    body: msgspec.Raw


class SurveyAnswer(msgspec.Struct):
    """What the process of `boot`, on the node `node`, says; `failed`: it could not."""

    id: str
    boot: str
    node: str
    failed: bool = False
    body: msgspec.Raw = msgspec.Raw(b"null")


class SurveyResult(NamedTuple):
    """The answers as JSON, each with its node's name; and the nodes that did not answer."""

    answers: list[tuple[str, bytes]]
    silent: list[str]


class _OpenSurvey:
    """One question while its answers come. `thorough`: see `Survey.ask`."""

    def __init__(self, clock: Clock, listed: Mapping[str, str], thorough: bool) -> None:
        self.listed = listed
        self.thorough = thorough
        self.answers: dict[str, SurveyAnswer] = {}
        self.receivers: int | None = None
        self.over: Deferred[None] = Deferred()
        self._unlisted = Debounced(clock, UNLISTED_SECONDS, self.end)

    def look(self) -> None:
        """More is known: end now, or soon if only such are missing as nobody lists."""
        if self.is_complete:
            self.end()
        elif self.thorough:
            pass
        elif self.has_all_listed and not self.over.called:
            self._unlisted.request()

    @property
    def is_complete(self) -> bool:
        """Whether there is nobody left to wait for."""
        if self.thorough and not self.has_all_listed:
            return False
        return self.receivers is not None and len(self.answers) >= self.receivers

    @property
    def lacks_receivers(self) -> bool:
        """Whether somebody has received it and not answered."""
        return (self.receivers or 0) > len(self.answers)

    @property
    def has_all_listed(self) -> bool:
        return self.receivers is not None and self.answers.keys() >= self.listed.keys()

    def end(self) -> None:
        self._unlisted.cancel()
        if not self.over.called:
            self.over.callback(None)

    def result(self) -> SurveyResult:
        good = [(a.node, bytes(a.body)) for a in self.answers.values() if not a.failed]
        failed = {answer.node for answer in self.answers.values() if answer.failed}
        missing = {node for boot, node in self.listed.items() if boot not in self.answers}
        return SurveyResult(good, sorted(failed | missing))


class Survey:
    """Asks, for one process (`boot`).

    `connectors()` and `processes()`: those that the directory lists, boot id → name of the node.
    """

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        connectors: Listed,
        boot: str,
        *,
        processes: Listed | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.server = server
        self._reactor = reactor
        self._server = server
        self._connectors = connectors
        self._processes = processes or connectors
        self._name = f"answers:{boot}"
        self._deadline_seconds = deadline_seconds
        self._open: dict[str, _OpenSurvey] = {}
        self._seen = SeenProcesses(reactor, self._processes)
        self._seen_connectors = SeenProcesses(reactor, connectors)
        self._looking = Periodic(reactor, LOOK_SECONDS, self._look, _log_failure)

    def start(self) -> None:
        """Receive answers from now on; a question does so as well."""
        self._looking.start(now=True)
        self._server.channels.subscribe(self._name, self._receive)

    def stop(self) -> None:
        """Open questions end with the answers that are there."""
        self._looking.stop()
        self._server.channels.unsubscribe(self._name)
        for collecting in list(self._open.values()):
            collecting.end()

    async def ask(
        self,
        kind: str,
        body: object,
        audience: Audience = ALL_CONNECTORS,
        *,
        thorough: bool = False,
    ) -> SurveyResult:
        """Ask the audience. `body` and the answers are what msgspec can make JSON of.

        `thorough`: wait until the deadline for a process that is listed although Redis says that it
        does not receive, and for one that receives although it is not listed. After the deadline no
        process that did not answer takes its copies of shared state for fresh any more
        (`push.redis.shared_copy`); so this is the way to ask that such copies be given up.

        Raises `StoreUnavailable`; if it is `unknown`, some may have received it.
        """
        await self._subscribe()
        id = secrets.token_hex(8)
        collecting = self._open[id] = _OpenSurvey(self._reactor, self._listed(audience), thorough)
        until_us = self._server.clock.now_us() + int(self._deadline_seconds * MICROSECONDS)
        raw = msgspec.Raw(msgspec.json.encode(body))
        question = msgspec.json.encode(SurveyQuestion(id, self._name, kind, until_us, raw))
        deadline = None
        try:
            published = [
                self._server.command("PUBLISH", self._server.channel(name), question)
                for name in _channels_of(audience)
            ]
            collecting.receivers = sum(map(int, await gather(published)))
            # From now on and not from before: a slow answer of Redis takes nothing from the time
            # after which a copy is no longer fresh.
            deadline = self._reactor.callLater(self._deadline_seconds, collecting.end)
            collecting.look()
            await collecting.over
        finally:
            del self._open[id]
            collecting.end()
            if deadline is not None and deadline.active():
                deadline.cancel()
        if self._server.problem is not None and not collecting.is_complete:
            raise StoreUnavailable(self._server.problem, unknown=True)
        answers, silent = collecting.result()
        if collecting.lacks_receivers:
            paused = await self._paused(audience, collecting.answers)
            silent = sorted({*silent, *paused})
        return SurveyResult(answers, silent)

    def _look(self) -> None:
        self._seen.look()
        self._seen_connectors.look()

    async def _paused(self, audience: Audience, answers: Mapping[str, SurveyAnswer]) -> list[str]:
        """Nodes of processes that received a question although nobody lists them any more."""
        seen = self._seen_connectors if audience is ALL_CONNECTORS else self._seen
        asked = {
            boot: node
            for boot, node in seen.unlisted().items()
            if boot not in answers and (not isinstance(audience, Boots) or boot in audience)
        }
        # Nobody acts on a question whose time is over; it tells who subscribes.
        over = SurveyQuestion("", self._name, "", 0, msgspec.Raw(b"null"))
        question = msgspec.json.encode(over)
        try:
            received = await gather(
                self._server.command("PUBLISH", self._server.channel(name), question)
                for name in _channels_of(Boots(asked))
            )
        except StoreUnavailable:
            return []  # the answers that came are not lost for that
        return [asked[boot] for boot, n in zip(sorted(asked), received, strict=True) if int(n)]

    def _listed(self, audience: Audience) -> dict[str, str]:
        if audience is ALL_CONNECTORS:
            return dict(self._connectors())
        listed = self._processes()
        if isinstance(audience, Boots):
            return {boot: listed[boot] for boot in audience if boot in listed}
        return dict(listed)

    async def _subscribe(self) -> None:
        subscribed = self._server.channels.subscribe(self._name, self._receive)
        await subscribed_in_time(subscribed, self._server.timeout_seconds, self._reactor)

    def _receive(self, payload: bytes) -> None:
        try:
            answer = msgspec.json.decode(payload, type=SurveyAnswer)
        except (msgspec.DecodeError, RecursionError):
            log.warn(
                "An answer could not be read: {payload!r}",
                payload=payload[:200],
                event="cluster.answer_unreadable",
            )
            return
        collecting = self._open.get(answer.id)
        if collecting is None:
            return  # too late
        collecting.answers[answer.boot] = answer
        collecting.look()


class SurveyHandler:
    """Answers for the process of `boot`, by the handlers that are registered.

    A handler gets the question's body as JSON; one that fails is logged, and the answer says so.
    """

    def __init__(
        self, server: RedisClient, boot: str, node: str, *, is_connector: bool = True
    ) -> None:
        self._server = server
        self._boot = boot
        self._node = node
        self._channels = [*_channels_of(Boots([boot])), PROCESSES_CHANNEL]
        if is_connector:
            self._channels.append(CHANNEL)
        self._handlers: dict[str, Handler] = {}
        self._even_late: set[str] = set()
        self._jobs = TaskGroup()

    def handle(self, kind: str, handler: Handler, *, even_late: bool = False) -> None:
        """`even_late`: also what nobody waits for any more must be done, as soon as it can be."""
        self._handlers[kind] = handler
        if even_late:
            self._even_late.add(kind)

    def start(self) -> Deferred[None]:
        """Fires when this process receives questions."""
        subscribing = [
            self._server.channels.subscribe(name, self._receive) for name in self._channels
        ]
        return DeferredList(subscribing).addCallback(lambda _: None)

    def stop(self) -> None:
        for name in self._channels:
            self._server.channels.unsubscribe(name)
        self._jobs.cancel()

    def _receive(self, payload: bytes) -> None:
        try:
            question = msgspec.json.decode(payload, type=SurveyQuestion)
        except (msgspec.DecodeError, RecursionError):
            log.warn(
                "A question could not be read: {payload!r}",
                payload=payload[:200],
                event="cluster.question_unreadable",
            )
            return
        is_late = self._server.clock.now_us() > question.until_us
        if is_late and question.kind not in self._even_late:
            return  # this process was paused: the asking process knows that by now
        self._jobs.run(self._answer(question), _log_failure)

    async def _answer(self, question: SurveyQuestion) -> None:
        answer = SurveyAnswer(question.id, self._boot, self._node, failed=True)
        handler = self._handlers.get(question.kind)
        if handler is None:
            log.warn(
                "unknown kind of question: {kind}",
                kind=shortened(question.kind, 64),
                event="cluster.question_unknown",
            )
        else:
            try:
                found = await handler(bytes(question.body))
                answer.body, answer.failed = msgspec.Raw(msgspec.json.encode(found)), False
            except CancelledError:
                raise  # this process stops
            except StoreUnavailable as error:
                log.debug(
                    "A question was not answered: {reason}",
                    reason=error.reason,
                    event="cluster.question_not_answered",
                )
            except Exception:
                log.failure(
                    "A question of kind {kind} failed",
                    kind=question.kind,
                    event="cluster.question_failed",
                )
        channel = self._server.channel(question.reply_to)
        try:
            await self._server.command("PUBLISH", channel, msgspec.json.encode(answer))
        except StoreUnavailable as error:
            log.debug(
                "An answer was not sent: {reason}",
                reason=error.reason,
                event="cluster.answer_not_sent",
            )


def _channels_of(audience: Audience) -> list[str]:
    if isinstance(audience, Boots):
        return [f"questions:{boot}" for boot in sorted(audience)]
    return [audience.value]


def _log_failure(failure: Failure) -> None:
    log.failure("A question could not be answered", failure=failure, event="cluster.answer_failed")

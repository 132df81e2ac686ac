"""Asking every connector at once.

A question goes out on one channel that all connectors hear; the answers come back on a channel of
the process that asks. It is over when as many have answered as Redis says have heard it, or when
the deadline has passed: a node that is paused has heard it, one that was killed has not. Who the
directory lists and who did not answer is named.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisServer
from push.redis.clock import MICROSECONDS
from push.redis.errors import StoreUnavailable
from push.runtime.tasks import Jobs
from push.wire.errors import shortened

log = Logger()

CHANNEL = "connectors"
DEADLINE_SECONDS = 2.0
# For those who heard a question and whom the directory does not list: connectors that have just
# started, or whose lease has lapsed. They may answer, but are not waited for as long as the others.
UNLISTED_SECONDS = 0.25

Handler = Callable[[bytes], Awaitable[Any]]
Connectors = Callable[[], Mapping[str, str]]


class Question(msgspec.Struct):
    """`until_us`: after this time, by the server's clock, nobody waits for an answer any more, and
    what the question asks for must not be done."""

    id: str
    reply_to: str
    kind: str
    until_us: int
    body: msgspec.Raw


class Answer(msgspec.Struct):
    """What the connector of `boot`, named `node`, says; `failed`: it could not."""

    id: str
    boot: str
    node: str
    failed: bool = False
    body: msgspec.Raw = msgspec.Raw(b"null")


class Asked(NamedTuple):
    """The answers as JSON, each with its node's name; and the nodes that did not answer."""

    answers: list[tuple[str, bytes]]
    silent: list[str]


class _Collecting:
    """One question while its answers come."""

    def __init__(self, listed: Mapping[str, str]) -> None:
        self.listed = listed
        self.answers: dict[str, Answer] = {}
        self.heard: int | None = None
        self.over: Deferred[None] = Deferred()
        self._unlisted: Any = None

    def look(self, reactor: Any) -> None:
        """More is known: end now, or soon if only such are missing as nobody lists."""
        if self.is_complete:
            self.end()
        elif self.has_all_listed and self._unlisted is None and not self.over.called:
            self._unlisted = reactor.callLater(UNLISTED_SECONDS, self.end)

    @property
    def is_complete(self) -> bool:
        """Whether nobody is left who could answer."""
        return self.heard is not None and len(self.answers) >= self.heard

    @property
    def has_all_listed(self) -> bool:
        return self.heard is not None and self.answers.keys() >= self.listed.keys()

    def end(self) -> None:
        if self._unlisted is not None and self._unlisted.active():
            self._unlisted.cancel()
        if not self.over.called:
            self.over.callback(None)

    def result(self) -> Asked:
        good = [(a.node, bytes(a.body)) for a in self.answers.values() if not a.failed]
        failed = {answer.node for answer in self.answers.values() if answer.failed}
        missing = {node for boot, node in self.listed.items() if boot not in self.answers}
        return Asked(good, sorted(failed | missing))


class Asker:
    """Asks, for one process (`boot`). `connectors()`: who the directory lists, boot id → name."""

    def __init__(
        self,
        reactor: Any,
        server: RedisServer,
        connectors: Connectors,
        boot: str,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._connectors = connectors
        self._name = f"answers:{boot}"
        self._deadline_seconds = deadline_seconds
        self._open: dict[str, _Collecting] = {}

    def start(self) -> None:
        """Hear answers from now on; a question does so as well."""
        self._server.hear(self._name, self._receive)

    def stop(self) -> None:
        """What is being asked ends with the answers that are there."""
        self._server.unhear(self._name)
        for collecting in list(self._open.values()):
            collecting.end()

    async def ask(self, kind: str, body: Any) -> Asked:
        """Ask all connectors. `body` and the answers are what msgspec can make JSON of.

        Raises `StoreUnavailable`; if it is `unknown`, some may have heard it.
        """
        await self._hear()
        id = secrets.token_hex(8)
        collecting = self._open[id] = _Collecting(dict(self._connectors()))
        until_us = self._server.clock.now_us() + int(self._deadline_seconds * MICROSECONDS)
        raw = msgspec.Raw(msgspec.json.encode(body))
        question = msgspec.json.encode(Question(id, self._name, kind, until_us, raw))
        deadline = self._reactor.callLater(self._deadline_seconds, collecting.end)
        try:
            heard = await self._server.command("PUBLISH", self._server.channel(CHANNEL), question)
            collecting.heard = int(heard)
            collecting.look(self._reactor)
            await collecting.over
        finally:
            del self._open[id]
            collecting.end()
            if deadline.active():
                deadline.cancel()
        if self._server.problem is not None and not collecting.is_complete:
            raise StoreUnavailable(self._server.problem, unknown=True)
        return collecting.result()

    async def _hear(self) -> None:
        heard = self._server.hear(self._name, self._receive)
        heard.addTimeout(self._server.timeout_seconds, self._reactor)
        try:
            await heard
        except DeferredTimeout:
            raise StoreUnavailable("Redis confirmed no subscription in time") from None

    def _receive(self, payload: bytes) -> None:
        try:
            answer = msgspec.json.decode(payload, type=Answer)
        except (msgspec.DecodeError, RecursionError):
            log.warn("An answer could not be read: {payload!r}", payload=payload[:200])
            return
        collecting = self._open.get(answer.id)
        if collecting is None:
            return  # too late
        collecting.answers[answer.boot] = answer
        collecting.look(self._reactor)


class Answerer:
    """Answers for the connector of `boot`, by the handlers that are registered.

    A handler gets the question's body as JSON; one that fails is logged, and the answer says so.
    """

    def __init__(self, server: RedisServer, boot: str, node: str) -> None:
        self._server = server
        self._boot = boot
        self._node = node
        self._handlers: dict[str, Handler] = {}
        self._jobs = Jobs()

    def handle(self, kind: str, handler: Handler) -> None:
        self._handlers[kind] = handler

    def start(self) -> Deferred[None]:
        """Fires when questions are heard."""
        return self._server.hear(CHANNEL, self._receive)

    def stop(self) -> None:
        self._server.unhear(CHANNEL)
        self._jobs.cancel()

    def _receive(self, payload: bytes) -> None:
        try:
            question = msgspec.json.decode(payload, type=Question)
        except (msgspec.DecodeError, RecursionError):
            log.warn("A question could not be read: {payload!r}", payload=payload[:200])
            return
        if self._server.clock.now_us() > question.until_us:
            return  # this process stood still: whoever asked has been told so
        self._jobs.run(self._answer(question), _log_failure)

    async def _answer(self, question: Question) -> None:
        answer = Answer(question.id, self._boot, self._node, failed=True)
        handler = self._handlers.get(question.kind)
        if handler is None:
            log.warn(
                "A question of kind {kind} is not known here", kind=shortened(question.kind, 64)
            )
        else:
            try:
                found = await handler(bytes(question.body))
                answer.body, answer.failed = msgspec.Raw(msgspec.json.encode(found)), False
            except Exception:
                log.failure("A question of kind {kind} failed", kind=question.kind)
        channel = self._server.channel(question.reply_to)
        try:
            await self._server.command("PUBLISH", channel, msgspec.json.encode(answer))
        except StoreUnavailable as error:
            log.debug("An answer was not sent: {reason}", reason=error.reason)


def _log_failure(failure: Failure) -> None:
    log.failure("A question could not be answered", failure=failure)

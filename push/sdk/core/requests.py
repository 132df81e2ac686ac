"""PUBLISH requests: those that wait for a session or for a free number, and what became of them;
and the topics that are subscribed to by them, again where that is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from push.sdk.core.connection import ClientConnection, ConnectionEnded
from push.sdk.core.pending import Pending
from push.sdk.errors import ConnectionFailed, RequestRefused
from push.sdk.logs import log
from push.session.client import RequestNotPossible
from push.session.client.events import RequestAnswered
from push.wire.signals import RequestName

REQUEST_SECONDS = 30.0
UNANSWERED = frozenset({RequestName.TP})  # usually sent with message id 0
# Refused with one of these, the same message may be taken a moment later.
PASSING_CODES = frozenset({"unavailable", "in_progress"})
PASSING_SECONDS = 1.0
RESTORE_AGAIN_SECONDS = 5.0

JSON = dict[str, object]


def request_number(request: str | int) -> int:
    """The sub-signal of a request given by name or number; raises `ValueError`."""
    if isinstance(request, int):
        if not 0 <= request <= 0x7F:
            raise ValueError(f"a request's number is 0 … 127, not {request}")
        return request
    try:
        return RequestName[request]
    except KeyError:
        raise ValueError(
            f"unknown request {request!r}: {', '.join(RequestName.__members__)}"
        ) from None


@dataclass(slots=True)
class ClientRequest:
    """`resend`: sent twice it does what it does once. Then a lost connection and a refusal that
    passes do not end it: it is sent again, until its caller gives up.
    """

    number: int
    body: msgspec.Raw
    resend: bool = False
    pending: Pending[JSON] = field(default_factory=Pending)
    not_before: float = 0.0


class ClientRequests:
    """In the order in which they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[ClientRequest] = []
        self._sent: list[ClientRequest] = []

    def ask(self, request: ClientRequest) -> Pending[JSON]:
        """The answer's members. Fails with `RequestRefused` and `ConnectionFailed`. A caller that
        gives up waiting fails it."""
        self._waiting.append(request)
        return request.pending

    def send_due(self, connection: ClientConnection) -> None:
        """What the session accepts now."""
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            if request.pending.done:
                continue
            if request.not_before > connection.now or not connection.may_ask:
                self._waiting.append(request)
            else:
                self._send(request, connection)

    def next_deadline(self) -> float | None:
        """When one that the server refused for a while may be sent again."""
        later = [each.not_before for each in self._waiting if each.not_before]
        return min(later, default=None)

    def connection_ended(self) -> None:
        """What was sent and may be sent twice goes first on the next connection."""
        again = [each for each in self._sent if not each.pending.done]
        self._sent = []
        self._waiting = again + self._waiting

    def fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            request.pending.fail(error)

    def _send(self, request: ClientRequest, connection: ClientConnection) -> None:
        try:
            if request.number in UNANSWERED:
                connection.publish_unanswered(request.number, request.body)
                request.pending.resolve({})
                return
            answer = connection.publish(request.number, request.body)
        except RequestNotPossible as error:
            request.pending.fail(RequestRefused("too_large", str(error)))
            return
        self._sent.append(request)
        answer.then(lambda answer: self._answered(request, answer, connection))

    def _answered(
        self, request: ClientRequest, answer: Pending[RequestAnswered], connection: ClientConnection
    ) -> None:
        if isinstance(answer.error, ConnectionEnded):
            if not request.resend:
                request.pending.fail(ConnectionFailed(answer.error.reason))
            return  # else `connection_ended` follows
        self._sent.remove(request)
        try:
            request.pending.resolve(members_of(answer.result()))
        except RequestRefused as refused:
            if not request.resend or refused.code not in PASSING_CODES:
                request.pending.fail(refused)
                return
            request.not_before = connection.now + (refused.after_seconds or PASSING_SECONDS)
            self._waiting.insert(0, request)


def members_of(answer: RequestAnswered) -> JSON:
    """What an answer says, without `ok`. Raises `RequestRefused`."""
    if not answer.ok:
        raise RequestRefused(
            answer.code or "internal",
            answer.detail,
            field=answer.field,
            after_seconds=answer.after_seconds,
        )
    return {name: value for name, value in answer.body.items() if name != "ok"}


class ClientTopics:
    """Of each topic it is remembered who follows it: the device, or, for a user without one, that
    session. Another, after a registration or a reconnect, does not yet: then `subscribe(topic)`
    asks for it, one after the other.
    """

    def __init__(self, subscribe: Callable[[str], Pending[JSON]]) -> None:
        self._subscribe = subscribe
        self._followers: dict[str, str] = {}
        self._follower = ""
        self._missing: list[str] = []
        self._refused: list[str] = []
        self._asked: Pending[JSON] | None = None
        self._again_at: float | None = None
        self._now = 0.0

    def followed(self, topic: str) -> None:
        """The session follows it."""
        self._followers[topic] = self._follower

    def forget(self, topic: str) -> None:
        self._followers.pop(topic, None)

    def begin_session(self, follower: str, now: float) -> None:
        self._now = now
        self._follower = follower
        self._missing = [topic for topic, known in self._followers.items() if known != follower]
        self._ask_next()

    def end_session(self) -> None:
        asked, self._asked = self._asked, None
        self._missing, self._refused, self._again_at = [], [], None
        if asked is not None:
            asked.fail(ConnectionFailed("the session is over"))

    def next_deadline(self) -> float | None:
        return self._again_at

    def tick(self, now: float) -> None:
        self._now = now
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            self._missing, self._refused = self._refused, []
            self._ask_next()

    def _ask_next(self) -> None:
        while self._missing:
            topic = self._missing.pop(0)
            if topic in self._followers:  # not left meanwhile
                self._asked = self._subscribe(topic)
                self._asked.then(partial(self._answered, topic))
                return
        if self._refused:
            self._again_at = self._now + RESTORE_AGAIN_SECONDS

    def _answered(self, topic: str, asked: Pending[JSON]) -> None:
        if asked is not self._asked:
            return  # the next session asks
        self._asked = None
        if isinstance(asked.error, ConnectionFailed):
            return
        if isinstance(asked.error, RequestRefused):
            log.warning("the topic %s is not followed any more: %s", topic, asked.error)
            if asked.error.after_seconds is not None:
                self._refused.append(topic)
        elif topic in self._followers:
            self._followers[topic] = self._follower
        self._ask_next()

"""What an application asks of a client's core: requests, topics, checks, acknowledgements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

import msgspec

from push.sdk.core.actions import ClientState
from push.sdk.core.attempt import Attempt, AttemptPhase
from push.sdk.core.connection import ClientConnection
from push.sdk.core.identity import ClientIdentity
from push.sdk.core.pending import Pending, Waiters
from push.sdk.core.renewal import send_renewal
from push.sdk.core.requests import JSON, ClientRequest, ClientRequests, ClientTopics
from push.sdk.credentials import Credentials
from push.sdk.encoding import encode_json
from push.sdk.errors import ClientClosed, NotStarted
from push.sdk.message import Inbox
from push.session.client.events import Connected, MessageReceived
from push.wire.signals import RequestName

T = TypeVar("T")


class ClientCalls(ABC):
    """The part of a core that its shell's public methods call. What is asked for without a session
    waits for one.
    """

    def __init__(self, identity: ClientIdentity) -> None:
        settings = identity.settings
        self.identity = identity
        self.inbox = Inbox(settings.queue_messages, automatic=settings.acks == "auto")
        self.state = ClientState.IDLE
        self.state_detail = ""
        self.error: Exception | None = None
        self.session: Connected | None = None
        self.is_started = False
        self._requests = ClientRequests()
        self._topics = ClientTopics(self._ask_for_topic)
        self._sessions: Waiters[Connected] = Waiters()
        self._pairs: Waiters[Credentials] = Waiters()
        self._attempt: Attempt | None = None
        self._plan_at: float | None = None  # when the next try is due
        self._not_before = 0.0  # what the server asked for
        self._hurries = False  # the next try is to wait only for what the server asked for

    @abstractmethod
    def tick(self, now: float) -> None:
        """Do what is due."""

    def why_over(self) -> Exception | None:
        """What a call raises that would never end."""
        if self.error is not None:
            return self.error
        if self.state is ClientState.CLOSED:
            return ClientClosed("closed")
        return None if self.is_started else NotStarted("not_started")

    def when_connected(self) -> Pending[Connected]:
        """The open session, as soon as there is one. Fails with what stopped the client."""
        return self._when(self.session, self._sessions)

    def when_registered(self) -> Pending[Credentials]:
        return self._when(self.identity.credentials, self._pairs)

    def publish(
        self, number: int, body: object, now: float, *, resend: bool = False
    ) -> Pending[JSON]:
        """As soon as there is a session; see `ClientRequests.ask`. Raises `InvalidData`."""
        content = msgspec.Raw(encode_json(body, "body"))
        if (over := self.why_over()) is not None:
            return Pending.failed(over)
        pending = self._requests.ask(ClientRequest(number, content, resend))
        self._send_requests(now)
        return pending

    def subscribe(self, topic: str, now: float) -> Pending[JSON]:
        """Follow a topic, and subscribe again where another session does not follow it yet."""
        pending = self.publish(RequestName.TS, {"topic": topic}, now)
        pending.then(lambda asked: None if asked.error else self._topics.followed(topic))
        return pending

    def unsubscribe(self, topic: str, now: float) -> Pending[JSON]:
        self._topics.forget(topic)
        return self.publish(RequestName.TU, {"topic": topic}, now)

    def renew(self, jwt: str) -> Pending[int | None]:
        """AUTH, as soon as there is a session: the expiry, in ms."""
        expires: Pending[int | None] = Pending()
        self.when_connected().then(lambda session: self._renew(jwt, session, expires))
        return expires

    def _renew(self, jwt: str, session: Pending[Connected], expires: Pending[int | None]) -> None:
        connection = None if self._attempt is None else self._attempt.connection
        if session.error is not None:
            expires.fail(session.error)
        elif connection is not None and not expires.done:
            send_renewal(connection, jwt, expires)

    def check(self, now: float) -> Pending[bool]:
        """The network may have changed: whether the server answers within 3 s. Else, and when the
        client waits for its next try, it connects at once, though not earlier than the server
        asked for.
        """
        connection = self._open_connection(now)
        if connection is not None:
            checked = connection.check()
            checked.then(self._checked)
            return checked
        if self._plan_at is not None:
            self._plan_at = min(self._plan_at, max(now, self._not_before))
            self.tick(now)
        return Pending.resolved(False)

    def _checked(self, checked: Pending[bool]) -> None:
        self._hurries = not checked.result()

    def change_network(self, name: str, now: float) -> None:
        self.identity.heartbeat.network = name
        if (connection := self._open_connection(now)) is not None:
            connection.session.change_network(now)

    def acknowledge(self, message: MessageReceived) -> None:
        """On the present connection, or in memory for the copy that comes on the next."""
        if self._attempt is not None and self._attempt.connection is not None:
            self._attempt.connection.session.acknowledge(message)
        else:
            self.identity.finished(message)

    def release(self, message: MessageReceived) -> None:
        self.inbox.release(message)
        self.identity.deliveries.released(message.id)

    # --- Parts of these ---

    def _open_connection(self, now: float) -> ClientConnection | None:
        attempt = self._attempt
        if attempt is None or attempt.phase is not AttemptPhase.OPEN or attempt.connection is None:
            return None
        attempt.connection.now = now
        return attempt.connection

    def _send_requests(self, now: float) -> None:
        if (connection := self._open_connection(now)) is not None:
            self._requests.send_due(connection)

    def _ask_for_topic(self, topic: str) -> Pending[JSON]:
        content = msgspec.Raw(encode_json({"topic": topic}))
        return self._requests.ask(ClientRequest(RequestName.TS, content))

    def _when(self, known: T | None, waiters: Waiters[T]) -> Pending[T]:
        if known is not None:
            return Pending.resolved(known)
        if (over := self.why_over()) is not None:
            return Pending.failed(over)
        return waiters.join()

"""A device's client without I/O: a `Machine` that connects, stays connected, and answers requests.

`push.session.client` is the protocol of one connection, `push.sdk.reconnect` decides what comes
next; this file performs it by actions, which a shell carries out, and keeps what the application
sees: the queue, the state, the requests that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from push.sdk.core.actions import (
    Action,
    AskServers,
    ClientState,
    MakeJWT,
    ReportState,
)
from push.sdk.core.attempt import Attempt, Phase
from push.sdk.core.connection import ClientConnection, ConnectionEnded
from push.sdk.core.identity import ClientIdentity, JWTRenewal
from push.sdk.core.inbox import Inbox
from push.sdk.core.pending import Pending
from push.sdk.core.requests import JSON, ClientRequest, ClientRequests
from push.sdk.core.settings import ClientSettings
from push.sdk.core.topics import ClientTopics
from push.sdk.credentials import Credentials
from push.sdk.dialing import Address
from push.sdk.encoding import check_text, encode_json
from push.sdk.errors import (
    ClientClosed,
    ConnectionFailed,
    InvalidData,
    NotStarted,
    RequestRefused,
)
from push.sdk.logs import log
from push.sdk.reconnect import NextStep, Policy, ReconnectPlan
from push.session.client import RequestNotPossible
from push.session.client.events import AuthAnswer, Connected, MessageReceived
from push.wire.signals import RequestName

T = TypeVar("T")


class ClientCore:
    """`on_change` is called when something happened that somebody may wait for: a message, another
    state, a new pair.
    """

    def __init__(
        self, settings: ClientSettings, sdk_name: str, on_change: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.identity = ClientIdentity(settings, sdk_name)
        self.policy = Policy(
            settings.addresses,
            settings.abilities,
            settings.random,
            plain_allowed=settings.plain_allowed,
        )
        self.inbox = Inbox(settings.queue_messages, automatic=settings.acks == "auto")
        self.state = ClientState.IDLE
        self.state_detail = ""
        self.error: Exception | None = None
        self.session: Connected | None = None
        self.is_started = False
        self._on_change = on_change
        self._requests = ClientRequests()
        self._topics = ClientTopics(self._ask_for_topic)
        self._actions: list[Action] = []
        self._attempt: Attempt | None = None
        self._renewal: JWTRenewal | None = None
        self._plan: ReconnectPlan | None = None  # waits for its time, or for the hang-up
        self._plan_at: float | None = None
        self._not_before = 0.0  # what the server asked for
        self._makes_jwt = False
        self._is_closing = self._is_hanging_up = False
        self._hurries = False  # the next try is to wait only for what the server asked for
        self._sessions: list[Pending[Connected]] = []
        self._pairs: list[Pending[Credentials]] = []

    @property
    def is_over(self) -> bool:
        return self.state in (ClientState.CLOSED, ClientState.FAILED)

    # --- What the application asks for --------------------------------------------------------

    def start(self, now: float) -> None:
        self.is_started = True
        self._begin(self.policy.start(), now)

    def close(self, now: float) -> None:
        """Say `bye`. `is_over` when that is done."""
        if self.is_over or self._is_closing:
            return
        self._is_closing = True
        self._plan_at = None
        if self._attempt is not None:
            self._leave(None)
        else:
            self._end(ClientState.CLOSED, None)

    def why_over(self) -> Exception | None:
        """What a call raises that would wait for ever."""
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
            try:
                connection.renew(jwt).then(lambda answer: _renewed(answer, expires))
            except RequestNotPossible as error:
                expires.fail(RequestRefused("too_large", str(error)))

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

    # --- What the shell reports ---------------------------------------------------------------

    def tick(self, now: float) -> None:
        if self._plan_at is not None and now >= self._plan_at:
            self._plan_at = None
            self._perform(now)
        if self._attempt is not None:
            self._attempt.tick(now)
        if self._renewal is not None and self._renewal.take_due(now):
            self.identity.jwt = None
            self._make_jwt()
        self._topics.tick(now)
        self._send_requests(now)

    def dialed(self, address: Address, now: float) -> None:
        if self._attempt is not None:
            self._attempt.dialed(address, now)

    def dial_failed(self, error: ConnectionFailed, now: float) -> None:
        if self._attempt is not None:
            self._attempt.dial_failed(error, now)

    def receive_data(self, data: bytes, now: float) -> None:
        if self._attempt is not None and self._attempt.connection is not None:
            self._attempt.connection.receive_data(data, now)
        self._send_requests(now)

    def connection_lost(self, reason: str, now: float) -> None:
        if self._attempt is not None and self._attempt.connection is not None:
            self._attempt.connection.lost(reason, now)

    def hung_up(self, now: float) -> None:
        self._attempt = None
        self._is_hanging_up = False
        plan, self._plan = self._plan, None
        if self._is_closing and self.error is None:
            self._end(ClientState.CLOSED, None)
        elif self.error is not None:
            self._end(ClientState.FAILED, self.error)
        elif plan is not None:
            self._begin(plan, now)

    def jwt_made(self, jwt: str, now: float) -> None:
        self._makes_jwt = False
        try:
            self.identity.jwt = check_text(jwt, "jwt")
        except InvalidData as error:
            self.jwt_failed(error, now)
            return
        if self._attempt is not None and self._attempt.phase is Phase.MAKING_JWT:
            self._attempt.jwt_made()
        elif self._renewal is not None:
            self.renew(jwt).then(lambda renewed: self._jwt_renewed(jwt, renewed, now))

    def jwt_failed(self, error: Exception, now: float) -> None:
        self._makes_jwt = False
        if self._attempt is not None and self._attempt.phase is Phase.MAKING_JWT:
            self._attempt.jwt_failed(error, now)
        else:
            log.warning("the JWT was not renewed: %s", error)

    def stored(self, credentials: Credentials, now: float) -> None:
        self.identity.credentials = credentials
        self.registered()
        if self._attempt is not None:
            self._attempt.stored(credentials)

    def registered(self) -> None:
        """There is a pair, or another connection registers no more."""
        if self.identity.credentials is not None:
            waiting, self._pairs = self._pairs, []
            for pair in waiting:
                pair.resolve(self.identity.credentials)
        self._on_change()

    def servers_found(self, urls: list[str], now: float) -> None:
        if not self.policy.allowed(urls):
            self.state_detail = f"GET /v1/servers names none that this client may use: {urls}"[:300]
        self._begin(self.policy.servers_found(urls), now)

    def servers_failed(self, reason: str, now: float) -> None:
        self.state_detail = f"GET /v1/servers: {reason}"
        self._begin(self.policy.servers_failed(), now)

    def failed(self, error: Exception, now: float) -> None:
        """The application's own code raised, or a setting cannot work: the client ends."""
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.is_over or self.error is not None:
            log.warning("the application raised after the client's end", exc_info=error)
            return
        self.error = error
        self._plan_at = None
        if self._attempt is not None:
            self._leave(None)
        else:
            self._end(ClientState.FAILED, error)

    def abandon(self, error: Exception) -> None:
        """The shell has failed: nothing can be carried out any more."""
        self._attempt = None
        if not self.is_over:
            self._end(ClientState.FAILED, error)

    # --- What the shell is to do --------------------------------------------------------------

    def take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def data_to_send(self) -> bytes:
        if self._attempt is None or self._attempt.connection is None:
            return b""
        return self._attempt.connection.session.data_to_send()

    def next_deadline(self) -> float | None:
        deadlines = [self._plan_at, self._topics.next_deadline()]
        if self._attempt is not None:
            deadlines.append(self._attempt.next_deadline())
        if self._renewal is not None:
            deadlines.append(self._renewal.due_at)
        if self.session is not None:
            deadlines.append(self._next_request_at())
        return min((each for each in deadlines if each is not None), default=None)

    def _next_request_at(self) -> float | None:
        connection = None if self._attempt is None else self._attempt.connection
        if connection is None or not connection.may_ask:
            return None
        return self._requests.next_deadline()

    # --- Plans --------------------------------------------------------------------------------

    def _begin(self, plan: ReconnectPlan, now: float) -> None:
        if plan.do is NextStep.STOP:
            assert plan.error is not None
            self._end(ClientState.FAILED, plan.error)
            return
        self._plan = plan
        delay = plan.asked_seconds if self._hurries else plan.delay_seconds
        self._hurries = False
        if delay > 0:
            self._plan_at = now + delay
            self._not_before = now + plan.asked_seconds
            self._set_state(ClientState.WAITING, self.state_detail)
            log.info("trying again in %.1f s (%s)", delay, self.state_detail)
        else:
            self._perform(now)

    def _perform(self, now: float) -> None:
        plan, self._plan = self._plan, None
        assert plan is not None
        if plan.do is NextStep.ASK_SERVERS:
            self._set_state(ClientState.CONNECTING, f"asking {self.settings.servers_url}")
            self._actions.append(AskServers())
            return
        if plan.do is NextStep.REGISTER:
            self.identity.forget_device()
        if plan.do is NextStep.RENEW and callable(self.settings.jwt):
            self.identity.jwt = None
        assert plan.server is not None
        self._set_state(ClientState.CONNECTING, str(plan.server))
        attempt = self._attempt = Attempt(self.identity, plan.server, self.policy, self._emit)
        attempt.on_open = self._opened
        attempt.on_over = self._attempt_over
        attempt.on_failed = self._fail
        attempt.on_message = self._on_message
        attempt.begin()

    def _emit(self, action: Action) -> None:
        if isinstance(action, MakeJWT):
            self._make_jwt()
        else:
            self._actions.append(action)

    def _make_jwt(self) -> None:
        """One at a time: an answer that comes late is as good for the next connection."""
        if not self._makes_jwt:
            self._makes_jwt = True
            self._actions.append(MakeJWT())

    # --- The session --------------------------------------------------------------------------

    def _opened(self, session: Connected) -> None:
        attempt = self._attempt
        assert attempt is not None
        assert attempt.connection is not None
        now = attempt.connection.now
        self.session = session
        self._set_state(ClientState.CONNECTED, str(attempt.server))
        if callable(self.settings.jwt):
            self._renewal = JWTRenewal(session.time_ms, now)
            self._renewal.schedule(self.identity.jwt or "", now)
        waiting, self._sessions = self._sessions, []
        for pending in waiting:
            pending.resolve(session)
        self._topics.begin_session(self._follower(session), now)
        self._send_requests(now)

    def _on_message(self, event: MessageReceived) -> None:
        self.inbox.put(event)
        self._on_change()

    def _follower(self, session: Connected) -> str:
        """What follows the subscriptions of `session`; `streams` is for sessions without a
        device."""
        if session.streams is not None:
            return f"session {session.session}"
        pair = self.identity.credentials
        return f"device {pair.token}" if pair else "device of the JWT"

    def _ask_for_topic(self, topic: str) -> Pending[JSON]:
        content = msgspec.Raw(encode_json({"topic": topic}))
        return self._requests.ask(ClientRequest(RequestName.TS, content))

    def _jwt_renewed(self, jwt: str, renewed: Pending[int | None], now: float) -> None:
        """If it fails the session goes on to its old expiry, and the server says so then."""
        if renewed.error is not None:
            log.warning("the JWT was not renewed: %s", renewed.error)
        elif self._renewal is not None:
            self._renewal.schedule(jwt, now)

    def _open_connection(self, now: float) -> ClientConnection | None:
        attempt = self._attempt
        if attempt is None or attempt.phase is not Phase.OPEN or attempt.connection is None:
            return None
        attempt.connection.now = now
        return attempt.connection

    def _send_requests(self, now: float) -> None:
        if (connection := self._open_connection(now)) is not None:
            self._requests.send_due(connection)

    # --- Ends ---------------------------------------------------------------------------------

    def _attempt_over(self, plan: ReconnectPlan) -> None:
        assert self._attempt is not None
        attempt, was_open = self._attempt, self.session is not None
        self.state_detail = attempt.detail
        self._leave(plan)
        if was_open and plan.do is not NextStep.STOP:
            # Else it ends here, and nothing is waited for.
            self._set_state(ClientState.WAITING, attempt.detail)

    def _leave(self, plan: ReconnectPlan | None) -> None:
        """Hang up; `plan` comes after that."""
        assert self._attempt is not None
        self._plan = plan
        if self._is_hanging_up:
            return
        self._is_hanging_up = True
        self.session = self._renewal = None
        self._actions.append(self._attempt.leave())
        self._topics.end_session()
        self._requests.connection_ended()
        self._on_change()

    def _end(self, state: ClientState, error: Exception | None) -> None:
        self.error = error
        self._plan = self._plan_at = None
        self._set_state(state, "" if error is None else str(error))
        over = self.why_over()
        assert over is not None
        self._requests.fail(over)
        for session in self._sessions:
            session.fail(over)
        for pair in self._pairs:
            pair.fail(over)
        self._sessions, self._pairs = [], []
        self._on_change()

    def _set_state(self, state: ClientState, detail: str = "") -> None:
        self.state, self.state_detail = state, detail
        log.debug("%s %s", state.value, detail)
        if self.settings.on_state is not None:
            self._actions.append(ReportState(state, detail))
        self._on_change()

    def _when(self, known: T | None, waiting: list[Pending[T]]) -> Pending[T]:
        if known is not None:
            return Pending.resolved(known)
        if (over := self.why_over()) is not None:
            return Pending.failed(over)
        pending: Pending[T] = Pending()
        waiting[:] = [*(each for each in waiting if not each.done), pending]
        return pending


def _renewed(answer: Pending[AuthAnswer], expires: Pending[int | None]) -> None:
    if isinstance(answer.error, ConnectionEnded):
        expires.fail(ConnectionFailed(answer.error.reason))
        return
    said = answer.result()
    if said.ok:
        expires.resolve(said.expires_ms)
    else:
        expires.fail(RequestRefused(said.code or "unauthenticated", said.detail))

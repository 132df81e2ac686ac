"""A device's client without I/O: a `Machine` that connects, stays connected, and answers requests.

`push.session.client` is the protocol of one connection, `push.sdk.reconnect` decides what comes
next; this file performs it by actions, which a shell carries out, and keeps what the application
sees: the queue, the state, the requests that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from push.sdk.core.actions import (
    Action,
    AskServers,
    ClientState,
    MakeJWT,
    ReportState,
)
from push.sdk.core.attempt import Attempt, AttemptPhase
from push.sdk.core.calls import ClientCalls
from push.sdk.core.identity import ClientIdentity
from push.sdk.core.renewal import JWTRenewal
from push.sdk.core.settings import ClientSettings
from push.sdk.credentials import Credentials
from push.sdk.dialing import Address
from push.sdk.errors import (
    ConnectionFailed,
    InvalidData,
)
from push.sdk.logs import log
from push.sdk.reconnect import NextStep, Policy, ReconnectPlan
from push.session.client.events import Connected, MessageReceived

T = TypeVar("T")


class ClientCore(ClientCalls):
    """`on_change` is called when something happened that somebody may wait for: a message, another
    state, a new pair.
    """

    def __init__(
        self, settings: ClientSettings, sdk_name: str, on_change: Callable[[], None]
    ) -> None:
        super().__init__(ClientIdentity(settings, sdk_name))
        self.settings = settings
        self.policy = Policy(
            settings.addresses,
            settings.abilities,
            settings.random,
            plain_allowed=settings.plain_allowed,
        )
        self._on_change = on_change
        self._actions: list[Action] = []
        self._renewal = JWTRenewal(self.identity, lambda: self._actions.append(MakeJWT()))
        self._plan: ReconnectPlan | None = None  # waits for its time, or for the hang-up
        self._is_closing = self._is_hanging_up = False

    @property
    def is_over(self) -> bool:
        return self.state in (ClientState.CLOSED, ClientState.FAILED)

    # --- Life --------------------------------------------------------

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

    # --- What the shell reports ---------------------------------------------------------------

    def tick(self, now: float) -> None:
        if self._plan_at is not None and now >= self._plan_at:
            self._plan_at = None
            self._perform(now)
        if self._attempt is not None:
            self._attempt.tick(now)
        self._renewal.tick(now)
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
        try:
            self._renewal.made(jwt, now)
        except InvalidData as error:
            self.jwt_failed(error, now)
            return
        if self._attempt is not None and self._attempt.phase is AttemptPhase.MAKING_JWT:
            self._attempt.jwt_made()

    def jwt_failed(self, error: Exception, now: float) -> None:
        self._renewal.not_made(error)
        if self._attempt is not None and self._attempt.phase is AttemptPhase.MAKING_JWT:
            self._attempt.jwt_failed(error, now)

    def stored(self, credentials: Credentials, now: float) -> None:
        self.identity.credentials = credentials
        self.registered()
        if self._attempt is not None:
            self._attempt.stored(credentials)

    def registered(self) -> None:
        """There is a pair, or another connection does not register any longer."""
        if self.identity.credentials is not None:
            self._pairs.resolve(self.identity.credentials)
        self._on_change()

    def servers_found(self, urls: list[str], now: float) -> None:
        if self.is_over:
            return  # closed meanwhile
        if not self.policy.allowed(urls):
            self.state_detail = f"GET /v1/servers names none that this client may use: {urls}"[:300]
        self._begin(self.policy.servers_found(urls), now)

    def servers_failed(self, reason: str, now: float) -> None:
        if self.is_over:
            return
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
        deadlines = [
            self._plan_at,
            self._topics.next_deadline(),
            self._renewal.next_deadline(),
        ]
        if self._attempt is not None:
            deadlines.append(self._attempt.next_deadline())
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
        if plan.do is NextStep.RENEW:
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
            self._renewal.make()
        else:
            self._actions.append(action)

    # --- The session --------------------------------------------------------------------------

    def _opened(self, session: Connected) -> None:
        attempt = self._attempt
        assert attempt is not None
        assert attempt.connection is not None
        now = attempt.connection.now
        self.session = session
        self._set_state(ClientState.CONNECTED, str(attempt.server))
        self._renewal.begin_session(attempt.connection, session.time_ms)
        self._sessions.resolve(session)
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
        self.session = None
        self._renewal.end_session()
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
        self._sessions.fail(over)
        self._pairs.fail(over)
        self._on_change()

    def _set_state(self, state: ClientState, detail: str = "") -> None:
        self.state, self.state_detail = state, detail
        log.debug("%s %s", state.value, detail)
        if self.settings.on_state is not None:
            self._actions.append(ReportState(state, detail))
        self._on_change()

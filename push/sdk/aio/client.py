"""A device in asyncio. It stays connected by itself and hands out messages through iteration.

Who does what: `push.session.client` is the protocol, `push.sdk.reconnect` decides what comes next,
this file performs it and owns what the application sees: the queue, the state, the credentials.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random as random_module
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from push.sdk.address import ServerAddress
from push.sdk.aio.attempt import Attempt, ClientIdentity
from push.sdk.aio.chat import ChatClient
from push.sdk.aio.message import Message, message_of
from push.sdk.aio.requests import ClientRequests
from push.sdk.backend import AsyncPushAPI
from push.sdk.backend.exchange import check_url
from push.sdk.credentials import Credentials
from push.sdk.encoding import check_seconds
from push.sdk.errors import (
    AlreadyStarted,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    NotStarted,
    OtherProcess,
    PushAPIError,
    PushAPIUnreachable,
)
from push.sdk.logs import log
from push.sdk.message import TRUNCATED
from push.sdk.reconnect import NextStep, Policy, ReconnectPlan
from push.sdk.settings import Acks, JWTSource, make_settings
from push.session.client.events import Connected
from push.session.client.events import MessageReceived as MessageEvent

QUEUE_MESSAGES = 1024
CONNECT_SECONDS = 10.0

OnCredentials = Callable[[Credentials], None] | Callable[[Credentials], Awaitable[None]]


class ClientState(Enum):
    """Where the client is. The detail that comes with it says why, for people."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    CLOSED = "closed"
    FAILED = "failed"


class PushClient(ChatClient, ClientRequests):
    """A device or a user's client.

    `servers`: URLs `tls://host:port` or `tcp://host:port`, tried in order. `servers_url`: the
    HTTP API to ask for servers (with `key`) when none is given or redirects lead nowhere.
    `token` and `secret`: the device. `jwt`: a user; a string, or a callable (plain or async) that
    makes a new one whenever it is needed. `key`: an app's key: registers when there is no token, or
    when the server no longer knows it; `on_credentials` stores what it got.
    TLS is always verified: by the system's CAs, by `ca_file`, or by the pinned `fingerprint`.
    `heartbeat`: seconds, `window`: messages, `max_frame`: bytes; the server may give less.
    `acks`: "auto" acknowledges a message when the next one is asked for (and the last one when the
    `async with` block ends well); "explicit" leaves it to `await message.ack()`.
    A message that is `truncated` is the news that unread messages of its stream are gone.
    `on_state(state, detail)` is called at every change. One task iterates; use "explicit" for
    several.
    """

    def __init__(
        self,
        servers: Sequence[str] | str = (),
        *,
        token: str | None = None,
        secret: str | None = None,
        jwt: JWTSource | None = None,
        key: str | None = None,
        platform: str = "python",
        app: str = "push-sdk",
        device: str | None = None,
        servers_url: str | None = None,
        ca_file: str | None = None,
        fingerprint: str | None = None,
        heartbeat: int | None = None,
        window: int | None = None,
        max_frame: int | None = None,
        acks: Acks = "auto",
        on_credentials: OnCredentials | None = None,
        on_state: Callable[[ClientState, str], None] | None = None,
        queue_messages: int = QUEUE_MESSAGES,
        connect_seconds: float = CONNECT_SECONDS,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        super().__init__()
        self._settings = make_settings(
            servers,
            token=token,
            secret=secret,
            jwt=jwt,
            key=key,
            platform=platform,
            app=app,
            device=device,
            servers_url=servers_url,
            ca_file=ca_file,
            fingerprint=fingerprint,
            heartbeat=heartbeat,
            window=window,
            max_frame=max_frame,
            acks=acks,
        )
        if self._settings.servers_url is not None:
            check_url(self._settings.servers_url)
        check_seconds(connect_seconds, "connect_seconds")
        pair = Credentials(token, secret) if token is not None and secret is not None else None
        self._visitor = ClientIdentity(self._settings, pair, self._on_message, connect_seconds)
        self._policy = Policy(
            self._settings.servers,
            self._settings.abilities,
            random,
            plain_allowed=self._settings.plain_allowed,
        )
        self._on_credentials = on_credentials
        self._on_state = on_state
        self._queue_messages = queue_messages
        self._queue: deque[MessageEvent] = deque()
        self._in_hand: Message | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._process: int | None = None  # the one that started this client
        self._error: Exception | None = None
        self._state = ClientState.IDLE
        self.state_detail = ""
        self.dropped_messages = 0

    @property
    def state(self) -> ClientState:
        return self._state

    @property
    def credentials(self) -> Credentials | None:
        """The device's pair, once there is one."""
        return self._visitor.credentials

    # --- Life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """After a block that ended well the message in hand counts as done."""
        if kind is None and not self._in_other_process:
            self._acknowledge_in_hand()
        await self.close()

    def start(self) -> None:
        """Begin to connect, in the background. `async with` does it.

        Raises `AlreadyStarted`.
        """
        if self._task is not None:
            raise AlreadyStarted("a PushClient runs once; make another")
        self._process = os.getpid()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Say `bye` and stop. Messages not acknowledged come again next time.

        After a fork it does nothing in the child: the connection is the parent's.
        """
        if self._in_other_process:
            return
        if self._task is None:
            self._set_state(ClientState.CLOSED)
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._state is not ClientState.FAILED:
            self._set_state(ClientState.CLOSED)

    async def wait_connected(self) -> Connected:
        """The open session, as soon as there is one. Raises what stopped the client."""
        self._check_process()
        while self.session is None:
            self._raise_if_over()
            await self._changed()
        return self.session

    async def register(self) -> Credentials:
        """The device's pair, after a registration when there is none yet.

        Without `async with` it makes a connection for this alone and stores the pair in the client.
        Raises `RegistrationFailed`, `ConnectionFailed`, `CertificateUntrusted`, and
        `ConfigurationError` for a client without `key`, or one that runs as a user.
        """
        self._check_process()
        if self.credentials is None and self._settings.key is None:
            raise ConfigurationError("register: give the client a `key`")
        if self._task is not None:
            if self.credentials is None and not self._visitor.must_register:
                raise ConfigurationError("register: before `async with` when there is a `jwt`")
            while self.credentials is None:
                self._raise_if_over()
                await self._changed()
            return self.credentials
        if self.credentials is None:
            await self._visitor.register_once(await self._servers(), self._store)
        assert self.credentials is not None
        return self.credentials

    # --- Messages -------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        self._check_process()
        self._acknowledge_in_hand()
        while True:
            if self._error is not None:
                raise self._error
            if self._state is ClientState.CLOSED:
                raise StopAsyncIteration
            if self._queue:
                message = message_of(self._queue.popleft(), self._finish, self._release)
                if self._settings.acks == "auto":
                    self._in_hand = message
                return message
            await self._changed()

    def _acknowledge_in_hand(self) -> None:
        message, self._in_hand = self._in_hand, None
        if message is not None:
            message._finish()

    def _on_message(self, event: MessageEvent) -> None:
        """A full queue drops QoS 0, which may be lost, and nothing else.

        What has a message id would come again later, after messages that were sent later; the
        server's window bounds how much there is of it. A truncation is told only once.
        """
        may_be_lost = not event.number and event.kind != TRUNCATED
        if may_be_lost and len(self._queue) >= self._queue_messages:
            self.dropped_messages += 1
            return
        self._queue.append(event)
        self._wake.set()

    def _finish(self, event: MessageEvent) -> None:
        self._check_process()
        self._visitor.acknowledge(event)

    def _release(self, event: MessageEvent) -> None:
        self._check_process()
        if self._in_hand is not None and self._in_hand.event is event:
            self._in_hand = None
        self._visitor.deliveries.released(event.id)

    # --- The task -------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            plan = self._policy.start()
            while plan.do is not NextStep.STOP:
                plan = await self._perform(plan)
            assert plan.error is not None
            self._fail(plan.error)
        except Exception as error:  # the application's own callbacks raise what they like
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._set_state(ClientState.FAILED, str(error))

    async def _perform(self, plan: ReconnectPlan) -> ReconnectPlan:
        if plan.delay_seconds > 0:
            await self._wait(plan.delay_seconds)
        if plan.do is NextStep.ASK_SERVERS:
            return await self._ask_servers()
        if plan.do is NextStep.REGISTER:
            self._visitor.forget_device()
        if plan.do is NextStep.RENEW:
            self._visitor.forget_jwt()
        assert plan.server is not None
        self._set_state(ClientState.CONNECTING, str(plan.server))
        visit = self._visitor.visit(plan.server, self._policy)
        try:
            outcome = await visit.open(self._store)
            if isinstance(outcome, Connected):
                self._visit, self.session = visit, outcome
                self._set_state(ClientState.CONNECTED, str(plan.server))
                outcome = await self._stay(visit, outcome)
                self.session = None
                if outcome.do is not NextStep.STOP:  # else it ends here, and nothing is waited for
                    self._set_state(ClientState.WAITING, visit.detail)
            self.state_detail = visit.detail
            return outcome
        finally:
            self._visit = self.session = None
            await visit.close()

    async def _stay(self, visit: Attempt, session: Connected) -> ReconnectPlan:
        """Until the visit ends; topics that this session does not know are subscribed to again."""
        restoring = asyncio.ensure_future(self._restore(visit, session))
        try:
            return await visit.stay()
        finally:
            restoring.cancel()
            await asyncio.wait([restoring])

    async def _wait(self, seconds: float) -> None:
        detail = self.state_detail
        self._set_state(ClientState.WAITING, detail)
        log.info("trying again in %.1f s (%s)", seconds, detail)
        await asyncio.sleep(seconds)

    async def _store(self, credentials: Credentials) -> None:
        """A new pair: the application stores it before it is used, so that it cannot be lost."""
        if self._on_credentials is not None:
            stored = self._on_credentials(credentials)
            if inspect.isawaitable(stored):
                await stored
        self._visitor.credentials = credentials
        self._wake.set()

    async def _ask_servers(self) -> ReconnectPlan:
        self._set_state(ClientState.CONNECTING, f"asking {self._settings.servers_url}")
        try:
            urls = await self._fetch_servers()
        except (PushAPIError, PushAPIUnreachable) as error:
            self.state_detail = f"GET /v1/servers: {error}"
            return self._policy.servers_failed()
        if not self._policy.allowed(urls):
            self.state_detail = f"GET /v1/servers names none that this client may use: {urls}"[:300]
        return self._policy.servers_found(urls)

    async def _fetch_servers(self) -> list[str]:
        settings = self._settings
        assert settings.servers_url is not None
        async with AsyncPushAPI(
            settings.servers_url, settings.key, ca_file=settings.ca_file, retries=0
        ) as api:
            return (await api.servers()).servers

    async def _servers(self) -> Sequence[ServerAddress]:
        """Where to register without a session. Raises `ConnectionFailed`."""
        settings = self._settings
        if settings.servers:
            return settings.servers
        try:
            urls = await self._fetch_servers()
        except (PushAPIError, PushAPIUnreachable) as error:
            raise ConnectionFailed(f"GET /v1/servers: {error}") from None
        return self._policy.allowed(urls)

    # --- State ----------------------------------------------------------------------------------

    def _set_state(self, state: ClientState, detail: str = "") -> None:
        self._state, self.state_detail = state, detail
        self._wake.set()
        log.debug("%s %s", state.value, detail)
        if self._on_state is not None:
            self._on_state(state, detail)

    async def _changed(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    def _raise_if_over(self) -> None:
        if self._error is not None:
            raise self._error
        if self._state is ClientState.CLOSED:
            raise ClientClosed("closed")
        if self._task is None:
            raise NotStarted("not_started")

    @property
    def _in_other_process(self) -> bool:
        return self._process is not None and self._process != os.getpid()

    def _check_process(self) -> None:
        """The child of a fork shares the parent's connection: one word would break it for both."""
        if self._in_other_process:
            raise OtherProcess(
                f"this client runs in process {self._process}; make another after a fork"
            )

"""A device in asyncio. It stays connected by itself and hands out messages through iteration.

What it does is in `push.sdk.core`; here is what an application sees of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from push.sdk.aio.chat import AsyncioChatMethods
from push.sdk.aio.driver import AsyncioDriver
from push.sdk.aio.message import Message, message_of
from push.sdk.core.actions import ClientState
from push.sdk.core.chat import ChatRequest
from push.sdk.core.client import ClientCore
from push.sdk.core.pending import Pending
from push.sdk.core.registration import LoneRegistration
from push.sdk.core.requests import REQUEST_SECONDS, request_number
from push.sdk.core.settings import ClientSettings, takes_options
from push.sdk.credentials import Credentials
from push.sdk.encoding import check_text
from push.sdk.errors import (
    AlreadyStarted,
    ConfigurationError,
    ConnectionFailed,
    NotStarted,
    OtherProcess,
)
from push.session.client.events import Connected, MessageReceived

SDK_NAME = "push-universe-aio/1"

T = TypeVar("T")


class PushClient(AsyncioChatMethods):
    """A device or a user's client.

    `servers`: URLs `tls://host:port` or `tcp://host:port`, tried in order. `servers_url`: the
    HTTP API to ask for servers (with `key`) when none is given or redirects lead nowhere.
    `token` and `secret`: the device. `jwt`: a user; a string, or a callable (plain or async) that
    makes a new one whenever it is needed. `key`: an app's key: registers when there is no token, or
    when the server no longer knows it; `on_credentials` stores what it got.
    TLS is always verified: by the system's CAs, by `ca_file`, or by the pinned `fingerprint`.
    `heartbeat`: seconds, or "adaptive", `window`: messages, `max_frame`: bytes; the server may
    give less. `heartbeat_memory` and `network`: what an adaptive one found out, by network.
    `acks`: "auto" acknowledges a message when the next one is asked for (and the last one when the
    `async with` block ends well); "explicit" leaves it to `await message.ack()`.
    A message that is `truncated` is the news that unread messages of its stream are gone.
    `on_state(state, detail)` is called at every change. One task iterates; use "explicit" for
    several.
    """

    @takes_options(ClientSettings)
    def __init__(self, *args: Any, **options: Any) -> None:  # Any: see `takes_options`
        self._settings = ClientSettings(*args, **options)
        self._core = ClientCore(self._settings, SDK_NAME, self._wake_up)
        self._core.identity.on_registered = self._registered
        self._wake = asyncio.Event()
        self._registering = asyncio.Lock()
        self._driver: AsyncioDriver | None = None
        self._lone_driver: AsyncioDriver | None = None
        self._task: asyncio.Task[None] | None = None
        self._process: int | None = None  # the one that started this client

    @property
    def state(self) -> ClientState:
        return self._core.state

    @property
    def state_detail(self) -> str:
        return self._core.state_detail

    @property
    def session(self) -> Connected | None:
        """The open one."""
        return self._core.session

    @property
    def credentials(self) -> Credentials | None:
        """The device's pair, once there is one."""
        return self._core.identity.credentials

    @property
    def dropped_messages(self) -> int:
        return self._core.inbox.dropped_messages

    @property
    def network(self) -> str:
        """The network that the device is in, by a name that the application gives: an adaptive
        heartbeat is remembered by it."""
        return self._core.identity.heartbeat.network

    @network.setter
    def network(self, name: str) -> None:
        self._check_process()
        self._core.change_network(check_text(name, "network"), self._now())
        self._poke()

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
            self._core.inbox.acknowledge_in_hand(self)
        await self.close()

    def start(self) -> None:
        """Begin to connect, in the background. `async with` does it.

        Raises `AlreadyStarted`.
        """
        if self._task is not None:
            raise AlreadyStarted("a PushClient runs once; make another")
        self._driver = AsyncioDriver(self._core, self._settings, self._core.identity.order)
        self._process = os.getpid()
        self._core.start(self._driver.now())
        self._task = asyncio.get_running_loop().create_task(self._driver.run())

    async def close(self) -> None:
        """Say `bye` and stop. Messages not acknowledged come again next time.

        After a fork it does nothing in the child: the connection is the parent's.
        """
        if self._in_other_process:
            return
        self._core.close(self._now())
        if self._task is not None:
            self._poke()
            await asyncio.wait([self._task])

    async def wait_connected(self) -> Connected:
        """The open session, as soon as there is one. Raises what stopped the client."""
        self._check_process()
        return await self._result(self._core.when_connected())

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
            if self.credentials is None and not self._core.identity.must_register:
                raise ConfigurationError("register: before `async with` when there is a `jwt`")
            return await self._result(self._core.when_registered())
        async with self._registering:
            return self.credentials or await self._register_alone()

    async def _register_alone(self) -> Credentials:
        identity = self._core.identity
        registration = LoneRegistration(identity, self._core.policy)
        driver = AsyncioDriver(registration, self._settings, identity.order)
        self._lone_driver = driver
        try:
            registration.start(driver.now())
            await driver.run()
        finally:
            self._lone_driver = None
        return registration.result.result()

    def check(self) -> Awaitable[bool]:
        """The network may have changed: ask the server for a sign of life, which must come within
        3 s; else connect again. A client that waits for its next try connects at once.

        It need not be awaited. The result: whether the server answered.
        """
        self._check_process()
        checked = self._core.check(self._now())
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        checked.then(lambda checked: None if future.done() else future.set_result(checked.result()))
        self._poke()
        return future

    # --- Messages -------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        self._check_process()
        core = self._core
        core.inbox.acknowledge_in_hand(self)
        while True:
            if core.state is ClientState.FAILED and core.error is not None:
                raise core.error
            if core.state is ClientState.CLOSED:
                raise StopAsyncIteration
            if not core.is_started:
                raise NotStarted("not_started")
            message = core.inbox.take(self, self._message)
            if message is not None:
                return message
            self._wake.clear()
            await self._wake.wait()

    def _message(self, event: MessageReceived) -> Message:
        return message_of(event, self._finish, self._release)

    def _finish(self, event: MessageReceived) -> None:
        self._check_process()
        self._core.acknowledge(event)
        self._poke()

    def _release(self, event: MessageReceived) -> None:
        self._check_process()
        self._core.release(event)

    # --- Requests -------------------------------------------------------------------------------

    async def publish(
        self,
        request: str | int,
        body: Mapping[str, object],
        *,
        timeout: float | None = REQUEST_SECONDS,
    ) -> dict[str, Any]:  # Any: JSON
        """A PUBLISH request (`"TS"`, `"MS"` …) and its answer's members.

        Waits for the session first. `timeout`: seconds for all of it. `TP` has no answer: `{}`.
        Raises `RequestRefused`; `ConnectionFailed` when the connection was lost before the answer
        (then it is not known whether it was done) or no session came in time; `InvalidData` for a
        body that JSON has no form for; `ValueError` for an unknown request.
        """
        self._check_process()
        asked = self._core.publish(request_number(request), body, self._now())
        return await self._within(timeout, asked)

    async def renew(self, jwt: str, *, timeout: float | None = REQUEST_SECONDS) -> int | None:
        """AUTH with a new JWT for the same user; its expiry in ms since 1970 UTC.

        Needed only for a `jwt` that was given as a string. Raises like `publish`.
        """
        self._check_process()
        check_text(jwt, "jwt")
        return await self._within(timeout, self._core.renew(jwt))

    async def subscribe(self, topic: str, *, timeout: float | None = REQUEST_SECONDS) -> None:
        """Follow a topic: what is pushed to it from now on comes in the iteration.

        The server keeps the subscription of a device, also while it is offline. When the device is
        registered again, and at each connection of a user without a device, for which nothing is
        kept, this client subscribes again. Raises like `publish`.
        """
        self._check_process()
        await self._within(timeout, self._core.subscribe(topic, self._now()))

    async def unsubscribe(self, topic: str, *, timeout: float | None = REQUEST_SECONDS) -> None:
        """Stop following a topic. Does nothing when it is not followed. Raises like `publish`."""
        self._check_process()
        await self._within(timeout, self._core.unsubscribe(topic, self._now()))

    async def _ask(self, request: ChatRequest[T]) -> T:
        return request.read(await self.publish(request.name, request.body))

    async def _send(self, request: ChatRequest[T], timeout: float | None) -> T:
        self._check_process()
        number = request_number(request.name)
        asked = self._core.publish(number, request.body, self._now(), resend=True)
        what = "not sent within {:g} s, or not known"
        return request.read(await self._within(timeout, asked, what))

    async def _within(
        self,
        seconds: float | None,
        pending: Pending[T],
        what: str = "no session, or no answer within {:g} s",
    ) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await self._result(pending)
        except TimeoutError:
            raise ConnectionFailed(what.format(seconds)) from None

    async def _result(self, pending: Pending[T]) -> T:
        self._poke()
        if not pending.done:
            known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            pending.then(lambda pending: None if known.done() else known.set_result(None))
            try:
                await known
            except asyncio.CancelledError:
                pending.fail(ConnectionFailed("nobody waits for it any more"))
                raise
        return pending.result()

    # --- The core -------------------------------------------------------------------------------

    def _now(self) -> float:
        return 0.0 if self._driver is None else self._driver.now()

    def _poke(self) -> None:
        if self._driver is not None:
            self._driver.poke()

    def _wake_up(self) -> None:
        self._wake.set()

    def _registered(self) -> None:
        """Another connection of this client may have waited for it."""
        self._core.registered()
        for driver in (self._driver, self._lone_driver):
            if driver is not None:
                driver.tick_soon()

    @property
    def _in_other_process(self) -> bool:
        return self._process is not None and self._process != os.getpid()

    def _check_process(self) -> None:
        """The child of a fork shares the parent's connection: one word would break it for both."""
        if self._in_other_process:
            raise OtherProcess(
                f"this client runs in process {self._process}; make another after a fork"
            )

"""A device without an event loop: calls that block, and one thread that keeps the connection.

What it does is in `push.sdk.core`; here is what an application sees of it.
"""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from push.sdk.core.actions import ClientState, Machine
from push.sdk.core.chat import ChatRequest
from push.sdk.core.client import ClientCore
from push.sdk.core.pending import Pending
from push.sdk.core.registration import LoneRegistration
from push.sdk.core.requests import REQUEST_SECONDS, request_number
from push.sdk.core.settings import ClientSettings, takes_options
from push.sdk.credentials import Credentials
from push.sdk.dialing import CLOSE_SECONDS
from push.sdk.encoding import check_text
from push.sdk.errors import (
    AlreadyStarted,
    CalledInCallback,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    NothingReceived,
    OtherProcess,
)
from push.sdk.logs import log
from push.sdk.nio.chat import BlockingChatMethods
from push.sdk.nio.driver import BlockingDriver
from push.sdk.nio.message import Message, message_of
from push.session.client.events import Connected, MessageReceived

SDK_NAME = "push-universe-nio/1"
LOOK_FOR_CTRL_C_SECONDS = 1.0
THREAD_END_SECONDS = 0.5  # what the thread may take for its end once the connection is closed

T = TypeVar("T")


class PushClient(BlockingChatMethods):
    """A device or a user's client. Any thread may call any method.

    The options are those of `push.sdk.aio.PushClient`. `jwt` and `on_credentials` are plain
    functions, called in a thread of their own; `on_state` is called in the client's thread and must
    not block.
    `acks`: "auto" acknowledges a message when the thread that has it asks for the next one (and
    that of the thread which leaves the `with` block, when it ends well); "explicit" leaves it to
    `message.ack()`.
    After a `fork()` the client is the parent's.
    """

    @takes_options(ClientSettings)
    def __init__(self, *args: Any, **options: Any) -> None:  # Any: see `takes_options`
        self._settings = ClientSettings(*args, **options)
        for name in ("jwt", "on_credentials"):
            if inspect.iscoroutinefunction(getattr(self._settings, name)):
                raise ConfigurationError(f"{name}: a plain function; push.sdk.aio takes async ones")
        # For everything of the core. Not `with` the condition: that is Python code, and a Ctrl-C
        # between its lock and the block would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # to wait for what changes in the core
        self._core = ClientCore(self._settings, SDK_NAME, self._changed.notify_all)
        self._core.identity.on_registered = self._registered
        self._registering = threading.Lock()
        self._driver: BlockingDriver | None = None
        self._lone_driver: BlockingDriver | None = None
        self._thread: threading.Thread | None = None
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
        check_text(name, "network")
        self._do(lambda now: self._core.change_network(name, now))

    # --- Life -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """After a block that ended well the message in hand counts as done."""
        if kind is None and not self._in_other_process:
            with self._lock:
                self._core.inbox.acknowledge_in_hand(threading.current_thread())
        self.close()

    def start(self) -> None:
        """Begin to connect, in the background. `with` does it.

        Raises `AlreadyStarted`.
        """
        self._check_process()
        with self._lock:
            if self._core.is_started:
                raise AlreadyStarted("a PushClient runs once; make another")
            self._driver = self._new_driver(self._core)
            self._process = os.getpid()
            self._core.start(self._driver.now())
            self._thread = threading.Thread(
                target=self._run, args=(self._driver,), name="push-client", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Say `bye` and stop; 2 s at most. Messages not acknowledged come again next time.

        After a fork it does nothing in the child: the connection is the parent's.
        """
        if self._in_other_process:
            return
        self._do(self._core.close)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_SECONDS + THREAD_END_SECONDS)  # `on_state` may hang

    def wait_connected(self, timeout: float | None = None) -> Connected:
        """The open session, as soon as there is one. Raises what stopped the client, and
        `ConnectionFailed` when there is none within `timeout` seconds."""
        return self._ask_core(lambda now: self._core.when_connected(), timeout, "no session")

    def register(self) -> Credentials:
        """The device's pair, after a registration when there is none yet.

        Without `with` it makes a connection for this alone and stores the pair in the client.
        Raises `RegistrationFailed`, `ConnectionFailed`, `CertificateUntrusted`, and
        `ConfigurationError` for a client without `key`, or one that runs as a user.
        """
        self._check_process()
        if self.credentials is None and self._settings.key is None:
            raise ConfigurationError("register: give the client a `key`")
        if self._core.is_started:
            if self.credentials is None and not self._core.identity.must_register:
                raise ConfigurationError("register: before `with` when there is a `jwt`")
            return self._ask_core(lambda now: self._core.when_registered(), None)
        with self._registering:
            return self.credentials or self._register_alone()

    def _register_alone(self) -> Credentials:
        """In this thread."""
        registration = LoneRegistration(self._core.identity, self._core.policy)
        driver = self._new_driver(registration)
        with self._lock:
            self._lone_driver = driver
            registration.start(driver.now())
        try:
            driver.run()
        finally:
            with self._lock:
                self._lone_driver = None
                registration.close(driver.now())
        return registration.result.result()

    def check(self) -> bool:
        """The network may have changed: ask the server for a sign of life, which must come within
        3 s; else connect again. A client that waits for its next try connects at once.

        Whether the server answered; in a callback of the client it does not wait, and says no.
        """
        self._check_process()
        if self._driver is not None and self._driver.is_own_thread:
            with self._lock:
                self._core.check(self._driver.now())
            return False
        return self._ask_core(self._core.check, None)

    # --- Messages -------------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        try:
            return self.receive()
        except ClientClosed:
            raise StopIteration from None

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. Raises what stopped the client, and `NothingReceived` (a
        `TimeoutError`) when nothing came within `timeout` seconds.
        """
        self._check_process()
        self._check_thread()
        reader, core = threading.current_thread(), self._core
        longest = _longest_wait(timeout)
        with self._lock:
            if not core.is_started and (never := core.why_over()) is not None:
                raise never
            core.inbox.acknowledge_in_hand(reader)
            if not self._wait_for(lambda: bool(core.inbox) or core.is_over, longest):
                raise NothingReceived(f"no message within {timeout:g} s")
            if core.is_over:
                over = core.why_over()
                assert over is not None
                raise over
            message = core.inbox.take(reader, self._message)
            assert message is not None
            return message

    def _message(self, event: MessageReceived) -> Message:
        return message_of(event, self._finish, self._release)

    def _finish(self, event: MessageReceived) -> None:
        self._do(lambda now: self._core.acknowledge(event))

    def _release(self, event: MessageReceived) -> None:
        self._do(lambda now: self._core.release(event))

    # --- Requests -------------------------------------------------------------------------------

    def publish(
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
        number = request_number(request)
        return self._ask_core(lambda now: self._core.publish(number, body, now), timeout)

    def renew(self, jwt: str, *, timeout: float | None = REQUEST_SECONDS) -> int | None:
        """AUTH with a new JWT for the same user; its expiry in ms since 1970 UTC.

        Needed only for a `jwt` that was given as a string. Raises like `publish`.
        """
        check_text(jwt, "jwt")
        return self._ask_core(lambda now: self._core.renew(jwt), timeout)

    def subscribe(self, topic: str, *, timeout: float | None = REQUEST_SECONDS) -> None:
        """Follow a topic: what is pushed to it from now on comes in the iteration.

        The server keeps the subscription of a device, also while it is offline. When the device is
        registered again, and at each connection of a user without a device, for which nothing is
        kept, this client subscribes again. Raises like `publish`.
        """
        self._ask_core(lambda now: self._core.subscribe(topic, now), timeout)

    def unsubscribe(self, topic: str, *, timeout: float | None = REQUEST_SECONDS) -> None:
        """Stop following a topic. Does nothing when it is not followed. Raises like `publish`."""
        self._ask_core(lambda now: self._core.unsubscribe(topic, now), timeout)

    def _ask(self, request: ChatRequest[T]) -> T:
        return request.read(self.publish(request.name, request.body))

    def _send(self, request: ChatRequest[T], timeout: float | None) -> T:
        number = request_number(request.name)

        def ask(now: float) -> Pending[dict[str, object]]:
            return self._core.publish(number, request.body, now, resend=True)

        return request.read(self._ask_core(ask, timeout, "not sent, or not known,"))

    # --- The core -------------------------------------------------------------------------------

    def _new_driver(self, machine: Machine) -> BlockingDriver:
        return BlockingDriver(machine, self._settings, self._core.identity.order, self._lock)

    def _run(self, driver: BlockingDriver) -> None:
        try:
            driver.run()
        except Exception as error:  # nobody may wait for a thread that is gone
            log.exception("the client's thread failed")
            with self._lock:
                self._core.abandon(error)

    def _do(self, act: Callable[[float], T]) -> T:
        """In the core, now; the thread sends what came of it."""
        self._check_process()
        with self._lock:
            done = act(BlockingDriver.now())
            if self._driver is not None:
                self._driver.poke()
            return done

    def _ask_core(
        self,
        ask: Callable[[float], Pending[T]],
        timeout: float | None,
        what: str = "no session, or no answer",
    ) -> T:
        """Wait for what the core answers. Who gives up, by time or by Ctrl-C, is not waited for."""
        self._check_process()
        self._check_thread()
        longest = _longest_wait(timeout)
        with self._lock:
            pending = self._do(ask)
            pending.then(lambda pending: self._changed.notify_all())
            try:
                self._wait_for(lambda: pending.done, longest)
            finally:
                if not pending.done:
                    pending.fail(ConnectionFailed(f"{what} within {timeout or 0:g} s"))
            return pending.result()

    def _wait_for(self, is_so: Callable[[], bool], longest: float | None) -> bool:
        """Whether it became so within `longest` seconds (None: no limit). Call it with the lock.

        In the main thread Python looks for a Ctrl-C before it waits for a lock, and a signal ends
        the wait. One that comes between the two is seen by neither, so the wait has an end now and
        then.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._changed.wait_for(is_so, longest)
        end = math.inf if longest is None else BlockingDriver.now() + longest
        while not is_so():
            left = end - BlockingDriver.now()
            if left <= 0:
                return False
            self._changed.wait(min(left, LOOK_FOR_CTRL_C_SECONDS))
        return True

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
        """The child of a fork shares the parent's connection: one word would break it for both.

        Before the lock: at the time of the fork another thread may have held it.
        """
        if self._in_other_process:
            raise OtherProcess(
                f"this client runs in process {self._process}; make another after a fork"
            )

    def _check_thread(self) -> None:
        for driver in (self._driver, self._lone_driver):
            if driver is not None and driver.is_own_thread:
                raise CalledInCallback(
                    "`on_state` may not wait for the client: it would wait forever"
                )


def _longest_wait(timeout: float | None) -> float | None:
    """A `timeout` as locks take it; what they cannot count is no limit. Raises ValueError."""
    if timeout is not None and math.isnan(timeout):
        raise ValueError("timeout: expected seconds or None")
    return None if timeout is None or timeout > threading.TIMEOUT_MAX else timeout

"""Runs a client core on a selector: moves bytes and time, and carries its actions out.

One thread is in `run`. Everything of the core, also what other threads ask of it, happens under one
lock; the application's code is called without it. What can only block (a look-up of a name, the
application's callbacks, an HTTP call) runs in a thread of its own for as long as it takes. When
nobody needs its result any more it is left behind, so nothing hangs at the end.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from ssl import SSLContext
from typing import TypeVar

from push.sdk.core.actions import (
    Action,
    AskServers,
    Dial,
    HangUp,
    Machine,
    MakeJWT,
    ReportState,
    StoreCredentials,
)
from push.sdk.core.settings import ClientSettings
from push.sdk.credentials import Credentials
from push.sdk.dialing import Address, AddressOrder
from push.sdk.errors import ConfigurationError, ConnectionFailed, PushAPIError, PushAPIUnreachable
from push.sdk.nio.dial import Dialer
from push.sdk.nio.wire import WireSocket
from push.sdk.tls import client_context

T = TypeVar("T")

LONGEST_SELECT_SECONDS = 86_400.0  # a selector counts no further than some weeks


class BlockingDriver:
    """`lock` guards the machine. `turns` counts how often the thread woke up."""

    def __init__(
        self,
        machine: Machine,
        settings: ClientSettings,
        order: AddressOrder,
        lock: AbstractContextManager[object],
    ) -> None:
        self.turns = 0
        self._machine = machine
        self._settings = settings
        self._order = order
        self._lock = lock
        self._thread: int | None = None
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)
        self._is_poked = self._is_closed = False
        self._reports: deque[Callable[[], None]] = deque()
        self._context: SSLContext | None = None
        self._dialer: Dialer | None = None
        self._wire: WireSocket | None = None

    @property
    def is_own_thread(self) -> bool:
        return self._thread == threading.get_ident()

    @staticmethod
    def now() -> float:
        return time.monotonic()

    def run(self) -> None:
        """Until the machine is over."""
        self._thread = threading.get_ident()
        try:
            while True:
                timeout = self._work()
                if self._machine.is_over:
                    return
                ready = self._selector.select(timeout)
                self.turns += 1
                with self._lock:
                    self._turn(ready)
        finally:
            with self._lock:
                self._close()
                self._thread = None

    def poke(self) -> None:
        """Something was asked of the machine. Call it with the lock."""
        if not self._is_poked and not self._is_closed and not self.is_own_thread:
            # In this order: Ctrl-C may come in between, and a byte too many does no harm.
            with suppress(BlockingIOError):
                self._waker.send(b"\0")
            self._is_poked = True

    def report(self, function: Callable[[], None]) -> None:
        """Have the thread call `function` with the lock; at once when the machine is over."""
        with self._lock:
            if self._is_closed:
                function()
            else:
                self._reports.append(function)
                self.poke()

    def tick_soon(self) -> None:
        """What the machine waits for may have come."""
        self.report(self._tick)

    # --- A turn -------------------------------------------------------------------------------

    def _turn(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, events in ready:
            # What came before in this turn may have closed it, and opened another.
            current = self._selector.get_map().get(key.fd)
            if current is not None and current.fileobj is key.fileobj:
                current.data(events)
        while self._reports:
            self._reports.popleft()()
        now = self.now()
        if self._dialer is not None and _is_past(self._dialer.next_deadline(), now):
            self._dialer.tick(now)
        if self._wire is not None and _is_past(self._wire.close_by, now):
            self._wire.destroy()
        if _is_past(self._machine.next_deadline(), now):
            self._tick()

    def _work(self) -> float | None:
        """Do what the machine wants. In how many seconds something is due; None: never."""
        while True:
            with self._lock:
                self._flush()  # first: it may find the connection lost
                actions = self._machine.take_actions()
                if not actions:
                    return self._seconds_left()
            for action in actions:
                self._perform(action)

    def _flush(self) -> None:
        data = self._machine.data_to_send()
        if data and self._wire is not None:
            self._wire.send(data)

    def _seconds_left(self) -> float | None:
        deadlines = [
            self._machine.next_deadline(),
            None if self._dialer is None else self._dialer.next_deadline(),
            None if self._wire is None else self._wire.close_by,
        ]
        first = min((each for each in deadlines if each is not None), default=None)
        if self._reports:
            return 0.0
        return None if first is None else min(max(first - self.now(), 0.0), LONGEST_SELECT_SECONDS)

    def _tick(self) -> None:
        if not self._machine.is_over:
            self._machine.tick(self.now())

    def _drain(self, events: int) -> None:
        self._is_poked = False
        self._woken.recv(4096)

    # --- Actions ------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        settings = self._settings
        match action:
            case ReportState(state, detail):
                try:
                    if settings.on_state is not None:
                        settings.on_state(state, detail)
                except Exception as error:
                    self._failed(error)
            case Dial():
                self._dial(action)
            case HangUp():
                self._hang_up(action)
            case MakeJWT():
                self._in_background(self._call_for_jwt, self._jwt_made)
            case StoreCredentials(credentials):
                self._in_background(lambda: self._store(credentials), self._stored)
            case AskServers():
                self._in_background(self._ask_servers, self._servers_found)

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._machine.failed(error, self.now())

    def _dial(self, action: Dial) -> None:
        settings = self._settings
        try:
            if action.server.secure and self._context is None:
                pinned = settings.fingerprint_sha256 is not None
                self._context = client_context(settings.ca_file, pinned=pinned)
        except ConfigurationError as error:  # a `ca_file` that is not there
            self._failed(error)
            return
        with self._lock:
            dialer = self._dialer = Dialer(
                action.server, settings, self._context, self._selector, self._dialed
            )
            dialer.start(self._order, self._in_background, self.now())

    def _dialed(self, outcome: tuple[socket.socket, Address] | ConnectionFailed) -> None:
        self._dialer = None
        if isinstance(outcome, ConnectionFailed):
            self._machine.dial_failed(outcome, self.now())
            return
        connected, address = outcome
        self._wire = WireSocket(connected, self._selector, self)
        self._machine.dialed(address, self.now())
        self._flush()
        self._wire.ready(selectors.EVENT_READ)  # TLS may hold some of it already

    def _hang_up(self, action: HangUp) -> None:
        with self._lock:
            if self._dialer is not None:
                self._dialer.close()
                self._dialer = None
            if self._wire is None:
                self._machine.hung_up(self.now())
            else:
                self._wire.close(self.now(), is_ours=action.is_ours, abort=action.abort)

    # --- The wire's owner ---------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        self._machine.receive_data(data, self.now())

    def lost(self, reason: str) -> None:
        self._machine.connection_lost(reason, self.now())

    def wire_closed(self) -> None:
        self._wire = None
        if not self._is_closed:
            self._machine.hung_up(self.now())

    # --- What blocks --------------------------------------------------------------------------

    def _in_background(
        self, function: Callable[[], T], report: Callable[[T | Exception], None]
    ) -> None:
        def call() -> None:
            outcome: T | Exception
            try:
                outcome = function()
            except Exception as error:
                outcome = error
            self.report(lambda: report(outcome))

        threading.Thread(target=call, name="push-client-call", daemon=True).start()

    def _call_for_jwt(self) -> str:
        source = self._settings.jwt
        assert callable(source)
        made = source()
        # What is no text, such as a coroutine, is refused by the core.
        return made  # type: ignore[return-value]

    def _jwt_made(self, made: str | Exception) -> None:
        if isinstance(made, Exception):
            self._machine.jwt_failed(made, self.now())
        else:
            self._machine.jwt_made(made, self.now())

    def _store(self, credentials: Credentials) -> Credentials:
        """A new pair: the application stores it before it is used, so that it cannot be lost."""
        if self._settings.on_credentials is not None:
            self._settings.on_credentials(credentials)
        return credentials

    def _stored(self, stored: Credentials | Exception) -> None:
        if isinstance(stored, Exception):
            self._machine.failed(stored, self.now())
        else:
            self._machine.stored(stored, self.now())

    def _ask_servers(self) -> list[str]:
        # Loads an HTTP client: many devices need none.
        from push.sdk.backend import PushAPI

        settings = self._settings
        assert settings.servers_url is not None
        with PushAPI(
            settings.servers_url, settings.key, ca_file=settings.ca_file, retries=0
        ) as api:
            return api.servers().servers

    def _servers_found(self, found: list[str] | Exception) -> None:
        if isinstance(found, PushAPIError | PushAPIUnreachable):
            self._machine.servers_failed(str(found), self.now())
        elif isinstance(found, Exception):  # a `ca_file` that is not there
            self._machine.failed(found, self.now())
        else:
            self._machine.servers_found(found, self.now())

    # --- The end ------------------------------------------------------------------------------

    def _close(self) -> None:
        self._is_closed = True
        if self._dialer is not None:
            self._dialer.close()
        if self._wire is not None:
            self._wire.destroy()
        self._selector.close()
        self._waker.close()
        self._woken.close()
        while self._reports:
            self._reports.popleft()()


def _is_past(deadline: float | None, now: float) -> bool:
    return deadline is not None and now >= deadline

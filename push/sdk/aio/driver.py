"""Runs a client core in asyncio: moves bytes and time, and carries its actions out.

Writes are collected and leave once in a turn of the loop, so that a burst of acknowledgements is
one system call.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from ssl import SSLContext
from typing import cast

from push.sdk.aio.dial import Dialing, dial
from push.sdk.backend import AsyncPushAPI
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
from push.sdk.dialing import CLOSE_SECONDS, Address, AddressOrder
from push.sdk.errors import ConnectionFailed, PushAPIError, PushAPIUnreachable
from push.sdk.tls import client_context


class WireProtocol(asyncio.Protocol):
    """One connection's bytes. What comes before it is attached waits."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()
        self._driver: AsyncioDriver | None = None
        self._early = b""

    def attach(self, driver: AsyncioDriver) -> None:
        self._driver = driver
        early, self._early = self._early, b""
        if early:
            driver.received(self, early)
        if self.closed.done():
            driver.lost(self, self.closed.result())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By what it does, not by its class: other event loops have classes of their own.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._driver is None:
            self._early += data
        else:
            self._driver.received(self, data)

    def eof_received(self) -> bool:
        return False  # close our side as well

    def connection_lost(self, error: Exception | None) -> None:
        reason = "" if error is None else str(error)
        if not self.closed.done():
            self.closed.set_result(reason)
        if self._driver is not None:
            self._driver.lost(self, reason)

    async def close(self, *, is_ours: bool, abort: bool) -> None:
        """Wait for the other side to close; abort after 2 s."""
        transport = self.transport
        if transport is None or self.closed.done():
            return
        if abort:
            transport.abort()
        elif is_ours and transport.can_write_eof() and not transport.is_closing():
            # Let the server close: closing with unread input resets the connection, and a reset
            # may overtake our last acknowledgements.
            transport.write_eof()
        elif not transport.is_closing():  # Python 3.11.2 cannot abort TLS that was closed twice
            transport.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self.closed)
        except TimeoutError:
            transport.abort()


class AsyncioDriver:
    """Must be made in a running loop. `run()` returns when the machine is over."""

    def __init__(self, machine: Machine, settings: ClientSettings, order: AddressOrder) -> None:
        self._machine = machine
        self._settings = settings
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._wire: WireProtocol | None = None
        self._context: SSLContext | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poked: asyncio.Handle | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return self._loop.time()

    async def run(self) -> None:
        self.poke()
        try:
            await self._over.wait()
        finally:
            if not self._over.is_set():  # cancelled, with the whole application
                self._machine.close(self.now())
                self._work()
                await self._over.wait()
            await self._cancel_rest()

    def poke(self) -> None:
        """Something was asked of the machine: see to it once in this turn of the loop."""
        if self._poked is None and not self._over.is_set():
            self._poked = self._loop.call_soon(self._work)

    def tick_soon(self) -> None:
        """What the machine waits for may have come."""
        self._loop.call_soon(self._tick)

    # --- What comes from the connection -------------------------------------------------------

    def received(self, wire: WireProtocol, data: bytes) -> None:
        if wire is self._wire:
            self._machine.receive_data(data, self.now())
            self._work()

    def lost(self, wire: WireProtocol, reason: str) -> None:
        if wire is self._wire:
            self._machine.connection_lost(reason, self.now())
            self._work()

    # --- What the machine wants ---------------------------------------------------------------

    def _work(self) -> None:
        if self._poked is not None:
            self._poked.cancel()
            self._poked = None
        while actions := self._machine.take_actions():
            for action in actions:
                self._flush()  # before a hang-up
                self._perform(action)
        self._flush()
        self._arm()
        if self._machine.is_over:
            self._over.set()

    def _flush(self) -> None:
        data = self._machine.data_to_send()
        transport = None if self._wire is None else self._wire.transport
        if data and transport is not None and not transport.is_closing():
            transport.write(data)

    def _arm(self) -> None:
        """One timer, for the next deadline; it is only moved when it must ring earlier.

        A timer that rings too early finds nothing due and is armed again: cheaper than moving it
        with every frame.
        """
        deadline = None if self._machine.is_over else self._machine.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._tick()

    def _tick(self) -> None:
        if not self._machine.is_over:
            self._machine.tick(self.now())
            self._work()

    def _perform(self, action: Action) -> None:
        match action:
            case ReportState(state, detail):
                try:
                    if self._settings.on_state is not None:
                        self._settings.on_state(state, detail)
                except Exception as error:
                    self._machine.failed(error, self.now())
            case Dial():
                self._dialing = self._spawn(self._dial(action))
            case HangUp():
                self._spawn(self._hang_up(action))
            case MakeJWT():
                self._spawn(self._make_jwt())
            case StoreCredentials(credentials):
                self._spawn(self._store(credentials))
            case AskServers():
                self._spawn(self._ask_servers())

    def _spawn(self, action: Coroutine[object, object, None]) -> asyncio.Task[None]:
        async def perform() -> None:
            try:
                await action
            finally:
                self._work()

        task = self._loop.create_task(perform())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _dial(self, action: Dial) -> None:
        settings = self._settings
        try:
            if action.server.secure and self._context is None:
                pinned = settings.fingerprint_sha256 is not None
                self._context = client_context(settings.ca_file, pinned=pinned)
            options = Dialing(
                self._context,
                settings.fingerprint_sha256,
                settings.connect_seconds,
                self._order.sorted,
            )
            wire, address = await dial(action.server, WireProtocol, options)
        except ConnectionFailed as error:
            self._machine.dial_failed(error, self.now())
        except Exception as error:  # a `ca_file` that is not there
            self._machine.failed(error, self.now())
        else:
            self._attach(wire, address)

    def _attach(self, wire: WireProtocol, address: Address) -> None:
        self._wire = wire
        self._machine.dialed(address, self.now())
        self._work()
        wire.attach(self)

    async def _hang_up(self, action: HangUp) -> None:
        dialing, self._dialing = self._dialing, None
        if dialing is not None and self._wire is None:
            dialing.cancel()
            await asyncio.wait([dialing])
        wire, self._wire = self._wire, None
        try:
            if wire is not None:
                await wire.close(is_ours=action.is_ours, abort=action.abort)
        except asyncio.CancelledError:  # with the whole application
            if wire is not None and wire.transport is not None:
                wire.transport.abort()
            raise
        finally:
            self._machine.hung_up(self.now())

    # --- What the application does ------------------------------------------------------------

    async def _make_jwt(self) -> None:
        try:
            source = self._settings.jwt
            assert callable(source)
            made = source()
            jwt = await made if inspect.isawaitable(made) else made
        except Exception as error:
            self._machine.jwt_failed(error, self.now())
        else:
            self._machine.jwt_made(jwt, self.now())

    async def _store(self, credentials: Credentials) -> None:
        """A new pair: the application stores it before it is used, so that it cannot be lost."""
        try:
            if self._settings.on_credentials is not None:
                stored = self._settings.on_credentials(credentials)
                if inspect.isawaitable(stored):
                    await stored
        except Exception as error:
            self._machine.failed(error, self.now())
        else:
            self._machine.stored(credentials, self.now())

    async def _ask_servers(self) -> None:
        settings = self._settings
        assert settings.servers_url is not None
        try:
            async with AsyncPushAPI(
                settings.servers_url, settings.key, ca_file=settings.ca_file, retries=0
            ) as api:
                urls = (await api.servers()).servers
        except (PushAPIError, PushAPIUnreachable) as error:
            self._machine.servers_failed(str(error), self.now())
        except Exception as error:  # a `ca_file` that is not there
            self._machine.failed(error, self.now())
        else:
            self._machine.servers_found(urls, self.now())

    # --- The end ------------------------------------------------------------------------------

    async def _cancel_rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        current = asyncio.current_task()
        rest = [task for task in self._tasks if task is not current]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.abort()

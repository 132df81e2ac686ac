"""The load of `pushctl bench`: real devices that listen, and pushes through the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from push.pushctl.terminal.errors import Failure
from push.sdk.aio import PushClient
from push.sdk.backend import AsyncPushAPI
from push.sdk.backend.calls.base import push_item
from push.sdk.credentials import Credentials
from push.sdk.errors import PushAPIError, PushError
from push.wire.errors import shortened

T = TypeVar("T")

AT_A_TIME = 16  # registrations, and devices that connect
CONNECT_SECONDS = 60.0
# So long nothing more may come before what is missing counts as lost.
QUIET_SECONDS = 10.0
TTL_SECONDS = 300


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is done. `batch`: pushes of a request; `at_once`: requests that are under way. `rate`:
    pushes a second, None: as many as can be. `is_fan_out`: each push is for all devices."""

    devices: int
    messages: int
    size: int
    batch: int
    at_once: int
    rate: float | None
    is_fan_out: bool
    qos: int

    @property
    def deliveries(self) -> int:
        return self.messages * (self.devices if self.is_fan_out else 1)


@dataclass(slots=True)
class Measured:
    """What was seen. Times in ms; `pushed_in`, `delivered_in` in seconds from the first push on."""

    pushed: int = 0
    push_ms: list[float] = field(default_factory=list)
    refused: int = 0
    first_refusal: str = ""
    pushed_in: float = 0.0
    delivered: int = 0
    delivery_ms: list[float] = field(default_factory=list)
    delivered_in: float = 0.0
    last_delivery: float = 0.0


# `show(what, done, total)`
Show = Callable[[str, int, int], None]


class Bench:
    """One run. `make_client` makes a device of a pair."""

    def __init__(
        self,
        api: AsyncPushAPI,
        plan: Plan,
        make_client: Callable[[Credentials], PushClient],
        show: Show,
    ) -> None:
        self.measured = Measured()
        self._api = api
        self._plan = plan
        self._make_client = make_client
        self._show = show
        self._run = secrets.token_hex(4)  # tells our messages from others
        self._pairs: list[Credentials] = []
        self._begun = 0.0

    async def run(self) -> Measured:
        """Raises `Failure` and the SDK's errors. Whatever happens, the devices are forgotten."""
        try:
            await self._register()
            async with self._listening():
                await self._push()
                await self._wait()
        finally:
            await self._forget()
        return self.measured

    async def _register(self) -> None:
        async def one(_: int) -> None:
            made = await self._api.register_device("bench", "pushctl")
            self._pairs.append(Credentials(made.token, made.secret))

        try:
            await self._each("registering", one, range(self._plan.devices))
        except PushAPIError as error:
            if error.code != "rate_limited":
                raise
            raise Failure(
                f"{len(self._pairs)} devices were registered, then: {error.detail}; give fewer "
                "--devices, or raise [limits] registrations_per_minute on the server",
                error.code,
            ) from None
        if self._plan.is_fan_out:
            await self._each(
                "subscribing", lambda pair: self._subscribe(pair.token), list(self._pairs)
            )

    async def _subscribe(self, token: str) -> None:
        await self._api.subscribe(self._topic, token)

    @property
    def _topic(self) -> str:
        return f"pushctl-bench-{self._run}"

    async def _forget(self) -> None:
        async def one(pair: Credentials) -> None:
            with contextlib.suppress(PushError):
                await self._api.forget(pair.token)

        await self._each("forgetting", one, list(self._pairs))

    # Devices

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        clients: list[PushClient] = []
        readers: list[asyncio.Task[None]] = []

        async def one(pair: Credentials) -> None:
            client = self._make_client(pair)
            clients.append(client)
            client.start()
            readers.append(asyncio.create_task(self._listen(client)))
            await self._connected(client)

        try:
            await self._each("connecting", one, self._pairs)
            yield
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)

    async def _connected(self, client: PushClient) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        while client.session is None:
            if time.monotonic() > deadline:
                raise Failure(f"a device did not connect: {client.state_detail}", "unreachable")
            await asyncio.sleep(0.02)

    async def _listen(self, client: PushClient) -> None:
        measured = self.measured
        async for message in client:
            now = time.perf_counter()
            data: Any = message.data
            if not isinstance(data, dict) or data.get("run") != self._run:
                continue
            measured.delivered += 1
            measured.delivery_ms.append((now - data["sent"]) * 1000)
            measured.last_delivery = now

    # Pushes

    async def _push(self) -> None:
        self._begun = time.perf_counter()
        numbers = iter(range(0, self._plan.messages, self._plan.batch))

        async def work() -> None:
            for first in numbers:
                await self._keep_rate(first)
                await self._push_some(first)
                self._show("pushing", self.measured.pushed, self._plan.messages)

        await _all(work() for _ in range(self._plan.at_once))
        self.measured.pushed_in = time.perf_counter() - self._begun

    async def _keep_rate(self, number: int) -> None:
        if self._plan.rate is not None:
            due = self._begun + number / self._plan.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _push_some(self, first: int) -> None:
        plan, measured = self._plan, self.measured
        count = min(plan.batch, plan.messages - first)
        began = time.perf_counter()
        items = [self._item(first + place, began) for place in range(count)]
        try:
            if plan.batch == 1:
                await self._api.push(**items[0])
            else:
                for result in await self._api.push_batch(items):
                    if result.status >= 300:
                        self._note_refusal(str(result.code))
        except PushError as error:
            for _ in items:
                self._note_refusal(str(error))
        measured.push_ms.append((time.perf_counter() - began) * 1000)
        measured.pushed += count

    def _item(self, number: int, began: float) -> dict[str, Any]:
        plan = self._plan
        if plan.is_fan_out:
            to = {"topic": self._topic}
        else:
            to = {"token": self._pairs[number % len(self._pairs)].token}
        data = {"run": self._run, "sent": began, "fill": ""}
        data["fill"] = "x" * max(0, plan.size - len(msgspec.json.encode(data)))
        return push_item(to=to, data=data, ttl=TTL_SECONDS, qos=plan.qos)

    def _note_refusal(self, why: str) -> None:
        self.measured.refused += 1
        self.measured.first_refusal = self.measured.first_refusal or shortened(why, 200)

    async def _wait(self) -> None:
        """Until all is there, or nothing has come for a while."""
        refused = self.measured.refused * (self._plan.devices if self._plan.is_fan_out else 1)
        wanted = self._plan.deliveries - refused
        seen, quiet_since = -1, time.monotonic()
        while self.measured.delivered < wanted:
            if self.measured.delivered != seen:
                seen, quiet_since = self.measured.delivered, time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_SECONDS:
                break
            self._show("receiving", seen, wanted)
            await asyncio.sleep(0.05)
        if self.measured.last_delivery:
            self.measured.delivered_in = self.measured.last_delivery - self._begun

    async def _each(
        self, what: str, work: Callable[[T], Awaitable[None]], items: Iterable[T]
    ) -> None:
        """Some at a time, and shown."""
        todo = list(items)
        rest, done = iter(todo), 0

        async def some() -> None:
            nonlocal done
            for item in rest:
                await work(item)
                done += 1
                self._show(what, done, len(todo))

        await _all(some() for _ in range(min(AT_A_TIME, len(todo))))


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All to their end; the first error ends the others and is raised as it is."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

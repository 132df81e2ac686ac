"""Devices that take their time, in scaled time: a connector's clock, and that of Redis with it, are
moved on step by step. What waits in a device's own queue uses nothing up; what is truly stuck does.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from push.wire.frames import Frame
from push.wire.signals import Signal
from tests.connector.ledger_book import Book
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]

STEP_SECONDS = 2.0
MAX_DELIVERIES = 10
REDELIVER_AFTER_SECONDS = 30.0


class MovedReactor:
    """The reactor, with a clock that only a test moves: what the machine takes is no time of the
    device. Timers ring in real time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._began_at = float(reactor.seconds())
        self.ahead_seconds = 0.0

    def seconds(self) -> float:
        return self._began_at + self.ahead_seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class SlowDevice:
    """One handler and a queue before it, as the SDK has it: each `id` is handled once, every copy
    is acknowledged, those that came meanwhile with the first.

    The application outlives its connections until it crashes; then it knows nothing any more. What
    it `skips` it neither handles nor acknowledges; at `poison` it crashes.
    """

    def __init__(
        self, world: World, handler_seconds: float, skips: str | None, poison: str | None
    ) -> None:
        self._world = world
        self._handler_seconds = handler_seconds
        self._skips = skips
        self._poison = poison
        self.credentials: dict[str, str] = {}
        self.handled: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.client: Any = None
        self.crash()

    def crash(self) -> None:
        self._queue: deque[str] = deque()
        self._data: dict[str, str] = {}
        self._done: set[str] = set()
        self._copies: dict[str, list[Frame]] = {}
        self._left_seconds = self._handler_seconds
        self._seen = 0

    async def connect(self, expected: int = 0) -> None:
        """Until so many messages have come."""
        self.client = await self._world.dial(self._world.node)
        if not self.credentials:
            self.credentials = await self.client.register()
        await self.client.connect(**self.credentials)
        self._copies.clear()
        self._seen = 0
        await self._world.wait_until(lambda: len(self.client.pushes) >= expected)

    async def disconnect(self) -> None:
        """The record says when, and how often it got what: before a test moves time on."""
        gateway = self._world.node.gateway
        self.client.transport.loseConnection()
        await self._world.wait_until(lambda: not gateway.sessions)
        await gateway.tasks.finished()
        await gateway.until_ended_are_done()

    async def heard(self) -> None:
        """The connector has heard all that was said so far, and what it had written is here."""
        await self.client.answer(Signal.PING, self.client.send(Signal.PING, {}))

    def step(self) -> bool:
        """Two seconds of work; True when it crashed."""
        for frame in self.client.pushes[self._seen :]:
            self._take(frame)
        self._seen = len(self.client.pushes)
        if self._queue and self._data[self._queue[0]] == self._skips:
            self._queue.popleft()
        if not self._queue:
            return False
        if self._data[self._queue[0]] == self._poison:
            self.crash()
            return True
        self._left_seconds -= STEP_SECONDS
        if self._left_seconds <= 0:
            id = self._queue.popleft()
            self.handled[self._data[id]] += 1
            self._done.add(id)
            for frame in self._copies.pop(id, []):
                self.client.ack(frame)
            self._left_seconds = self._handler_seconds
        return False

    def _take(self, frame: Frame) -> None:
        body = json.loads(frame.body)
        id = body["id"]
        self.copies[body["data"]] += 1
        if id in self._done:
            self.client.ack(frame)
            return
        if id not in self._data:
            self._data[id] = body["data"]
            self._queue.append(id)
        self._copies.setdefault(id, []).append(frame)


class World:
    """A connector whose time is moved on, and a device on it."""

    def __init__(self, node: Any, dial: Make, wait_until: WaitUntil) -> None:
        self.node = node
        self.dial = dial
        self.wait_until = wait_until
        self.book = Book(node, wait_until)

    async def device(
        self, handler_seconds: float, *, skips: str | None = None, poison: str | None = None
    ) -> SlowDevice:
        device = SlowDevice(self, handler_seconds, skips, poison)
        await device.connect()
        return device

    async def push(self, device: SlowDevice, kind: str, *data: str, **more: Any) -> list[str]:
        to = ("all",) if kind == "all" else ("token", device.credentials["token"])
        return [(await self.node.push(*to, data=item, **more)).id for item in data]

    def move_on(self, seconds: float) -> None:
        """Nobody does anything meanwhile. The clock of Redis goes with ours."""
        self.node.reactor.ahead_seconds += seconds

    async def pass_time(self, seconds: float, device: SlowDevice) -> bool:
        """The device works, and what is due is sent again; True as soon as the device crashed."""
        gateway = self.node.gateway
        for _ in range(round(seconds / STEP_SECONDS)):
            self.move_on(STEP_SECONDS)
            if device.step():
                return True
            await device.heard()
            for session in list(gateway.sessions.values()):
                gateway._due(session.connection)
            await gateway.tasks.finished()
            await device.heard()
        return False

    @property
    def dropped(self) -> int:
        return int(self.node.gateway.counters.dropped_unacknowledged)

    async def all_are(self, sent: list[str], **expected: int) -> None:
        for id in sent:
            await self.book.settles(id, written=1, **expected)


@pytest_twisted.async_yield_fixture
async def world(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> AsyncIterator[World]:
    from twisted.internet import reactor

    node = await make_node(
        redis_url,
        reactor=MovedReactor(reactor),
        limits={"redeliver_after_seconds": REDELIVER_AFTER_SECONDS},
        redeliver_after_of_records=REDELIVER_AFTER_SECONDS,
        timeout_seconds=3600,  # what waits for Redis when time is moved on is not late
    )
    node.listen()
    node.gateway.wheel.stop()  # `pass_time` looks at the sessions instead
    yield World(node, dial, wait_until)
    node.gateway.wheel.start()


def numbered(count: int, prefix: str = "m") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


KINDS = pytest.mark.parametrize("kind", ["token", "all"])


# --- Slow, and honest ----------------------------------------------------------------------------


@KINDS
@pytest_twisted.ensureDeferred
async def test_sixty_waiting_messages_of_six_seconds_each_use_nothing_up(
    world: World, kind: str
) -> None:
    device = await world.device(6)
    await device.disconnect()
    sent = await world.push(device, kind, *numbered(60))
    await device.connect(expected=60)

    await world.pass_time(6 * 60, device)

    assert device.handled == dict.fromkeys(numbered(60), 1)
    assert set(device.copies.values()) == {1}, "none was first for 30 s"
    assert world.dropped == 0
    await world.all_are(sent, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_a_crash_after_325_s_loses_none_of_them(world: World) -> None:
    device = await world.device(6)
    sent = await world.push(device, "token", *numbered(60))
    await world.pass_time(325, device)
    assert len(device.handled) == 54
    device.crash()
    await device.disconnect()
    await device.connect(expected=6)
    await world.pass_time(6 * 6, device)

    assert device.handled == dict.fromkeys(numbered(60), 1)
    assert world.dropped == 0
    await world.all_are(sent, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_what_stands_behind_a_slow_first_is_not_sent_again(world: World) -> None:
    """200 s for each: copies of that one only, and fewer than give it up."""
    device = await world.device(200)
    sent = await world.push(device, "token", *numbered(5))

    await world.pass_time(200 * 5, device)

    assert device.copies == dict.fromkeys(numbered(5), 1 + 6)
    assert device.handled == dict.fromkeys(numbered(5), 1)
    assert world.dropped == 0
    await world.all_are(sent, acknowledged=1)


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("away_seconds", [2, 60])
@pytest_twisted.ensureDeferred
async def test_a_device_that_connects_anew_every_forty_seconds_gets_through(
    world: World, crashes: bool, away_seconds: float
) -> None:
    device = await world.device(6)
    sent = await world.push(device, "token", *numbered(60))
    for _ in range(15):
        await world.pass_time(40, device)
        await device.disconnect()
        if crashes:
            device.crash()
        world.move_on(away_seconds)
        await device.connect()
        await device.heard()

    assert device.handled == dict.fromkeys(numbered(60), 1)
    assert world.dropped == 0
    await world.all_are(sent, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_what_waits_behind_another_stream_in_the_same_queue_uses_nothing_up(
    world: World,
) -> None:
    """Its own stream's cursor does not move for 372 s."""
    device = await world.device(6)
    sent = await world.push(device, "all", *numbered(62))
    last = await world.push(device, "token", "last")

    await world.pass_time(6 * 63, device)

    assert device.copies["last"] > MAX_DELIVERIES
    assert world.dropped == 0
    assert device.handled == dict.fromkeys([*numbered(62), "last"], 1)
    await world.all_are([*sent, *last], acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_nor_does_what_waits_behind_messages_that_are_in_no_log(world: World) -> None:
    device = await world.device(6)
    ephemeral = await world.push(device, "token", *numbered(60), ttl_seconds=0)
    last = await world.push(device, "token", "last")

    await world.pass_time(6 * 61, device)

    assert world.dropped == 0
    assert device.handled == dict.fromkeys([*numbered(60), "last"], 1)
    await world.all_are([*ephemeral, *last], acknowledged=1)


@pytest.mark.parametrize("away_seconds", [2, 60])
@pytest_twisted.ensureDeferred
async def test_nor_does_it_over_connections_that_break(world: World, away_seconds: float) -> None:
    """A crash every 40 s, and each time the device has it in its queue behind others."""
    device = await world.device(6)
    sent = await world.push(device, "all", *numbered(62))
    last = await world.push(device, "token", "last")
    for _ in range(12):
        await world.pass_time(40, device)
        await device.disconnect()
        device.crash()
        world.move_on(away_seconds)
        await device.connect()
        await device.heard()

    assert device.handled == dict.fromkeys([*numbered(62), "last"], 1)
    assert world.dropped == 0
    await world.all_are([*sent, *last], acknowledged=1)


# --- Stuck ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_message_that_a_device_never_acknowledges_is_dropped_and_the_others_go_on(
    world: World,
) -> None:
    """The window is full behind it meanwhile; nothing but it comes twice."""
    device = await world.device(2, skips="m0")
    stuck, *others = await world.push(device, "token", *numbered(100))
    await world.pass_time(MAX_DELIVERIES * REDELIVER_AFTER_SECONDS - 4, device)
    assert (len(device.handled), world.dropped) == (63, 0)
    await world.pass_time(120, device)

    assert world.dropped == 1
    assert device.copies == dict.fromkeys(numbered(100), 1) | {"m0": MAX_DELIVERIES}
    assert device.handled == dict.fromkeys(numbered(100)[1:], 1)
    await world.all_are([stuck], unacknowledged=1)
    await world.all_are(others, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_a_device_that_acknowledges_nothing_has_one_after_the_other_given_up(
    world: World,
) -> None:
    device = await world.device(10**6)
    await world.push(device, "token", "one", "two")
    await world.pass_time(MAX_DELIVERIES * REDELIVER_AFTER_SECONDS + 2, device)
    assert (world.dropped, device.copies) == (1, {"one": MAX_DELIVERIES, "two": 1})
    await world.pass_time(MAX_DELIVERIES * REDELIVER_AFTER_SECONDS + 2, device)
    assert (world.dropped, device.copies) == (2, {"one": MAX_DELIVERIES, "two": MAX_DELIVERIES})


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_stuck_gives_up_each_stream_for_itself(world: World) -> None:
    device = await world.device(10**6)
    await world.push(device, "token", "one")
    await world.push(device, "all", "two")
    await world.pass_time(MAX_DELIVERIES * REDELIVER_AFTER_SECONDS + 4, device)
    assert (world.dropped, device.copies) == (2, {"one": MAX_DELIVERIES, "two": MAX_DELIVERIES})


@pytest_twisted.ensureDeferred
async def test_what_other_streams_bring_later_does_not_keep_a_message_from_being_given_up(
    world: World,
) -> None:
    device = await world.device(2, skips="stuck")
    await world.push(device, "token", "stuck")
    for number in range(11):
        await world.push(device, "all", f"m{number}")
        await world.pass_time(REDELIVER_AFTER_SECONDS, device)
    assert (world.dropped, len(device.handled)) == (1, 11)


@pytest.mark.parametrize("every_seconds", [6, 34, 50])
@pytest_twisted.ensureDeferred
async def test_a_message_at_which_the_device_crashes_is_dropped_and_takes_no_other_with_it(
    world: World, every_seconds: float
) -> None:
    """It crashes at once and comes back after so long; what waits behind it is innocent."""
    device = await world.device(2, poison="poison")
    poison = await world.push(device, "token", "poison")
    sent = await world.push(device, "token", *numbered(3))
    sent += await world.push(device, "all", *numbered(3, "a"))
    start_offset = world.node.reactor.seconds()
    while world.dropped == 0:
        await world.wait_until(lambda: world.dropped or len(device.client.pushes) == 7)
        if world.dropped:
            break
        assert await world.pass_time(2, device)
        await device.disconnect()
        world.move_on(every_seconds)
        await device.connect()
        assert world.node.reactor.seconds() - start_offset < 800
    took_seconds = world.node.reactor.seconds() - start_offset
    assert took_seconds >= MAX_DELIVERIES * REDELIVER_AFTER_SECONDS - 1
    await world.wait_until(lambda: len(device.client.pushes) == 6)
    await world.pass_time(2 * 7, device)

    assert device.handled == dict.fromkeys([*numbered(3), *numbered(3, "a")], 1)
    assert world.dropped == 1
    await world.all_are(poison, unacknowledged=1)
    await world.all_are(sent, acknowledged=1)


# --- Late ----------------------------------------------------------------------------------------


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_was_given_up_while_the_device_still_had_it_counts_when_it_is_done(
    world: World, kind: str
) -> None:
    device = await world.device(400)
    sent = await world.push(device, kind, "long")
    await world.pass_time(MAX_DELIVERIES * REDELIVER_AFTER_SECONDS + 2, device)
    await world.all_are(sent, unacknowledged=1)
    counters = world.node.gateway.counters
    assert counters.acknowledged == 0

    await world.pass_time(100, device)

    assert device.handled == {"long": 1}
    await world.all_are(sent, acknowledged=1)
    assert counters.acknowledged == 1
    asked = json.dumps(device.credentials["token"]).encode()
    unstored = await world.node.domain.observer.timelines._unstored(asked)
    assert [each.n for each in unstored if each.event == "acknowledged"] == [1]

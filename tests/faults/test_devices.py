"""Devices that do not behave: that reconnect all the time, never acknowledge, or fight."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.faults.audit import Record
from tests.faults.pushing import Steady, batches, singles
from tests.faults.raw import Ended, Pair, RawDevice
from tests.faults.system import System
from tests.waiting import DEADLINE_SECONDS

WINDOW = 64
CONNECTIONS = 300
MOMENT_SECONDS = 0.004  # about as long as a connector takes to open a session


def test_devices_that_reconnect_all_the_time_miss_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Whatever is published between a subscription and the reading of a log, or at a take-over."""
    system = make_system(connectors=2)
    pairs = system.register(20)
    system.bind("ann", pairs[:3])
    fleets = [
        system.fleet(pairs[:10], system.connectors, restless=True),
        system.fleet(pairs[10:], system.connectors[::-1], restless=True),
    ]
    targets = system.mixed_targets(pairs)
    with ExitStack() as lanes:
        lanes.enter_context(Steady(singles(system.pusher("a"), targets), 0.01))
        lanes.enter_context(Steady(batches(system.pusher("b"), targets, 4), 0.02))
        system.wait_connected(pairs, 25)
    for fleet in fleets:
        fleet.calm()
    finish(system)


def test_a_message_at_the_moment_of_connecting_is_not_missed(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Between the subscription and the reading of the log. No later message shows that one was
    lost: each is waited for before the next is pushed."""
    system = make_system()
    (connector,) = system.connectors
    pairs = system.register(2)
    pusher = system.pusher()
    jitter = random.Random(1)
    for number in range(CONNECTIONS):
        pair = pairs[number % len(pairs)]
        device = RawDevice(connector.device_port)
        device.begin_connect(pair)
        time.sleep(jitter.random() * MOMENT_SECONDS)
        # The connector hears neither stream yet: nobody else is connected.
        sent = pusher.push(system.everyone() if number % 3 == 0 else system.to(pair))
        assert sent.accepted
        device.end_connect()
        record = system.records[pair.token]
        while sent.id not in record.ids:
            message = device.message()
            assert message is not None, f"connection {number} missed n={sent.n}"
            record.add(message[0])
            device.acknowledge(message[1])
        device.close(abruptly=number % 2 == 0)
    system.fleet(pairs)
    finish(system)


def test_a_device_that_never_acknowledges_holds_up_nobody(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """It gets a window full of messages, those again, and no more; once it acknowledges, all."""
    system = make_system(connector_redeliver_after="2", connector_window=str(WINDOW))
    pairs = system.register(5)
    mute, others = pairs[0], pairs[1:]
    system.fleet(others)
    system.wait_connected(others)
    device = RawDevice(system.connectors[0].device_port)
    device.connect(mute)
    record = system.records[mute.token]
    pusher = system.pusher()
    for _ in range(5):
        sent = pusher.batch([system.everyone(), system.to(mute)] * 50)
        assert all(attempt.accepted for attempt in sent)
    # The others have all of it, while it holds on to its window.
    expected = system.journal.expected()
    for pair in others:
        system.wait(
            lambda pair=pair: system.received(pair) == len(expected[pair.token]),
            f"{pair.token} is not held up",
        )
    while len(record.received) <= WINDOW:
        message = device.message()
        assert message is not None, "nothing came again"
        record.add(message[0])
    assert len(record.ids) == WINDOW
    device.close(abruptly=True)
    system.fleet([mute])
    finish(system)


def test_two_connections_that_fight_over_one_token_miss_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """What both received together is everything, in order, however often each is taken over."""
    system = make_system(connectors=2)
    pairs = system.register(3)
    contended, others = pairs[0], pairs[1:]
    system.bind("ann", pairs)
    system.fleet(others)
    system.wait_connected(others)
    record = system.records[contended.token]
    peace = threading.Event()
    fighters = [
        Fighter(system, contended, record, connector.device_port, peace)
        for connector in system.connectors
    ]
    targets = system.mixed_targets([contended, *pairs])
    with ExitStack() as lanes:
        for fighter in fighters:
            lanes.enter_context(fighter)
        with Steady(batches(system.pusher(), targets, 8), 0.02):
            system.wait_accepted(800)
            for fighter in fighters:
                system.wait(
                    lambda fighter=fighter: fighter.taken_over >= 50 or fighter.error,
                    lambda fighter=fighter: f"50 take-overs, {fighter.taken_over} were",
                )
        # One gives way: the other gets what is left.
        peace.set()
        system.wait_caught_up()
    assert not [fighter.error for fighter in fighters if fighter.error]
    assert not system.disconnections(others)
    system.fleet([contended])  # the last acknowledgements may have gone down with a reset
    finish(system)


class Fighter:
    """A thread that connects with a token, receives and acknowledges, and comes back when it is
    taken over, or by itself after some messages, sometimes by a reset. In `peace` the first that
    is taken over stays away."""

    def __init__(
        self, system: System, pair: Pair, record: Record, port: int, peace: threading.Event
    ) -> None:
        self.taken_over = 0
        self.error: BaseException | None = None
        self._system = system
        self._pair = pair
        self._record = record
        self._port = port
        self._peace = peace
        self._end = threading.Event()
        self._random = random.Random(port)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Fighter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(DEADLINE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                try:
                    self._stay()
                except Ended as ended:
                    if str(ended) == "taken_over":
                        self.taken_over += 1
                        if self._peace.is_set():
                            return
        except BaseException as error:
            self.error = error

    def _stay(self) -> None:
        device = RawDevice(self._port)
        try:
            device.connect(self._pair)
            count = self._random.randrange(1, 200)
            while not self._end.is_set() and (count or self._peace.is_set()):
                message = device.message(0.1)
                if message is None:
                    continue
                received, number = message
                self._record.add(received)
                device.acknowledge(number)
                count = max(count - 1, 0)
        finally:
            device.close(abruptly=self._random.random() < 0.5)

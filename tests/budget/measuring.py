"""What is counted: pieces of work that a deployment does a million times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.budget.counting import Counts, Daemon, counted_daemon
from tests.budget.devices import EVERYONE, Backend, Device, Devices, dial, push

ROUNDS = 2
WARM_SESSIONS = 20
SESSIONS = {"plain": 300, "TLS": 150}
FEW = 32  # devices that connect, and requests, together
MESSAGES = 5
BURST = 20
BATCH = 100
LATE_STEPS, LATE_STEP_SECONDS = 4, 0.5  # after which what is stored late is stored
AWAY_SECONDS = 100.0  # so that nobody connects too often
IDLE_STEPS, IDLE_STEP_SECONDS = 12, 7.0  # until sessions are as idle as they become


# What a round may do besides: a timer that is due, a reply that is read in two pieces.
BESIDES = {"calls": 200.0, "system_calls": 20.0, "redis_commands": 30.0}
# At QoS 1: how acknowledgements are gathered depends on when Redis answers.
GATHERED_COMMANDS = 0.2


class Figure(NamedTuple):
    """`besides`: how much of it another round may have that does nothing else."""

    work: str
    what: str
    value: float
    besides: float = 0.0


def measured() -> Iterator[Figure]:
    """Every figure of the budget, in its order."""
    for carrier in ("plain", "TLS"):
        with counted_daemon() as daemon:
            yield from Rounds(daemon, carrier).figures()


class Rounds:
    """On one daemon, with devices of one carrier."""

    def __init__(self, daemon: Daemon, carrier: str) -> None:
        self._daemon = daemon
        self._running = daemon.running
        self._carrier = carrier
        self._is_tls = carrier == "TLS"
        self._backend = Backend(self._running)

    def figures(self) -> Iterator[Figure]:
        self._warm()
        with self._daemon.frozen():
            self._idle()
            before = self._daemon.memory()
        devices = Devices(self._running, SESSIONS[self._carrier], tls=self._is_tls)
        with self._daemon.frozen():
            yield from self._grown("idle session", before, len(devices.all))
            yield from self._deliveries(devices)
            work = "idle session after messages at QoS 1"
            yield from self._grown(work, before, len(devices.all))
            devices.close()
        few = Devices(self._running, FEW, tls=self._is_tls)
        with self._daemon.frozen():
            if not self._is_tls:
                yield from self._http(few)
                yield from self._heartbeats(few)
            yield from self._connects(few)

    def _warm(self) -> None:
        """What the first ones load is not counted, nor what Python keeps of each function that is
        called while it is counted."""
        devices = Devices(self._running, WARM_SESSIONS, tls=self._is_tls)
        with self._daemon.frozen():
            self._daemon.begin()
            for _ in range(2):
                self._broadcast(devices, qos=1, together=BURST)
                self._late_work()
            self._daemon.end()
        devices.close()

    def _grown(self, work: str, before: dict[str, int], count: int) -> Iterator[Figure]:
        self._idle()
        now = self._daemon.memory()
        for what in before:
            yield Figure(f"{work}, {self._carrier}", what, (now[what] - before[what]) / count)

    def _late_work(self) -> None:
        for _ in range(LATE_STEPS):
            self._daemon.advance(LATE_STEP_SECONDS)

    def _idle(self) -> None:
        """Meanwhile a connection of HTTP is ended."""
        self._backend.close()
        for _ in range(IDLE_STEPS):
            self._daemon.advance(IDLE_STEP_SECONDS)
        self._backend = Backend(self._running)

    # Deliveries

    def _deliveries(self, devices: Devices) -> Iterator[Figure]:
        count = len(devices.all)
        for qos in (0, 1):
            for together in (1, BURST):
                work = f"delivery at QoS {qos}"
                work += f", {together} messages together" if together > 1 else ""
                messages = MESSAGES if together == 1 else 1

                def deliver(qos: int = qos, together: int = together, n: int = messages) -> None:
                    for _ in range(n):
                        self._broadcast(devices, qos, together)
                    if qos:
                        self._late_work()

                yield from self._counted(work, deliver, count * messages * together)

    def _broadcast(self, devices: Devices, qos: int, together: int = 1) -> None:
        """Acknowledgements come when all have the message, and all at once."""
        body = push(EVERYONE, qos)
        if together == 1:
            self._post("/v1/push", body)
        else:
            self._post("/v1/push/batch", [body] * together)
        self._daemon.tick_until(lambda: devices.have(together))
        devices.take(together)
        if qos:
            self._daemon.settle()
            with self._daemon.paused():
                devices.acknowledge()
        self._daemon.settle()

    # HTTP

    def _post(self, path: str, body: object) -> None:
        with self._daemon.paused():  # so that it reads all at once
            self._backend.send(path, body)
        self._daemon.tick_until(self._backend.is_answered)
        self._backend.check_accepted()

    def _http(self, devices: Devices) -> Iterator[Figure]:
        backends = [Backend(self._running) for _ in range(FEW)]
        bodies = [push({"token": token}, 1) for token in devices.tokens]

        def acknowledged() -> None:
            self._daemon.tick_until(lambda: devices.have(1))
            devices.take(1)
            with self._daemon.paused():
                devices.acknowledge()
            self._daemon.settle()
            self._late_work()

        def alone() -> None:
            for body in bodies:
                self._post("/v1/push", body)

        def together() -> None:
            with self._daemon.paused():
                for backend, body in zip(backends, bodies, strict=True):
                    backend.send("/v1/push", body)
            self._daemon.tick_until(lambda: all(backend.is_answered() for backend in backends))
            for backend in backends:
                backend.check_accepted()

        batch = [bodies[number % FEW] for number in range(BATCH)]

        def as_batch() -> None:
            self._post("/v1/push/batch", batch)

        for work, act, pieces in (
            ("push by HTTP", alone, FEW),
            (f"push by HTTP, {FEW} together", together, FEW),
            ("item of a batch by HTTP", as_batch, BATCH),
        ):
            late = acknowledged if pieces == FEW else self._take_batch(devices)
            yield from self._counted(work, act, pieces, late)
        for backend in backends:
            backend.close()

    def _take_batch(self, devices: Devices) -> Callable[[], None]:
        def take() -> None:
            share = [BATCH // FEW + (number < BATCH % FEW) for number in range(FEW)]
            pairs = list(zip(devices.all, share, strict=True))
            self._daemon.tick_until(lambda: all(device.has(count) for device, count in pairs))
            for device, count in pairs:
                device.take(count)
            with self._daemon.paused():
                devices.acknowledge()
            self._daemon.settle()
            self._late_work()

        return take

    # Connections

    def _heartbeats(self, devices: Devices) -> Iterator[Figure]:
        def ping() -> None:
            with self._daemon.paused():
                for device in devices.all:
                    device.ping()
            self._daemon.tick_until(lambda: devices.have(1))
            for device in devices.all:
                device.take_pong()

        yield from self._counted(f"heartbeat, {FEW} together", ping, FEW)

    def _connects(self, known: Devices) -> Iterator[Figure]:
        """Known devices connect; the end of their connections is not counted."""
        made: list[Device] = []

        def alone() -> None:
            for pair in known.pairs:
                made.append(dial(self._running, tls=self._is_tls))
                if self._is_tls:
                    self._daemon.tick_until(made[-1].has_shaken_hands)
                made[-1].say_connect(pair)
                self._daemon.tick_until(lambda: made[-1].has(1))
                made[-1].check_accepted()

        def together() -> None:
            with self._daemon.paused():
                for pair in known.pairs:
                    made.append(dial(self._running))
                    made[-1].say_connect(pair)
            self._daemon.tick_until(lambda: all(device.has(1) for device in made))
            for device in made:
                device.check_accepted()

        def cut() -> None:
            for device in made:
                device.close()
            made.clear()
            self._daemon.settle()
            self._daemon.advance(AWAY_SECONDS)

        known.close()
        self._daemon.advance(AWAY_SECONDS)
        yield from self._counted("CONNECT", alone, FEW, cut)
        if not self._is_tls:
            yield from self._counted(f"CONNECT, {FEW} together", together, FEW, cut)

    def _counted(
        self,
        work: str,
        act: Callable[[], None],
        pieces: int,
        afterwards: Callable[[], None] = lambda: None,
    ) -> Iterator[Figure]:
        """The least of some rounds, after one in which everything is done for the first time."""
        rounds = []
        for _ in range(ROUNDS + 1):
            self._daemon.settle()
            self._daemon.begin()
            act()
            self._daemon.settle()
            rounds.append(self._daemon.end().each(pieces))
            afterwards()
        least = Counts.least(rounds[1:])
        for what, value in least._asdict().items():
            besides = BESIDES[what] / pieces
            if what == "redis_commands" and work.startswith("delivery at QoS 1"):
                besides = GATHERED_COMMANDS
            yield Figure(f"{work}, {self._carrier}", what, value, besides)

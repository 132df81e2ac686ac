"""A cluster of three connectors, and what its devices notice of what is done to it.

Three connectors, two APIs, a push-sub, ZooKeeper and Redis, and 3,000 devices with the SDK that
know nothing but push-sub. They are spread, all connectors are rolled, one is killed, and ZooKeeper
is stopped for a minute, while both APIs push. At the end everything is audited: each message that
was answered with 202 against what each device has, and against the ledger. The deployment is that
of the fault suite (tests/faults).
"""

from __future__ import annotations

import itertools
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kazoo.client import KazooClient

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.results import OURS, FigureTable
from tests.cluster.real_zookeeper import ZooKeeperServer, what_zookeeper_lacks
from tests.faults.audit import Record
from tests.faults.processes import Daemon, Redis
from tests.faults.pushing import Steady
from tests.faults.raw import Pair
from tests.faults.system import System
from tests.ports import free_port

CONNECTORS = 3
DEVICES_A_PROCESS = 500
DEVICES_THAT_COME_LATE = 30
# ZooKeeper's own default. Sessions may then be as long as the daemons ask for.
TICK_MS = 2000
LOOK_SECONDS = 0.5
DEADLINE_SECONDS = 120.0
# The load: each API sends a push to one device after the other, and now and then one to everyone.
# Each of those costs the devices, 3,000 SDKs on the same cores, most of a second.
SINGLES_PAUSE_SECONDS = 0.02
BROADCAST_PAUSE_SECONDS = 5.0
UNDER_LOAD_SECONDS = 3.0


# The most that a figure may be.
MOST = {
    "fullest_connector_over_its_share_percent": 10,
    "devices_without_each_push_exactly_once": 0,
    "roll_longest_time_away_s": 5,
    "roll_p99_time_away_s": 5,
    "killed_longest_time_away_s": 15,
    "killed_p99_time_away_s": 15,
    "killed_other_devices_disconnected": 0,
    "zookeeper_away_devices_disconnected": 0,
    "zookeeper_back_until_registered_s": 30,
}

Figure = tuple[str, float]


class Cluster:
    """The deployment, its devices, and the load."""

    def __init__(self, bench: Bench, system: System, devices: int) -> None:
        self.system = system
        self._say = bench.say
        self._say(f"registering {devices} devices")
        self.pairs = system.register(devices)
        self._come_late = system.register(DEVICES_THAT_COME_LATE)
        self._everyone = system.everyone()

    def measure(self, zookeeper_seconds: float) -> Iterator[Figure]:
        """Without any time that ZooKeeper is stopped nothing is rolled and killed either."""
        yield from self._spread()
        yield from self._reach()
        if zookeeper_seconds:
            yield from self._roll()
            yield from self._kill()
            yield from self._without_zookeeper(zookeeper_seconds)
        else:
            self.system.fleet(self._come_late, patient=True)
        self._say("auditing")
        checked = self.system.audit()
        self._say(f"{checked.messages:,} messages, {checked.deliveries:,} deliveries audited")

    # What is measured

    def _spread(self) -> Iterator[Figure]:
        self._say("connecting")
        for some in _slices(self.pairs, DEVICES_A_PROCESS):
            self.system.fleet(some, patient=True)
        self._wait_in_session(self.pairs)
        counts = Counter(self.system.server_of(pair) for pair in self.pairs)
        self._say(f"sessions: {sorted(counts.values())}")
        share = len(self.pairs) / CONNECTORS
        over = max(counts.values()) / share - 1
        yield "fullest_connector_over_its_share_percent", 100 * over

    def _reach(self) -> Iterator[Figure]:
        """Each API pushes to some devices of each connector, and to everyone."""
        system = self.system
        before = {pair.token: system.received(pair) for pair in self.pairs}
        expected = Counter(dict.fromkeys(before, 0))
        for api in system.apis:
            pusher = system.pusher(f"reach-{api.name}", api)
            some = self.pairs[:: max(len(self.pairs) // 300, 1)]
            sent = pusher.batch([system.to(pair) for pair in some])
            sent.append(pusher.push(self._everyone))
            assert all(attempt.accepted for attempt in sent)
            expected.update(pair.token for pair in some)
            expected.update(pair.token for pair in self.pairs)
        system.wait_caught_up(absent={pair.token for pair in self._come_late})
        wrong = sum(
            1
            for pair in self.pairs
            if system.received(pair) - before[pair.token] != expected[pair.token]
            or len(system.records[pair.token].received) != system.received(pair)
        )
        self._say(f"{len(self.pairs) - wrong} devices have each push exactly once")
        yield "devices_without_each_push_exactly_once", wrong

    def _roll(self) -> Iterator[Figure]:
        system, since = self.system, time.monotonic()
        with self._load():
            time.sleep(UNDER_LOAD_SECONDS)
            for connector in system.connectors:
                self._say(f"rolling {connector.name}")
                path = f"/v1/nodes/{connector.name}/drain"
                status, _ = system.api.post(path, system.admin_key, {})
                assert status == 202
                system.wait(lambda c=connector: not c.running, f"{connector.name} has ended")
                assert connector.exit_status == 0
                connector.start()
                system.wait_registered()
            self._wait_in_session(self.pairs)
            time.sleep(UNDER_LOAD_SECONDS)
        away = sorted(self._away_seconds(self.pairs, since))
        self._say(f"sessions: {self._by_connector()}; {len(away)} moves")
        yield "roll_longest_time_away_s", away[-1]
        yield "roll_p99_time_away_s", away[int(len(away) * 0.99)]

    def _kill(self) -> Iterator[Figure]:
        system = self.system
        victim = max(system.connectors, key=lambda c: self._by_connector()[c.name])
        there = [pair for pair in self.pairs if system.server_of(pair) == victim.url]
        others = [pair for pair in self.pairs if system.server_of(pair) != victim.url]
        with self._load():
            time.sleep(UNDER_LOAD_SECONDS)
            self._say(f"killing {victim.name} with {len(there)} devices")
            since = time.monotonic()
            victim.kill()
            self._wait_in_session(there)
            away = sorted(self._away_seconds(there, since))
            self._say(f"starting {victim.name} again")
            victim.start()
            system.wait_registered()
            time.sleep(UNDER_LOAD_SECONDS)
        yield "killed_longest_time_away_s", away[-1]
        yield "killed_p99_time_away_s", away[int(len(away) * 0.99)]
        yield "killed_other_devices_disconnected", self._disconnections(others, since)

    def _without_zookeeper(self, seconds: float) -> Iterator[Figure]:
        system, zookeeper = self.system, self.system.zookeeper
        assert zookeeper is not None
        self._say(f"stopping ZooKeeper for {seconds:g} s")
        since = time.monotonic()
        zookeeper.stop()
        with self._load():
            time.sleep(seconds / 2)
            self._say(f"{DEVICES_THAT_COME_LATE} devices more connect")
            system.fleet(self._come_late, patient=True)
            self._wait_in_session(self._come_late)
            time.sleep(max(since + seconds - time.monotonic(), 0))
        # What was pushed has arrived without it.
        system.wait_caught_up()
        away = time.monotonic() - since
        self._say(f"starting ZooKeeper again after {away:.1f} s")
        zookeeper.start()
        back = time.monotonic()
        while len(self._registered(zookeeper)) < CONNECTORS or not all(
            not daemon.notes() for daemon in system.daemons
        ):
            assert time.monotonic() < back + DEADLINE_SECONDS, "registrations are back"
            time.sleep(0.1)
        registered = time.monotonic() - back
        with self._load():
            # For longer than a session in ZooKeeper: what has not come back would lapse.
            time.sleep(15)
        assert len(self._registered(zookeeper)) == CONNECTORS
        lost = self._disconnections([*self.pairs, *self._come_late], since)
        yield "zookeeper_away_devices_disconnected", lost
        yield "zookeeper_back_until_registered_s", registered

    # How it is looked at

    def _wait_in_session(self, pairs: Sequence[Pair]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while missing := sum(not self.system.server_of(pair) for pair in pairs):
            assert time.monotonic() < deadline, f"{missing} devices are not in session"
            self._say(f"{len(pairs) - missing} of {len(pairs)} are in session")
            time.sleep(LOOK_SECONDS)

    def _records(self, pairs: Iterable[Pair]) -> Iterator[Record]:
        for pair in pairs:
            record = self.system.records[pair.token]
            record.refresh()
            yield record

    def _away_seconds(self, pairs: Iterable[Pair], since: float) -> list[float]:
        """How long each device was without a session, each time it lost one after `since`."""
        times = []
        for record in self._records(pairs):
            lost_at = None
            for before, said in itertools.pairwise(record.states):
                if before.state == "connected" and said.at_seconds >= since:
                    lost_at = said.at_seconds
                if said.state == "connected" and lost_at is not None:
                    times.append(said.at_seconds - lost_at)
                    lost_at = None
            assert lost_at is None, f"{record.token} is away: {record.states[-4:]}"
        return times

    def _disconnections(self, pairs: Iterable[Pair], since: float) -> int:
        return sum(
            any(
                before.state == "connected" and said.at_seconds >= since
                for before, said in itertools.pairwise(record.states)
            )
            for record in self._records(pairs)
        )

    def _by_connector(self) -> dict[str, int]:
        counts = Counter(self.system.server_of(pair) for pair in self.pairs)
        return {connector.name: counts[connector.url] for connector in self.system.connectors}

    def _registered(self, zookeeper: ZooKeeperServer) -> list[str]:
        """What stands in ZooKeeper, seen by a client of its own."""
        client = KazooClient(zookeeper.hosts)
        client.start()
        try:
            return list(client.get_children("/push/push-connector"))
        finally:
            client.stop()
            client.close()

    @contextmanager
    def _load(self) -> Iterator[None]:
        """Both APIs push to one device after the other, and in turn to everyone."""
        with ExitStack() as lanes:
            for place, api in enumerate(self.system.apis):
                lanes.enter_context(self._singles(api, place))
                lanes.enter_context(self._broadcasts(api))
            yield

    def _singles(self, api: Daemon, place: int) -> Steady:
        pusher = self.system.pusher(f"singles-{api.name}", api)
        pairs = itertools.cycle(self.pairs[place::7])
        return Steady(lambda: [pusher.push(self.system.to(next(pairs)))], SINGLES_PAUSE_SECONDS)

    def _broadcasts(self, api: Daemon) -> Steady:
        pusher = self.system.pusher(f"broadcasts-{api.name}", api)
        return Steady(lambda: [pusher.push(self._everyone)], BROADCAST_PAUSE_SECONDS)


def _slices(pairs: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def measure(bench: Bench, devices: int, zookeeper_seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="push-cluster-") as folder:
        system = System(
            Path(folder),
            Redis(),
            CONNECTORS,
            {},
            apis=2,
            sub=True,
            zookeeper=ZooKeeperServer(port=free_port(), tick_ms=TICK_MS),
        )
        try:
            system.start()
            system.wait_registered()
            return dict(Cluster(bench, system, devices).measure(zookeeper_seconds))
        finally:
            system.end()


def run(bench: Bench) -> None:
    if lacking := what_zookeeper_lacks():
        raise SystemExit(lacking)
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    devices, zookeeper_seconds = bench.pick((3000, 60.0), (300, 20.0), (15, 0.0))
    for _ in range(bench.rounds(1)):
        bench.results.add("cluster", OURS, measure(bench, devices, zookeeper_seconds))


BENCHMARK = Benchmark(
    "cluster",
    "three connectors, two APIs, push-sub and ZooKeeper: spread, a roll, a kill, no ZooKeeper",
    run,
    (FigureTable("cluster", "A cluster, and what its devices notice", MOST),),
    in_all=False,
)

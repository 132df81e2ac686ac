"""A whole deployment to hurt: Redis, connectors, APIs, devices, and what all of it did."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from push.access.api_keys import make_key
from push.sdk.backend import PushAPI
from tests import warm
from tests.cluster.real_zookeeper import ZooKeeperServer
from tests.faults import device
from tests.faults.audit import Journal, Record, Target, audit
from tests.faults.device import One, Plan
from tests.faults.ledger import check_ledger
from tests.faults.processes import Daemon, Process, Redis
from tests.faults.pushing import Pusher
from tests.faults.raw import Pair, RawDevice
from tests.waiting import DEADLINE_SECONDS, wait_for

LOG_LINES_SHOWN = 6
# Less than the minute after which a connector sweeps all logs: what the channels lost is to be
# noticed sooner, and the sweep must not hide that it was not.


class Checked(NamedTuple):
    """What an audit looked at."""

    messages: int
    deliveries: int


class Fleet(Process):
    """Devices in one process. Started again, they go on in the same records."""

    def __init__(self, name: str, folder: Path, plan: Plan) -> None:
        super().__init__(name)
        self._plan_path = folder / f"{name}.json"
        self._plan_path.write_bytes(msgspec.json.encode(plan))
        self._log = folder / f"{name}.log"

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        with self._log.open("ab") as log:
            self._process = warm.start(
                [sys.executable, device.__file__, str(self._plan_path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def calm(self) -> None:
        """Restless devices connect once more and stay."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"calm\n")
        self._process.stdin.flush()


class System:
    """Started by the fixture `make_system`, which also ends it.

    With `sub` there is a push-sub, `groups` is how many push-group there are; with `zookeeper` the
    registry is there, else in Redis.
    """

    def __init__(
        self,
        folder: Path,
        redis: Redis,
        connectors: int,
        settings: dict[str, str],
        *,
        more_redis: Sequence[Redis] = (),
        apis: int = 1,
        sub: bool = False,
        groups: int = 0,
        zookeeper: ZooKeeperServer | None = None,
    ) -> None:
        self.redis = redis
        self.servers = [redis, *more_redis]
        self.zookeeper = zookeeper
        self.journal = Journal()
        self.records: dict[str, Record] = {}
        self.users: dict[str, set[str]] = {}
        self.folder = folder
        self.more_processes: list[Process] = []
        self._fleets: list[Fleet] = []
        self._pushers: list[Pusher] = []
        data = folder / "data"
        data.mkdir(mode=0o700)
        self.admin_key, self._app_key = make_key(), make_key()
        for name, key in (("admin", self.admin_key), ("app", self._app_key)):
            path = data / f"{name}.key"
            path.touch(mode=0o600)
            path.write_text(key)
        urls = [server.url for server in self.servers]
        url = json.dumps(urls) if more_redis else redis.url
        settings = {"redis_url": url, **settings}
        if zookeeper is not None:
            settings["zookeeper_hosts"] = zookeeper.hosts
        names = ["api", *(f"api{number}" for number in range(2, apis + 1))]
        self.apis = [Daemon("push-api", name, folder, settings) for name in names]
        self.api = self.apis[0]
        self.sub = Daemon("push-sub", "sub", folder, settings) if sub else None
        self.groups = [
            Daemon("push-group", f"group{number}", folder, settings)
            for number in range(1, groups + 1)
        ]
        self.connectors = [
            Daemon("push-connector", f"connector{number}", folder, settings)
            for number in range(1, connectors + 1)
        ]

    @property
    def daemons(self) -> list[Daemon]:
        subs = [] if self.sub is None else [self.sub]
        return [*self.apis, *subs, *self.groups, *self.connectors]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        if self.zookeeper is not None:
            self.zookeeper.start()
        for daemon in self.daemons:
            daemon.begin()
        for daemon in self.daemons:
            daemon.wait_for_line("] ready")

    def end(self) -> None:
        """End every process, whatever state it is in."""
        for pusher in self._pushers:
            pusher.close()
        for process in [*self._fleets, *self.more_processes, *self.daemons, *self.servers]:
            process.kill()
        for server in self.servers:
            server.remove()
        if self.zookeeper is not None:
            self.zookeeper.remove()

    def wait_registered(self, *connectors: Daemon) -> None:
        """Until every API and the push-sub send devices to these (by default all) connectors."""
        wanted = connectors or self.connectors
        names, urls = {each.name for each in wanted}, {each.url for each in wanted}
        # Of one that was killed the entry stands for a while, and looks the same.
        for connector in wanted:
            self.wait(connector.ready, f"{connector.name} is ready")
        for api in self.apis:
            self.wait(
                lambda api=api: names <= self._taking_sessions(api),
                lambda api=api: f"{api.name} knows {names}, it knows {self._taking_sessions(api)}",
            )
        if self.sub is not None:
            self.wait(
                lambda: urls <= set(self.given_out()),
                lambda: f"{urls} are given out, given are {self.given_out()}",
            )

    def _taking_sessions(self, api: Daemon) -> set[str]:
        _, stats = api.get("/v1/stats", self.admin_key)
        return {
            node["instance"]
            for node in stats["nodes"]
            if node["service"] == "push-connector" and not node["draining"]
        }

    def given_out(self) -> list[str]:
        """What push-sub would tell a device now."""
        assert self.sub is not None
        _, answer = self.sub.get("/v1/servers", self._app_key)
        return answer.get("servers", [])

    # Devices

    def register(self, count: int) -> list[Pair]:
        """New devices, by the device protocol."""
        pairs = []
        for _ in range(count):
            connection = RawDevice(self.connectors[0].device_port)
            pairs.append(connection.register(self._app_key))
            connection.close()
        for pair in pairs:
            self.records[pair.token] = Record(pair.token)
        return pairs

    def bind(self, user: str, pairs: Iterable[Pair]) -> None:
        with PushAPI(self.api.http_url, self.admin_key) as api:
            for pair in pairs:
                api.bind(user, pair.token)
                self.users.setdefault(user, set()).add(pair.token)

    def fleet(
        self,
        pairs: Sequence[Pair],
        servers: Sequence[Daemon] | None = None,
        *,
        restless: bool = False,
        patient: bool = False,
    ) -> Fleet:
        """Start `pairs` as devices in a process of their own.

        They prefer the first of `servers`. Where there is a push-sub and no `servers` are given,
        they know none and ask it.
        """
        ones = []
        for pair in pairs:
            path = self.folder / f"{pair.token}.record"
            self.records[pair.token].path = path
            ones.append(One(pair.token, pair.secret, str(path)))
        plan = Plan([], ones, restless=restless, patient=patient)
        if servers is None and self.sub is not None:
            plan.servers_url, plan.key = self.sub.http_url, self._app_key
        else:
            plan.servers = [server.url for server in servers or self.connectors]
        name = f"devices{len(self._fleets) + 1}"
        fleet = Fleet(name, self.folder, plan)
        self._fleets.append(fleet)
        fleet.start()
        return fleet

    def wait_connected(self, pairs: Iterable[Pair], times: int = 1) -> None:
        """Until each was connected at least `times` times."""
        for pair in pairs:
            record = self.records[pair.token]
            self.wait(
                lambda record=record: record.refresh() or record.count("connected") >= times,
                f"{pair.token} is connected: {record.states[-3:]}",
            )

    def disconnections(self, pairs: Iterable[Pair]) -> int:
        """How many sessions of these devices have ended."""
        total = 0
        for pair in pairs:
            record = self.records[pair.token]
            record.refresh()
            total += record.count("waiting") + record.count("error")
        return total

    def server_of(self, pair: Pair) -> str | None:
        """The connector with which a device is in session now."""
        record = self.records[pair.token]
        record.refresh()
        return record.server

    def received(self, pair: Pair) -> int:
        """How many messages a device has by now."""
        record = self.records[pair.token]
        record.refresh()
        return len(record.ids)

    # Pushing

    def pusher(self, lane: str = "main", api: Daemon | None = None) -> Pusher:
        pusher = Pusher((api or self.api).http_url, self.admin_key, self.journal, lane)
        self._pushers.append(pusher)
        return pusher

    def everyone(self) -> Target:
        return Target({"all": True}, frozenset(self.records))

    def to(self, *pairs: Pair) -> Target:
        if len(pairs) == 1:
            return Target({"token": pairs[0].token}, frozenset({pairs[0].token}))
        tokens = [pair.token for pair in pairs]
        return Target({"tokens": tokens}, frozenset(tokens))

    def to_user(self, user: str) -> Target:
        return Target({"user": user}, frozenset(self.users[user]))

    def mixed_targets(self, pairs: Sequence[Pair], user: str = "ann") -> list[Target]:
        """Everyone, a device, several, and a user."""
        return [self.everyone(), self.to(pairs[0]), self.to(*pairs[1:4]), self.to_user(user)]

    def accepted(self) -> int:
        return len(self.journal.accepted)

    def wait_accepted(self, more: int) -> None:
        """Until `more` pushes than now are accepted."""
        wanted = self.accepted() + more
        self.wait(
            lambda: self.accepted() >= wanted,
            lambda: f"{wanted} pushes are accepted, {self.accepted()} are",
        )

    # Judging

    def wait(
        self,
        condition: Callable[[], Any],
        what: str | Callable[[], str],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Any:
        """As `wait_for`; a failure shows the ends of the daemons' logs."""
        return wait_for(
            condition,
            lambda: f"{what() if callable(what) else what}\n{self._logs()}",
            deadline_seconds=deadline_seconds,
        )

    def _logs(self) -> str:
        lines = []
        for daemon in self.daemons:
            lines += daemon.log_text().splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join(lines)

    def wait_caught_up(
        self, dropped: dict[str, int] | None = None, absent: Collection[str] = ()
    ) -> None:
        """Until every device has what was accepted for it, but for `dropped`, by token.

        `absent`: tokens of devices that were not started yet.
        """
        for token, ids in self.journal.expected().items():
            if token in absent:
                continue
            record = self.records[token]
            record.refresh()
            may_lack = (dropped or {}).get(token, 0)

            def caught_up(record: Record = record, ids: set[str] = ids, n: int = may_lack) -> bool:
                record.refresh()
                return len(record.ids) >= len(ids) - n and len(ids - record.ids) <= n

            def lacks(record: Record = record, ids: set[str] = ids) -> str:
                missing = [
                    f"n={a.n} id={a.id}" for a in self.journal.accepted if a.id in ids - record.ids
                ]
                return (
                    f"{record.token} has all {len(ids)} messages, it lacks {len(missing)}: "
                    f"{missing[:5]} … {missing[-1:]}; states {record.states[-4:]}"
                )

            self.wait(caught_up, lacks)

    def audit(self, dropped_oldest: dict[str, int] | None = None) -> Checked:
        """Wait until the devices have everything; then the audit, and the ledger's."""
        self.wait_caught_up(dropped_oldest)
        checked = Checked(*audit(self.journal, self.records.values(), dropped_oldest))
        self._wait_acknowledged()
        self.check_logs()
        check_ledger(self.api, self.admin_key, self.journal.accepted, self.records)
        return checked

    def _wait_acknowledged(self) -> None:
        """Until nothing waits for any device: what it received, it has acknowledged."""
        for token in self.records:
            path = f"/v1/devices/{token}"
            self.wait(
                lambda path=path: self.api.get(path, self.admin_key)[1]["backlog"] == 0,
                f"nothing waits for {token}",
            )

    def check_logs(self) -> None:
        """No daemon and no device logged an error of its own, whatever was done to it."""
        for log in sorted(self.folder.glob("*.log")):
            text = log.read_text()
            place = text.find("Traceback")
            assert place < 0, f"{log.name} has\n{text[max(place - 500, 0) : place + 4000]}"

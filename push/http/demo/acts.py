"""What the page may have done for it: its own user and device, others of the demo, nobody else."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.directory import Directory
from push.cluster.drain_command import NodeDrains
from push.cluster.registry.entry import CONNECTOR
from push.devices.registration import Devices, check_user_id
from push.http.demo.bodies import (
    TOPIC,
    CutBody,
    CutOrder,
    DemoConnector,
    DemoCut,
    DemoPerson,
    DemoPushBody,
    DemoPushed,
    DemoState,
)
from push.http.demo.launcher import LauncherClient
from push.http.demo.people import People, Person
from push.http.demo.room import Room
from push.pushing.content import PushContent
from push.pushing.service import Push, PushService
from push.pushing.targets import Target
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.runtime.timers import sleep
from push.wire.api.messages import MessageLedger
from push.wire.api.push import PushResult
from push.wire.errors import RequestError

log = Logger()

MESSAGE_TTL_SECONDS = 600
PUSHES_PER_MINUTE = 60
DRAINS_PER_MINUTE = 6
CUTS_PER_MINUTE = 6
STATES_PER_MINUTE = 180
PUSHES_MEANWHILE = 5
MAX_CONNECTORS = 10  # that are remembered

_encode = msgspec.json.Encoder().encode


class DemoServices(NamedTuple):
    """What the demo is made of. `launcher` None: nothing can be drained or cut."""

    clock: Clock
    pushing: PushService
    devices: Devices
    directory: Directory
    drains: NodeDrains
    people: People
    room: Room
    launcher: LauncherClient | None


class DemoActs:
    """All that a page asks for. Raises `RequestError`."""

    def __init__(self, services: DemoServices) -> None:
        self._services = services
        self._people = services.people
        self._clock = services.clock
        self._tasks = TaskGroup()
        self._connectors: set[str] = set()

    def stop(self) -> None:
        self._tasks.cancel()

    def servers(self, client_ip: str) -> list[str]:
        """The connectors that a browser can use."""
        urls = self._services.directory.servers(None, client_ip)
        return [url for url in urls if url.startswith(("ws://", "wss://"))]

    def who(
        self, ticket: str, what: str = "questions", per_minute: int = STATES_PER_MINUTE
    ) -> Person:
        """The page's user, one more of `what` counted."""
        person = self._people.of(ticket)
        person.take(what, per_minute, self._clock.seconds())
        return person

    # --- what the page shows ----------------------------------------------------------------------

    async def state(self, person: Person, now_ms: int) -> DemoState:
        people = [DemoPerson(each.user, self._people.is_here(each)) for each in self._people]
        return DemoState(
            connectors=self.connectors(),
            people=sorted(people, key=lambda each: each.user),
            launcher=self._services.launcher is not None,
            ends=self.ends_ms(person, now_ms),
            message=await self._counts_of(person),
        )

    async def _counts_of(self, person: Person) -> MessageLedger | None:
        if not person.last_message:
            return None
        try:
            counts = await self._services.pushing.message(person.last_message)
        except RequestError:
            return None  # longer ago than the ledger keeps it
        names = MessageLedger.__struct_fields__
        return MessageLedger(**{name: getattr(counts, name) for name in names})

    def ends_ms(self, person: Person, now_ms: int) -> int:
        return now_ms + int(self._people.seconds_left(person) * 1000)

    def connectors(self) -> list[DemoConnector]:
        """Those that a browser can use, by name; one that was there before is `gone`."""
        found = {
            entry.instance: DemoConnector(
                entry.instance, "draining" if entry.draining else "up", entry.sessions
            )
            for entry in self._services.directory.nodes()
            if entry.service == CONNECTOR and not entry.addresses.keys().isdisjoint(("ws", "wss"))
        }
        for node in sorted(self._connectors - found.keys()):
            found[node] = DemoConnector(node, "gone", 0)
        known = list(found.values())[:MAX_CONNECTORS]
        self._connectors = {each.node for each in known}
        return sorted(known, key=lambda each: each.node)

    # --- pushing ----------------------------------------------------------------------------------

    async def push(self, person: Person, body: DemoPushBody) -> DemoPushed:
        kind, name = self._target(person, body)
        receipt = await self._send(Target(kind, (name,)), {"text": body.text})
        person.last_message = receipt.id
        return DemoPushed(receipt.id, {kind: name})

    def _target(self, person: Person, body: DemoPushBody) -> tuple[str, str]:
        """Its kind and its name; only what belongs to the demo."""
        if body.user is not UNSET and body.to != "user":
            raise RequestError("invalid", "`user` goes with `to` = user", field="user")
        if body.to == "device":
            return "token", person.token
        if body.to == "topic":
            return "topic", TOPIC
        if body.to == "everyone":
            return "group", self._services.room.group
        user = person.user if body.user is UNSET else body.user
        check_user_id(user)
        if not self._people.has(user):
            raise RequestError("not_found", "nobody of the demo has this name", field="user")
        return "user", user

    async def _send(self, target: Target, data: dict[str, Any]) -> PushResult:
        content = PushContent(msgspec.Raw(_encode(data)), ttl_seconds=MESSAGE_TTL_SECONDS)
        return await self._services.pushing.push(Push(target, content))

    # --- what goes wrong --------------------------------------------------------------------------

    async def drain(self, person: Person) -> str:
        """The connector that the page is on sends its sessions elsewhere, ends, and is started
        again by the launcher. Returns its name."""
        self._need_launcher()
        node = (await self._services.devices.get(person.token)).node
        if node is None:
            raise RequestError("unavailable", "this page is not connected", after_seconds=2)
        others = [each for each in self.connectors() if each.node != node]
        if not any(each.state == "up" for each in others):
            raise RequestError(
                "unavailable", "the other connector has to be up first", after_seconds=3
            )
        await self._services.drains.drain(node, 0)
        return node

    async def cut(self, person: Person, body: CutBody) -> DemoCut:
        """The page's network fails for some seconds. Meanwhile messages are pushed to it."""
        launcher = self._need_launcher()
        now = self._clock.seconds()
        if now < person.cut_until:
            raise RequestError(
                "in_progress",
                "this page's network is cut already",
                after_seconds=int(person.cut_until - now) + 1,
            )
        person.cut_until = now + body.seconds
        try:
            await launcher.cut(CutOrder(person.token, body.seconds, body.how))
        except RequestError:
            person.cut_until = now
            raise
        self._tasks.run(self._push_meanwhile(person, body.seconds), _log_failure)
        return DemoCut(body.seconds, PUSHES_MEANWHILE)

    async def _push_meanwhile(self, person: Person, seconds: int) -> None:
        for number in range(1, PUSHES_MEANWHILE + 1):
            await sleep(self._clock, seconds / (PUSHES_MEANWHILE + 1))
            data = {"meanwhile": number, "of": PUSHES_MEANWHILE}
            receipt = await self._send(Target("token", (person.token,)), data)
            person.last_message = receipt.id

    def _need_launcher(self) -> LauncherClient:
        launcher = self._services.launcher
        if launcher is None:
            raise RequestError("not_allowed", "this needs the launcher of `make demo`")
        return launcher


def _log_failure(failure: Failure) -> None:
    # The page left meanwhile, or Redis is unreachable: the demo goes on.
    log.debug(
        "A push of the demo failed: {why}", why=failure.getErrorMessage(), event="demo.push_failed"
    )

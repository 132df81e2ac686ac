"""Bindings, subscriptions, groups are in effect when answered (delivery.md, "Writes in effect"),
whatever is paused, cut off or slow meanwhile. Daemons are processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from push.sdk.backend import PushAPI
from push.wire.frames import Frame
from push.wire.signals import RequestName, Signal
from tests.amounts import amount
from tests.faults.processes import Daemon
from tests.faults.raw import Ended, Pair, RawDevice
from tests.faults.slow_redis import SlowRedis
from tests.faults.system import System

ROUNDS = amount(24, 100)
ROUNDS_WHEN_SLOW = amount(1, 3)
# What holds with two holds with one: each judges its own sessions.
CONNECTORS = amount([2], [1, 2])
LATE_SECONDS = 0.2  # for what must not come, after what must
USERS = ("anna", "ben")
OWNER = "olga"


class Device(RawDevice):
    """Acknowledges what comes, and keeps the numbers of the messages that are no chat."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.got: list[int] = []

    def _receive(self, seconds: float) -> Frame | None:
        frame = super()._receive(seconds)
        if frame is not None and frame.signal == Signal.PUSH:
            self.acknowledge(frame.message_id)
            body = json.loads(frame.body)
            if "kind" not in body:
                self.got.append(body["data"]["n"])
        return frame


class Scene:
    """A device on each connector, and what a backend uses.

    Each of `USERS` has a group of their own with the owner, whose device is the last one.
    """

    def __init__(self, system: System) -> None:
        system.wait_registered()
        self.system = system
        self.api = PushAPI(system.api.http_url, system.admin_key, retries=0)
        self.chat = PushAPI(system.groups[0].http_url, system.admin_key, retries=0)
        count = len(system.connectors)
        self.pairs: list[Pair] = system.register(count + 1)
        self.devices = [self.connected(place) for place in range(count + 1)]
        self.groups = {
            user: self.chat.create_group(OWNER, f"{user} and Olga", members=[user]).group
            for user in USERS
        }
        assert self.api.bind(OWNER, self.pairs[-1].token) == []
        self.sent = 0
        self.wanted: list[list[int]] = [[] for _ in self.devices]

    def close(self) -> None:
        self.api.close()
        self.chat.close()
        for device in self.devices:
            device.close()

    def connector(self, place: int) -> Daemon:
        return self.system.connectors[place % len(self.system.connectors)]

    def connected(self, place: int) -> Device:
        device = Device(self.connector(place).device_port)
        device.connect(self.pairs[place])
        return device

    def speak(self, place: int, user: str) -> None:
        """Ask for what only `user` may do."""
        body = {"to": {"group": self.groups[user]}, "data": {"n": -1}}
        self.devices[place].begin_request(RequestName.MS, body)

    def is_heard(self, place: int) -> str:
        """`ok`, or the code of the refusal."""
        answer = self.devices[place].end_request()
        return "ok" if answer["ok"] else str(answer["code"])

    def try_as(self, place: int, user: str) -> str:
        self.speak(place, user)
        return self.is_heard(place)

    def push(self, *places: int, **to: Any) -> None:
        """A message that the devices at `places` get, and no other; each second one at QoS 0."""
        self.push_later(*places, **to)
        for place in places:
            device = self.devices[place]
            while self.sent not in device.got:
                assert device.message() is not None, (self.sent, device.got[-5:], to)

    def push_later(self, *places: int, **to: Any) -> None:
        """The same; nobody waits for it."""
        self.sent += 1
        receipt = self.api.push(to=to, data={"n": self.sent}, qos=self.sent % 2, ttl=60)
        if self.sent % 2:
            assert self.api.message(receipt.id).addressed == len(places), (self.sent, to)
        for place in places:
            self.wanted[place].append(self.sent)

    def check_received(self) -> None:
        """Each device has exactly what was for it."""
        for place, device in enumerate(self.devices):
            self.sent += 1
            self.api.push(to={"token": self.pairs[place].token}, data={"n": self.sent})
            while self.sent not in device.got:
                assert device.message() is not None, (device.got[-5:], self.wanted[place][-5:])
            while device.message(LATE_SECONDS) is not None:
                pass
            got = sorted(set(device.got))  # after a redelivery a copy may come
            assert got == sorted([*self.wanted[place], self.sent]), place
            device.got.clear()
            self.wanted[place] = []


@pytest.fixture
def make_scene(make_system: Any) -> Iterator[Callable[..., Scene]]:
    """`make_scene(2)`: with so many connectors; `make_scene(system)`: with that one, started."""
    scenes: list[Scene] = []

    def make(system: System | int) -> Scene:
        if isinstance(system, int):
            system = make_stopped(make_system, system)
            system.start()
        scenes.append(Scene(system))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


def make_stopped(make_system: Any, connectors: int, **options: Any) -> System:
    system: System = make_system(
        connectors=connectors,
        groups=1,
        start=False,
        limits_registrations_per_minute="0",
        limits_connects_per_minute="0",
        chat_groups_per_minute="0",
        chat_messages_per_minute="0",
        **options,
    )
    return system


def bind_and_try(scene: Scene, places: range) -> None:
    """Bind, bind to another user, and unbind; what follows each answer is judged by it."""
    tokens = [scene.pairs[place].token for place in places]
    for user, other in (USERS, USERS[::-1]):
        for token in tokens:
            assert scene.api.bind(user, token) == []
        for place in places:
            assert scene.try_as(place, user) == "ok"
            assert scene.try_as(place, other) == "not_member"
        scene.push(*places, user=user)
        scene.push(user=other)
    for token in tokens:
        assert scene.api.unbind(user, token) == []
    for place in places:
        assert scene.try_as(place, user) == "not_allowed"
    scene.push(user=user)


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_a_binding_is_in_effect_when_it_is_answered(make_scene: Any, connectors: int) -> None:
    scene = make_scene(connectors)
    for number in range(ROUNDS // connectors):
        bind_and_try(scene, range(connectors))
        if number % 10 == 9:
            scene.check_received()
    scene.check_received()


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_an_erased_user_and_a_forgotten_device_are_gone_when_it_is_answered(
    make_scene: Any, connectors: int
) -> None:
    scene = make_scene(connectors)
    places = range(connectors)
    for _ in range(ROUNDS // 4):
        for place in places:
            scene.api.bind("anna", scene.pairs[place].token)
            assert scene.try_as(place, "anna") == "ok"
        assert scene.api.erase_user("anna") == []
        for place in places:
            assert scene.try_as(place, "anna") == "not_allowed"
        scene.push(user="anna")
        scene.chat.add_members(scene.groups["anna"], ["anna"])  # if erasing ended that
    scene.check_received()
    for _ in range(ROUNDS // 4):
        for place in places:
            scene.api.subscribe("news", scene.pairs[place].token)
            assert scene.api.forget(scene.pairs[place].token) == []
            scene.push(topic="news")
            with pytest.raises(Ended, match=r"kicked|taken_over"):
                scene.try_as(place, "anna")
            scene.devices[place].close()
            scene.pairs[place] = scene.system.register(1)[0]
            scene.devices[place] = scene.connected(place)


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_a_subscription_is_in_effect_when_it_is_answered(make_scene: Any, connectors: int) -> None:
    """Of a backend, and of the device itself."""
    scene = make_scene(connectors)
    for number in range(ROUNDS // 2):
        for place in range(connectors):
            if number % 2:
                assert scene.api.subscribe("news", scene.pairs[place].token) == []
            else:
                assert scene.devices[place].ask(RequestName.TS, {"topic": "news"})["ok"]
        scene.push(*range(connectors), topic="news")
        scene.push(*range(connectors), topic="news")
        for place in range(connectors):
            if number % 4 < 2:
                assert scene.api.unsubscribe("news", scene.pairs[place].token) == []
            else:
                assert scene.devices[place].ask(RequestName.TU, {"topic": "news"})["ok"]
        scene.push(topic="news")
        scene.push(topic="news")
        if number % 10 == 9:
            scene.check_received()
    scene.check_received()


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_who_is_in_a_group_is_in_effect_when_it_is_answered(
    make_scene: Any, connectors: int
) -> None:
    """Added, removed, left and dismissed, on either interface."""
    scene = make_scene(connectors)
    places = range(connectors)
    owner = scene.devices[-1]
    members = [f"member{place}" for place in places]
    for place in places:
        scene.api.bind(members[place], scene.pairs[place].token)
    for number in range(ROUNDS // 3):
        by_device = number % 2 == 1
        if by_device:
            made = owner.ask(RequestName.GC, {"name": "g", "members": members[:1]})
            assert made["ok"], made
            group = made["group"]
            added = owner.ask(RequestName.GAM, {"group": group, "users": members[1:] or ["x"]})
        else:
            group = scene.chat.create_group(OWNER, "g", members=members[:1]).group
            added = {"silent": scene.chat.add_members(group, [*members[1:], "x"]).silent}
        assert not added.get("silent"), added
        scene.push(*places, len(scene.devices) - 1, group=group)
        scene.push(*places, len(scene.devices) - 1, group=group)
        if number % 3 == 0:
            assert scene.devices[0].ask(RequestName.GQ, {"group": group}) == {"ok": True}
        elif by_device:
            done = owner.ask(RequestName.GKM, {"group": group, "users": members[:1]})
            assert done == {"ok": True, "results": {members[0]: "ok"}}
        else:
            assert scene.chat.remove_member(group, members[0]) == []
        scene.push(*places[1:], len(scene.devices) - 1, group=group)
        scene.push(*places[1:], len(scene.devices) - 1, group=group)
        if by_device:
            assert owner.ask(RequestName.GD, {"group": group}) == {"ok": True}
        else:
            assert scene.chat.dismiss_group(group) == []
        if number % 10 == 9:
            scene.check_received()
    scene.check_received()


def test_bindings_are_in_effect_when_redis_answers_late(
    make_scene: Any, make_system: Any, slow_redis: Any
) -> None:
    system = make_stopped(make_system, 2)
    proxy: SlowRedis = slow_redis(system, *system.connectors)
    system.start()
    scene = make_scene(system)
    proxy.delay_seconds = 0.3
    for _ in range(ROUNDS_WHEN_SLOW):
        bind_and_try(scene, range(2))
        # Bound and unbound before the connector has read what the first of them began.
        for place in range(2):
            token = scene.pairs[place].token
            scene.api.subscribe("news", token)
            scene.api.unsubscribe("news", token)
        scene.push(topic="news")
        scene.push(topic="news")
        scene.check_received()


@pytest.mark.parametrize(
    ("how", "servers"), [("paused", 1), ("cut off", 1), ("paused", 3)], ids=str
)
def test_a_connector_that_cannot_confirm_is_named_and_judges_by_the_new_state(
    make_scene: Any, make_system: Any, slow_redis: Any, how: str, servers: int
) -> None:
    system = make_stopped(make_system, 2, servers=servers)
    silent = system.connectors[0]
    proxy: SlowRedis | None = slow_redis(system, silent) if how == "cut off" else None
    system.start()
    scene = make_scene(system)
    token, group = scene.pairs[0].token, scene.groups["ben"]

    def write(act: Callable[[], list[str]]) -> None:
        """`act` is answered while the connector cannot hear of it; then a request comes at once."""
        # Until it hears of writes again, and what it holds is read anew.
        system.wait(lambda: scene.api.subscribe("any", token) == [], "the connector confirms")
        if proxy is None:
            silent.pause()
        else:
            proxy.cut_subscribers()
        assert act() == [silent.name]

    def go_on() -> None:
        if proxy is None:
            silent.resume()

    scene.api.bind("anna", token)
    write(lambda: scene.api.bind("ben", token))
    scene.speak(0, "anna")
    scene.push(user="anna")
    scene.push(user="anna")
    go_on()
    assert scene.is_heard(0) == "not_member"
    assert scene.try_as(0, "ben") == "ok"

    write(lambda: scene.api.unbind("ben", token))
    scene.speak(0, "ben")
    scene.push(user="ben")
    scene.push(user="ben")
    go_on()
    assert scene.is_heard(0) == "not_allowed"

    scene.api.bind("ben", token)
    write(lambda: scene.api.unsubscribe("any", token))
    scene.push(topic="any")
    scene.push(topic="any")
    go_on()
    scene.api.subscribe("any", token)
    write(lambda: scene.chat.remove_member(group, "ben"))
    scene.speak(0, "ben")
    scene.push_later(2, group=group)
    scene.push_later(2, group=group)
    go_on()
    assert scene.is_heard(0) == "not_member"

    scene.api.subscribe("news", token)
    write(lambda: scene.api.forget(token))
    scene.push(topic="news")
    go_on()
    with pytest.raises(Ended, match=r"kicked|taken_over"):
        scene.try_as(0, "ben")


def test_nobody_waits_for_a_device_that_is_not_there(make_scene: Any) -> None:
    """Nor for the connector that had its last session, when that is gone: nobody asks it."""
    scene = make_scene(2)
    token = scene.pairs[0].token
    scene.devices[0].close()
    system = scene.system
    system.wait(lambda: not scene.api.device(token)["online"], "it is away")
    scene.connector(0).pause()
    try:
        assert scene.api.bind("anna", token) == []
        assert scene.api.unbind("anna", token) == []
        assert scene.api.subscribe("news", token) == []
    finally:
        scene.connector(0).resume()

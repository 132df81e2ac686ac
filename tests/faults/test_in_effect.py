"""Bans and kicks are in effect when answered (delivery.md, "Writes in effect"), whatever is
paused, cut off or slow meanwhile. Daemons are processes of their own."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from push.wire.signals import ConnectStatus, RequestName
from tests.amounts import amount
from tests.faults.processes import DEADLINE_SECONDS, Daemon
from tests.faults.raw import Ended, Pair, RawDevice
from tests.faults.system import System

ROUNDS = amount(24, 200)
ROUNDS_WHEN_SLOW = amount(1, 3)
ROUNDS_OF_TALK = amount(4, 8)
# What holds with two holds with one: each judges its own sessions.
CONNECTORS = amount([2], [1, 2])
TALK = 60  # messages
SLOW_SECONDS = 0.1
FAR = "127.0.0.2"  # where devices of these tests connect from
JWT_KEY = b"a key of at least thirty-two bytes"
ACCEPTED = (ConnectStatus.ACCEPTED, None)
BANNED = (ConnectStatus.NOT_AUTHORIZED, "banned")


def make(make_system: Any, connectors: int, **options: Any) -> System:
    system: System = make_system(
        connectors=connectors,
        sub=True,
        groups=1,
        limits_registrations_per_minute="0",
        limits_connects_per_minute="0",
        **{"chat_messages_per_minute": "0", **options},
    )
    return system


def connected(system: System, pairs: list[Pair]) -> list[RawDevice]:
    """The devices of `pairs`, each on the connector of its place."""
    devices = []
    for connector, pair in zip(system.connectors, pairs, strict=True):
        device = RawDevice(connector.device_port, source=FAR)
        device.connect(pair)
        devices.append(device)
    return devices


def outcome(connector: Daemon, pair: Pair) -> tuple[ConnectStatus, str | None]:
    """What a CONNECT is answered at once."""
    device = RawDevice(connector.device_port, source=FAR)
    device.begin_connect(pair)
    status, body = device.connect_status()
    device.close()
    return status, body.get("code")


def jwt_of(user: str) -> str:
    return jwt.encode({"sub": user, "aud": "push", "exp": int(time.time() + 600)}, JWT_KEY, "HS256")


def end_of(device: RawDevice) -> str:
    """How a session ends that sends a message to bob at once; "" if it is answered."""
    try:
        speak(device)
        device.end_request()
    except Ended as ended:
        return str(ended)
    return ""


def speak(device: RawDevice) -> None:
    device.begin_request(RequestName.MS, {"to": {"user": "bob"}, "data": "hello"})


def said_to_bob(system: System) -> int:
    """How many messages bob has been sent by anybody."""
    status, found = system.groups[0].get("/v1/users/bob/conversations", system.admin_key)
    assert status == 200, found
    return sum(each["seq"] for each in found["conversations"])


def registration(system: System) -> int:
    """The status of a registration by HTTP at push-sub."""
    assert system.sub is not None
    body = json.dumps({"platform": "linux", "app": "faults"})
    headers = {
        "Authorization": f"Bearer {system.admin_key}",
        "Content-Type": "application/json",
    }
    connection = http.client.HTTPConnection(
        "127.0.0.1", system.sub.http_port, timeout=DEADLINE_SECONDS, source_address=(FAR, 0)
    )
    try:
        connection.request("POST", "/v1/devices", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_a_ban_and_its_end_are_in_effect_when_they_are_answered(
    make_system: Any, api_of: Any, connectors: int
) -> None:
    system = make(make_system, connectors)
    system.wait_registered()
    api = api_of(system)
    pairs = system.register(connectors)
    system.bind("mallory", pairs)
    devices = connected(system, pairs)
    kinds = itertools.cycle(["user", "ip", "token"])
    for number, kind in zip(range(ROUNDS), kinds, strict=False):
        # One device alone is banned by its token, all by their user or address.
        banned = pairs[:1] if kind == "token" else pairs
        what = {kind: {"user": "mallory", "ip": FAR, "token": pairs[0].token}[kind]}

        assert api.ban(**what).silent == [], number

        for connector, pair, device in zip(system.connectors, banned, devices, strict=False):
            assert end_of(device) == "kicked", (number, kind)
            assert outcome(connector, pair) == BANNED, (number, kind)
        if kind == "ip":
            assert registration(system) == 403, number

        assert api.unban(**what) == [], number

        for place, (connector, pair) in enumerate(zip(system.connectors, banned, strict=False)):
            devices[place].close()
            devices[place] = RawDevice(connector.device_port, source=FAR)
            devices[place].begin_connect(pair)
            status, body = devices[place].connect_status()
            assert (status, body.get("code")) == ACCEPTED, (number, kind)
        if kind == "ip":
            assert registration(system) == 201, number
    assert said_to_bob(system) == 0
    for device in devices:
        device.close()


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_a_session_that_is_bound_to_a_banned_user_has_ended_when_that_is_answered(
    make_system: Any, api_of: Any, connectors: int
) -> None:
    system = make(make_system, connectors)
    system.wait_registered()
    api = api_of(system)
    pairs = system.register(connectors)
    assert api.ban(user="mallory").silent == []
    for number in range(ROUNDS):
        place = number % connectors
        connector, pair = system.connectors[place], pairs[place]
        api.bind("ann", pair.token)
        device = RawDevice(connector.device_port)
        device.connect(pair)
        api.bind("mallory", pair.token)
        assert end_of(device) == "kicked", number
        assert outcome(connector, pair) == BANNED, number
        device.close()
    assert said_to_bob(system) == 0


def test_a_connector_that_stands_still_is_named_and_judges_by_the_new_state_when_it_goes_on(
    make_system: Any, api_of: Any
) -> None:
    system = make(make_system, 2)
    system.wait_registered()
    api, paused = api_of(system), system.connectors[1]
    pairs = system.register(3)
    system.bind("mallory", pairs)
    open_session = RawDevice(paused.device_port)
    open_session.connect(pairs[0])
    late = RawDevice(paused.device_port)  # accepted before, and asks after

    paused.pause()
    assert api.ban(user="mallory").silent == [paused.name]
    assert outcome(system.connectors[0], pairs[1]) == BANNED
    # All is there when it goes on: what it reads first is one of these, or what Redis sent.
    speak(open_session)
    late.begin_connect(pairs[1])
    fresh = RawDevice(paused.device_port)
    fresh.begin_connect(pairs[2])
    paused.resume()

    for device in (late, fresh):
        status, body = device.connect_status()
        assert (status, body["code"]) == BANNED
    with pytest.raises(Ended, match="kicked"):
        open_session.end_request()
    assert said_to_bob(system) == 0

    system.wait(lambda: not api.ban(user="mallory").silent, "all confirm")
    paused.pause()
    assert api.unban(user="mallory") == [paused.name]
    again = RawDevice(paused.device_port)
    again.begin_connect(pairs[2])
    paused.resume()
    status, body = again.connect_status()
    assert (status, body.get("code")) == ACCEPTED


@pytest.mark.parametrize("servers", [1, 3])
def test_what_a_connector_missed_while_it_stood_still_ends_sessions_before_they_do_anything(
    make_system: Any, api_of: Any, tmp_path: Path, servers: int
) -> None:
    """Sessions of a device and of a user without one. They ask for something, and messages are
    pushed to them, while their connector stands still."""
    key = tmp_path / "jwt.key"
    key.write_bytes(JWT_KEY)
    system = make(make_system, 2, servers=servers, auth_jwt_key_file=str(key))
    system.wait_registered()
    api, paused = api_of(system), system.connectors[1]
    writes: dict[str, Callable[[str], list[str]]] = {
        "kick": lambda user: api.kick_user(user).silent,
        "kick of an address": lambda _: api.kick_ip(FAR).silent,
        "ban": lambda user: api.ban(user=user).silent,
        "erase": api.erase_user,
    }
    for what, write in writes.items():
        user, (pair,) = f"mallory {what}".replace(" ", "-"), system.register(1)
        system.bind(user, [pair])
        device, alone = (RawDevice(paused.device_port, source=FAR) for _ in range(2))
        device.connect(pair)
        alone.begin_connect_as(jwt_of(user))
        alone.end_connect()
        system.wait(lambda: not api.ban(user="nobody").silent, "the connector confirms")
        paused.pause()
        try:
            assert write(user) == [paused.name], what
            for session in (device, alone):
                speak(session)
            for qos in (0, 1, 0, 1):
                api.push(to={"user": user}, data={"n": 1}, qos=qos)
        finally:
            paused.resume()
        with pytest.raises(Ended, match="kicked"):
            assert alone.message() is None, what
        if what == "erase":
            assert device.end_request()["code"] == "not_allowed"
            assert device.message(0.2) is None
            device.close()
        else:
            with pytest.raises(Ended, match="kicked"):
                assert device.message() is None, what
    assert said_to_bob(system) == 0


def test_a_push_sub_that_stands_still_is_named_and_judges_by_the_new_state_when_it_goes_on(
    make_system: Any, api_of: Any
) -> None:
    system = make(make_system, 1)
    system.wait_registered()
    api = api_of(system)
    assert system.sub is not None
    system.sub.pause()
    try:
        assert api.ban(ip=FAR).silent == [system.sub.name]
    finally:
        system.sub.resume()
    assert registration(system) == 403
    system.wait(lambda: not api.ban(ip=FAR).silent, "all confirm")
    assert api.unban(ip=FAR) == []
    assert registration(system) == 201


def test_a_connector_whose_subscriptions_are_lost_unnoticed_judges_by_the_new_state(
    make_system: Any, api_of: Any, slow_redis: Any
) -> None:
    """Redis has lost its subscriber; the connector is not told, and hears nothing."""
    system = make(make_system, 2, start=False)
    cut = system.connectors[1]
    proxy = slow_redis(system, cut)
    system.start()
    system.wait_registered()
    api = api_of(system)
    pairs = system.register(2)
    system.bind("mallory", pairs)
    open_session = RawDevice(cut.device_port)
    open_session.connect(pairs[0])

    proxy.cut_subscribers()
    assert api.ban(user="mallory").silent == [cut.name]

    assert outcome(cut, pairs[1]) == BANNED
    assert end_of(open_session) == "kicked"
    assert said_to_bob(system) == 0
    system.wait(lambda: not api.ban(user="mallory").silent, "all confirm")
    proxy.cut_subscribers()
    assert api.unban(user="mallory") == [cut.name]
    # Until the connection is made anew it cannot promise to deliver; but nobody is banned.
    seen = set()

    def accepted() -> bool:
        seen.add(outcome(cut, pairs[1]))
        return ACCEPTED in seen

    system.wait(accepted, "the device is let in")
    assert seen <= {ACCEPTED, (ConnectStatus.SERVER_UNAVAILABLE, "unavailable")}


def test_bans_are_in_effect_when_redis_answers_late(
    make_system: Any, api_of: Any, slow_redis: Any
) -> None:
    system = make(make_system, 2, start=False)
    proxy = slow_redis(system, *system.daemons)
    system.start()
    system.wait_registered()
    api = api_of(system)
    pairs = system.register(2)
    system.bind("mallory", pairs)
    proxy.delay_seconds = 0.5
    for number in range(ROUNDS_WHEN_SLOW):
        devices = connected(system, pairs)
        assert api.ban(user="mallory").silent == [], number
        for connector, pair, device in zip(system.connectors, pairs, devices, strict=True):
            assert end_of(device) == "kicked", number
            assert outcome(connector, pair) == BANNED, number
        assert api.unban(user="mallory") == [], number
    assert [outcome(*each) for each in zip(system.connectors, pairs, strict=True)] == [ACCEPTED] * 2
    assert said_to_bob(system) == 0


@pytest.mark.usefixtures("both_cores_busy")
@pytest.mark.parametrize("connectors", CONNECTORS)
def test_a_kick_is_in_effect_when_it_is_answered(
    make_system: Any, api_of: Any, connectors: int
) -> None:
    system = make(make_system, connectors)
    system.wait_registered()
    api = api_of(system)
    pairs = system.register(connectors)
    system.bind("mallory", pairs)
    kinds = itertools.cycle(["user", "ip", "token", "session"])
    for number, kind in zip(range(ROUNDS), kinds, strict=False):
        devices, sessions = [], []
        for connector, pair in zip(system.connectors, pairs, strict=True):
            devices.append(RawDevice(connector.device_port, source=FAR))
            devices[-1].begin_connect(pair)
            status, body = devices[-1].connect_status()
            assert status is ConnectStatus.ACCEPTED
            sessions.append(body["session"])
        kicked = devices if kind in ("user", "ip") else devices[:1]
        if kind == "user":
            done = api.kick_user("mallory")
        elif kind == "ip":
            done = api.kick_ip(FAR)
        elif kind == "token":
            done = api.kick_device(pairs[0].token)
        else:
            done = api.kick_session(sessions[0])
        assert (done.kicked, done.silent) == (len(kicked), []), (number, kind)
        assert [end_of(device) for device in kicked] == ["kicked"] * len(kicked), (number, kind)
        for device in devices:
            device.close()
    assert said_to_bob(system) == 0


def test_what_a_kicked_session_had_asked_for_is_done_before_the_answer_or_never(
    make_system: Any, api_of: Any, slow_redis: Any
) -> None:
    """Messages wait in the connector while Redis answers late: one of them is under way, and needs
    two answers of Redis."""
    system = make(make_system, 1, start=False, chat_messages_per_minute="100000")
    proxy = slow_redis(system, *system.connectors)
    system.start()
    system.wait_registered()
    api = api_of(system)
    pairs = system.register(2)
    system.bind("mallory", pairs)
    port = system.connectors[0].device_port
    other = RawDevice(port)
    other.connect(pairs[1])
    for round_number in range(ROUNDS_OF_TALK):
        talker = RawDevice(port)
        talker.connect(pairs[0])
        before = said_to_bob(system)
        proxy.delay_seconds = SLOW_SECONDS
        for number in range(1, TALK + 1):
            talker.begin_request(
                RequestName.MS, {"to": {"user": "bob"}, "data": number}, message_id=number
            )
        assert talker.end_request()["ok"]
        # Each round the kick comes at another moment between the two answers.
        time.sleep(2 * SLOW_SECONDS * round_number / ROUNDS_OF_TALK)

        assert api.kick_device(pairs[0].token).kicked == 1

        said = said_to_bob(system)
        assert before < said < before + TALK
        proxy.delay_seconds = 0.0
        # Behind all that the connector had asked of Redis until then.
        speak(other)
        assert other.end_request()["seq"] == said + 1
        assert said_to_bob(system) == said + 1
        talker.close()

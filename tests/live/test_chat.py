"""The scenes by which chat is judged, on a real server: two people, and a large group."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.crowd import Backend, Crowd, Person, make_group
from benchmarks.running import Running, raise_file_limit, started_server
from tests.amounts import amount
from tests.conftest import RedisServer
from tests.faults.processes import Redis

MEMBERS, WRITERS, MESSAGES = amount((250, 25, 50), (1000, 50, 100))
READ = 30


@pytest.fixture(scope="module", params=[1, 3], ids=["one server", "three servers"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """`twistd push` on its embedded Redis, or on three servers that share the streams."""
    with ExitStack() as stack:
        settings = {"chat_messages_per_minute": "0"}
        if request.param > 1:
            servers = [Redis() for _ in range(request.param)]
            for server in servers:
                stack.callback(server.remove)
                server.start()
            settings["redis_url"] = json.dumps([server.url for server in servers])
        yield stack.enter_context(started_server(**settings))


def unread_of(crowd: Crowd, person: Person) -> dict[str, int]:
    rows = crowd.answer(person, "CL")["conversations"]
    return {row["conversation"]: row["unread"] for row in rows}


def test_two_people_with_two_devices_each(running: Running) -> None:
    backend = Backend(running)
    crowd = Crowd(running.tcp_address, ["anna", "anna", "bob", "bob"])
    crowd.meet(running.app_key, backend)
    anna, annas_other, bob, bobs_other = crowd.people

    # Both write at the same time, from all their devices.
    numbers = []
    for n in range(20):
        for person, to in (
            (anna, "bob"),
            (bob, "anna"),
            (annas_other, "bob"),
            (bobs_other, "anna"),
        ):
            number = crowd.ask(person, "MS", to={"user": to}, data=n, client_id=f"{n}-{id(person)}")
            numbers.append((person, number))
    crowd.pump(lambda: all(len(person.messages) == 80 for person in crowd.people))
    crowd.pump(lambda: all(number in person.answers for person, number in numbers))
    for person in crowd.people:
        assert [message["seq"] for message in person.messages] == list(range(1, 81))
        assert [m["id"] for m in person.messages] == [m["id"] for m in anna.messages]

    # Who wrote last has read it all; then one device of each reads on.
    last = "bob" if anna.messages[-1]["from"] == "anna" else "anna"
    mine = {"anna": "user:bob", "bob": "user:anna"}
    reader, other = (anna, annas_other) if last == "anna" else (bob, bobs_other)
    left = unread_of(crowd, reader)[mine[last]]
    assert left == unread_of(crowd, other)[mine[last]] > 0
    crowd.answer(reader, "MRN", conversation=mine[last], read=80)
    assert unread_of(crowd, other) == {mine[last]: 0}
    crowd.leave(other)
    crowd.come_back(other)
    assert unread_of(crowd, other) == {mine[last]: 0}

    # One is away meanwhile, and has it all in order when it is back.
    away = bobs_other
    crowd.leave(away)
    for n in range(5):
        crowd.answer(anna, "MS", to={"user": "bob"}, data=f"away {n}")
    crowd.come_back(away)
    crowd.pump(lambda: len(away.messages) == 85)
    assert away.texts("user:anna")[-5:] == [f"away {n}" for n in range(5)]
    assert unread_of(crowd, away) == unread_of(crowd, bob) == {"user:anna": 5}
    page = crowd.answer(away, "MP", conversation="user:anna", after=0, limit=200)
    assert [message["id"] for message in page["messages"]] == [m["id"] for m in away.messages]
    crowd.close()


def test_many_messages_at_once_in_a_large_group(running: Running) -> None:
    raise_file_limit()
    backend = Backend(running)
    users = [f"user{n}" for n in range(MEMBERS)]
    crowd = Crowd(running.tcp_address, users)
    crowd.meet(running.app_key, backend)
    group = make_group(backend, users)
    conversation = f"group:{group}"

    for n in range(MESSAGES):
        writer = crowd.people[(n % WRITERS) * (MEMBERS // WRITERS)]
        crowd.ask(writer, "MS", to={"group": group}, data=n)
    crowd.pump(lambda: all(len(person.messages) >= MESSAGES for person in crowd.people))

    order = [message["data"] for message in crowd.people[0].messages]
    assert sorted(order) == list(range(MESSAGES))
    for person in crowd.people:
        assert [message["seq"] for message in person.messages] == list(range(1, MESSAGES + 1))
        assert [message["data"] for message in person.messages] == order
    reader = crowd.people[1]
    assert unread_of(crowd, reader) == {conversation: MESSAGES}
    crowd.answer(reader, "MRN", conversation=conversation, read=READ)
    for person in crowd.people[1:200:20]:
        crowd.leave(person)
        crowd.come_back(person)
        expected = MESSAGES - READ if person is reader else MESSAGES
        assert unread_of(crowd, person) == {conversation: expected}
    crowd.answer(crowd.people[0], "MS", to={"group": group}, data="end")
    crowd.pump(lambda: all(p.texts(conversation)[-1:] == ["end"] for p in crowd.people))
    assert {len(person.messages) for person in crowd.people} == {MESSAGES + 1}
    crowd.close()


def test_daemons_of_their_own(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> None:
    """push-connector, push-api and push-group on one Redis: what one does the others know."""
    redis = make_redis().url
    with (
        started_server(
            "push-connector", tmp_path, redis_url=redis, connector_admin="127.0.0.1:0"
        ) as connector,
        started_server("push-api", tmp_path, redis_url=redis) as api,
        started_server("push-group", tmp_path, redis_url=redis) as group,
    ):
        crowd = Crowd(connector.tcp_address, ["anna", "bob"])
        crowd.meet(connector.app_key, Backend(api))
        anna, bob = crowd.people
        backend = Backend(group)
        id = make_group(backend, ["anna", "bob"])
        message = {"from": "bob", "data": "from HTTP"}
        backend.call("POST", f"/v1/groups/{id}/messages", message)
        crowd.answer(anna, "MS", to={"group": id}, data="from a device")
        crowd.pump(lambda: all(len(person.messages) == 2 for person in crowd.people))
        assert bob.texts(f"group:{id}") == ["from HTTP", "from a device"]
        online = crowd.answer(anna, "PS", users=["bob", "carol", "anna"])["online"]
        assert online == {"bob": True, "anna": True}
        crowd.close()

"""The users of the demo: how they begin, and that nothing of them is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_twisted
from twisted.internet.task import Clock

from push.chat.conversation_id import to_user
from push.http.demo.names import made_up_name
from push.http.demo.people import (
    HOST,
    IDLE_SECONDS,
    LONGEST_SECONDS,
    MAX_PEOPLE,
    MAX_PER_ADDRESS,
    SWEEP_SECONDS,
    Leftover,
    People,
    Person,
)
from push.http.demo.room import Room
from push.wire.api.conversations import NewMessage
from push.wire.errors import RequestError
from tests.connector.conftest import Node
from tests.waiting import wait_until

MakeNode = Callable[..., Awaitable[Node]]
IP = "127.0.0.1"


class World:
    """Everybody of a demo, on a real Redis, and a clock that the test moves."""

    def __init__(self, node: Node, journal: Path) -> None:
        self.node = node
        self.clock = Clock()
        self.journal = journal
        self.room = Room(node.chat.groups, node.chat.conversations, HOST)
        self.people = People(self.clock, node.devices, node.erasure, self.room, journal)

    async def join(self, name: str | None = None) -> Person:
        person, _ = await self.people.join(name, IP)
        return person

    async def is_gone(self, person: Person) -> bool:
        """Nothing of the user, nor of the device."""
        device = await self.node.devices.exists(person.token)
        return not device and not await self.node.devices.tokens_of(person.user)

    async def members(self) -> list[str]:
        page = await self.node.chat.groups.members(self.room.group, None, cursor="", limit=200)
        return [member.user for member in page.members]

    def left(self) -> list[Leftover]:
        return msgspec.json.decode(self.journal.read_bytes(), type=list[Leftover])


@pytest.fixture
def make_world(
    make_node: MakeNode, redis_url: str, tmp_path: Path
) -> Callable[[], Awaitable[World]]:
    async def make() -> World:
        world = World(await make_node(redis_url), tmp_path / "demo-users.json")
        world.people.start()
        return world

    return make


MakeWorld = Callable[[], Awaitable[World]]


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(RequestError) as refusal:
        await call
    return refusal.value.code


@pytest_twisted.ensureDeferred
async def test_a_page_gets_a_user_a_device_and_the_group(make_world: MakeWorld) -> None:
    world = await make_world()
    anna, bob = await world.join("anna"), await world.join()
    assert anna.user == "demo-anna"
    assert bob.user.startswith("demo-")
    assert await world.node.devices.tokens_of("demo-anna") == [anna.token]
    assert set(await world.members()) == {HOST, anna.user, bob.user}
    assert world.people.of(anna.ticket) is anna
    assert world.people.has("demo-anna")
    await world.people.stop()


@pytest_twisted.ensureDeferred
async def test_a_name_is_given_once_and_never_that_of_somebody_else(make_world: MakeWorld) -> None:
    """A user who has devices, conversations or groups is not the demo's to give away."""
    world = await make_world()
    await world.join("anna")
    node = world.node
    pair = await node.devices.register(platform="p", app="a", ip=IP)
    await node.devices.bind("demo-device", pair.token)
    chat = node.chat
    said = NewMessage(data=msgspec.Raw(b'"hello"'))
    await chat.messages.send(
        "demo-writer", to_user("demo-writer", "bob", "user"), said, by_device=False
    )
    await chat.groups.add(world.room.group, ["demo-member"], None)
    for name in ("anna", "device", "writer", "member", "host"):
        assert await refused(world.join(name)) == "already_exists", name
    assert len(world.people) == 1
    await world.people.stop()


@pytest_twisted.ensureDeferred
async def test_leaving_erases_and_frees_the_name(make_world: MakeWorld) -> None:
    world = await make_world()
    anna = await world.join("anna")
    await world.people.leave(anna)
    assert await world.is_gone(anna)
    assert anna.user not in await world.members()
    assert await refused(_of(world, anna)) == "unauthenticated"
    assert (await world.join("anna")).token != anna.token
    await world.people.stop()


async def _of(world: World, person: Person) -> Person:
    return world.people.of(person.ticket)


@pytest_twisted.ensureDeferred
async def test_a_page_that_asks_no_more_is_erased(make_world: MakeWorld) -> None:
    world = await make_world()
    anna, bob = await world.join("anna"), await world.join("bob")
    world.clock.advance(IDLE_SECONDS)
    world.people.of(bob.ticket)
    world.clock.advance(SWEEP_SECONDS)
    await wait_until(lambda: world.is_gone(anna))
    assert list(world.people) == [bob]
    assert not await world.is_gone(bob)
    await world.people.stop()


@pytest_twisted.ensureDeferred
async def test_a_page_that_asks_for_long_is_erased_too(make_world: MakeWorld) -> None:
    world = await make_world()
    anna = await world.join("anna")
    for _ in range(int(LONGEST_SECONDS / SWEEP_SECONDS)):
        world.clock.advance(SWEEP_SECONDS)
        assert world.people.of(anna.ticket) is anna
    world.clock.advance(SWEEP_SECONDS)
    await wait_until(lambda: world.is_gone(anna))
    assert await refused(_of(world, anna)) == "unauthenticated"
    await world.people.stop()


@pytest_twisted.ensureDeferred
async def test_the_end_leaves_nobody_and_no_group(make_world: MakeWorld) -> None:
    world = await make_world()
    people = [await world.join(), await world.join()]
    group = world.room.group
    await world.people.stop()
    assert [await world.is_gone(person) for person in people] == [True, True]
    assert await refused(world.node.chat.groups.get(group, None)) == "unknown_group"
    assert world.left() == []


@pytest_twisted.ensureDeferred
async def test_what_a_killed_process_left_is_erased_by_the_next(make_world: MakeWorld) -> None:
    first = await make_world()
    anna = await first.join("anna")
    group = first.room.group
    first.people._sweeps.stop()  # as if killed: nothing is cleared away
    second = await make_world()
    await wait_until(lambda: second.is_gone(anna))
    await wait_until(lambda: second.left() == [])
    assert await refused(second.node.chat.groups.get(group, None)) == "unknown_group"
    assert (await second.join("anna")).user == "demo-anna"
    await second.people.stop()


@pytest_twisted.ensureDeferred
async def test_a_journal_that_names_others_erases_nobody_else(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    left = [Leftover("anna", ""), Leftover("demo-bob", "")]
    (tmp_path / "demo-users.json").write_bytes(msgspec.json.encode(left))
    first = await make_world()
    pair = await first.node.devices.register(platform="p", app="a", ip=IP)
    await first.node.devices.bind("anna", pair.token)
    second = await make_world()
    await wait_until(lambda: second.left() == [])
    assert await second.node.devices.tokens_of("anna") == [pair.token]
    for world in (first, second):
        await world.people.stop()


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'[{"user": 1}]', b"\xff"])
@pytest_twisted.ensureDeferred
async def test_a_journal_that_cannot_be_read_is_ignored(
    make_world: MakeWorld, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / "demo-users.json").write_bytes(text)
    world = await make_world()
    assert (await world.join("anna")).user == "demo-anna"
    await world.people.stop()


@pytest_twisted.ensureDeferred
async def test_there_is_room_for_so_many_and_no_more(make_world: MakeWorld) -> None:
    world = await make_world()
    people = [await world.join() for _ in range(MAX_PEOPLE)]
    assert len({person.user for person in people}) == MAX_PEOPLE
    assert await refused(world.join()) == "unavailable"
    await world.people.leave(people[0])
    assert (await world.join()).user
    await world.people.stop()


@pytest.mark.parametrize(
    ("first", "second"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::2")]
)
@pytest_twisted.ensureDeferred
async def test_one_address_does_not_take_all_the_room(
    make_world: MakeWorld, first: str, second: str
) -> None:
    world = await make_world()
    for _ in range(MAX_PER_ADDRESS):
        person, _ = await world.people.join(None, first)
    assert await refused(world.people.join(None, second)) == "rate_limited"
    await world.people.join(None, "198.51.100.7")
    await world.people.leave(person)
    await world.people.join(None, second)
    await world.people.stop()


def test_a_limit_a_minute() -> None:
    person = Person("demo-a", "", "", IP, 0, 0)
    for _ in range(3):
        person.take("pushes", 3, 10)
    with pytest.raises(RequestError) as refusal:
        person.take("pushes", 3, 30)
    assert (refusal.value.code, refusal.value.after_seconds) == ("rate_limited", 40)
    person.take("cuts", 3, 30)
    person.take("pushes", 3, 70)


def test_names_that_are_made_up_are_free_ones() -> None:
    taken: set[str] = set()
    for _ in range(2000):
        name = made_up_name(taken.__contains__)
        assert name not in taken
        assert len(name) <= 24
        taken.add(name)

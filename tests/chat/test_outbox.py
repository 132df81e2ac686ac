"""Who follows a group when what several servers must do for it comes late, twice, in another order,
or not to its end: the member record beside the group decides (architecture, rules 4, 5 and 13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_twisted

from push.devices.outbox import Outbox, SubscriptionChange
from push.redis.shards import number_of
from push.wire.api.groups import NewGroup
from tests.chat.conftest import MakeNode, User, standing_still_of
from tests.chat.test_messages import say, texts
from tests.conftest import RedisServer
from tests.connector.conftest import Client, Node
from tests.waiting import WaitUntil

SERVERS = 3


@pytest.fixture(params=[3], ids=["three servers"])
def redis_urls(three_servers: list[RedisServer]) -> list[str]:
    for server in three_servers:
        server.ensure_empty()
    return [server.url for server in three_servers]


@pytest_twisted.async_yield_fixture
async def node(make_node: MakeNode, redis_urls: list[str]) -> Any:
    made = await make_node(redis_urls)
    made.listen()
    yield made


class Scene:
    """A group, and bob on another server; what is written down waits until it is to be done."""

    def __init__(self, node: Node, group: str, bob: str, server: RedisServer) -> None:
        self.node = node
        self.group = group
        self.bob = bob
        self.stream = f"group:{group}"
        self.home = node.shards.of(self.stream)
        self._bobs_server = server
        self._number = number_of(f"user:{bob}", SERVERS)
        for runner in node.errand_runners:
            runner.stop()

    async def say(self, data: object) -> None:
        await say(self.node, "anna", self.stream, data)

    async def add(self) -> None:
        done = await self.node.chat.groups.add(self.group, [self.bob], None)
        assert done.results == {self.bob: "ok"}

    async def remove(self) -> None:
        done = await self.node.chat.groups.remove(self.group, [self.bob], None)
        assert done.results == {self.bob: "ok"}

    async def while_bobs_server_stands_still(
        self, wait_until: WaitUntil, *acts: Awaitable[None]
    ) -> list[bytes]:
        """Do `acts`; what is written down then, in its order."""
        with standing_still_of(self.node, self._bobs_server, self._number):
            for act in acts:
                await act
        await wait_until(lambda: not self.node.shards.problems)
        return await self.written()

    async def written(self) -> list[bytes]:
        found: list[bytes] = await self.home.command(
            "ZRANGEBYSCORE", self.home.key("chat-errands"), "-inf", "+inf"
        )
        return sorted(found, key=lambda text: int(msgspec.msgpack.decode(text)[2]))

    async def do(self, *outbox: bytes) -> None:
        for text in outbox:
            await self.node.chat._outbox.run(self.home, [text])


MakeScene = Callable[..., Awaitable[Scene]]


@pytest.fixture
def make_scene(node: Node, three_servers: list[RedisServer]) -> MakeScene:
    """`await make_scene(near=…)`: the device is at home where the group is; `far`: elsewhere."""

    async def make(*, near: str = "", far: str = "") -> Scene:
        for _ in range(200):
            group = (await node.chat.groups.create("anna", NewGroup("g"))).group
            home = number_of(f"group:{group}", SERVERS)
            if near and number_of(f"dev:{near}", SERVERS) != home:
                continue
            if far and number_of(f"dev:{far}", SERVERS) == home:
                continue
            away = number_of("user:bob", SERVERS)
            if away != home:
                return Scene(node, group, "bob", three_servers[away])
        raise AssertionError("no such group")

    return make


def token_of(client: Client) -> str:
    return client._credentials["token"]


async def make_scene_of(make_scene: MakeScene, client: Client, place: str) -> Scene:
    token = token_of(client)
    return await (make_scene(near=token) if place == "near" else make_scene(far=token))


places = pytest.mark.parametrize("place", ["near", "far"])


async def bobs_device(person: User, place: str) -> Client:
    """A device whose home is bob's server when the group is to be elsewhere, else another."""
    bob = number_of("user:bob", SERVERS)
    while True:
        client = await person("bob")
        if place == "far" or number_of(f"dev:{token_of(client)}", SERVERS) != bob:
            return client


@places
@pytest.mark.parametrize("order", ["in order", "reversed"])
@pytest_twisted.ensureDeferred
async def test_who_left_and_came_back_before_it_was_done_hears_from_when_he_came_back(
    person: User, make_scene: MakeScene, wait_until: WaitUntil, place: str, order: str
) -> None:
    client = await bobs_device(person, place)
    scene = await make_scene_of(make_scene, client, place)
    await scene.add()
    await scene.say("first")
    await wait_until(lambda: texts(client) == ["first"])

    outbox = await scene.while_bobs_server_stands_still(
        wait_until, scene.remove(), scene.say("between"), scene.add(), scene.say("back")
    )
    await scene.do(*(outbox if order == "in order" else reversed(outbox)))

    await scene.say("after")
    await wait_until(lambda: "after" in texts(client))
    assert texts(client) == ["first", "back", "after"]


@places
@pytest_twisted.ensureDeferred
async def test_a_device_that_was_away_hears_only_what_was_said_while_he_was_there(
    person: User, dial: Any, node: Node, make_scene: MakeScene, wait_until: WaitUntil, place: str
) -> None:
    """The following of the first time was never ended before that of the second began."""
    client = await bobs_device(person, place)
    scene = await make_scene_of(make_scene, client, place)
    await scene.add()
    client.transport.loseConnection()
    await wait_until(lambda: client.closed)
    outbox = await scene.while_bobs_server_stands_still(
        wait_until, scene.remove(), scene.say("between"), scene.add(), scene.say("back")
    )
    await scene.do(*reversed(outbox))

    again = await dial(node, acks=True)
    await again.connect(**client._credentials)
    await scene.say("after")
    await wait_until(lambda: "after" in texts(again))
    assert texts(again) == ["back", "after"]


@pytest_twisted.ensureDeferred
async def test_a_session_that_opens_before_a_join_is_done_everywhere_follows_from_the_join_on(
    person: User, dial: Any, node: Node, make_scene: MakeScene, wait_until: WaitUntil
) -> None:
    """The device's record says that it follows, and the server of the group was not told yet."""
    client = await bobs_device(person, "far")
    scene = await make_scene_of(make_scene, client, "far")
    outbox = await scene.while_bobs_server_stands_still(wait_until, scene.add())
    broken = Outbox(node.shards)

    async def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    broken.run = killed  # type: ignore[method-assign]
    whole, node.chat._outbox._devices = node.chat._outbox._devices, broken
    with pytest.raises(KeyboardInterrupt):
        await scene.do(outbox[0])
    await scene.say("meanwhile")

    again = await dial(node, acks=True)
    await again.connect(**client._credentials)
    await wait_until(lambda: texts(again) == ["meanwhile"])
    node.chat._outbox._devices = whole
    await scene.do(*outbox)
    await scene.say("after")
    await wait_until(lambda: texts(again) == ["meanwhile", "after"])


@places
@pytest_twisted.ensureDeferred
async def test_a_device_bound_to_who_was_removed_hears_nothing_before_that_is_done_everywhere(
    person: User, make_scene: MakeScene, wait_until: WaitUntil, node: Node, place: str
) -> None:
    client = await bobs_device(person, place)
    await node.devices.unbind("bob", token_of(client))
    scene = await make_scene_of(make_scene, client, place)
    await scene.add()
    outbox = await scene.while_bobs_server_stands_still(wait_until, scene.remove())

    await node.devices.bind("bob", token_of(client))
    await scene.say("not for bob")
    await scene.do(*outbox)
    await scene.say("nor this")
    await say(node, "carol", "user:bob", "end")
    await wait_until(lambda: "end" in texts(client))
    assert texts(client) == ["end"]


@pytest_twisted.ensureDeferred
async def test_a_join_while_a_device_is_being_bound_is_not_missed(
    person: User, make_scene: MakeScene, wait_until: WaitUntil, node: Node
) -> None:
    """What binding has to do elsewhere is done in the wrong order, with a join in between."""
    client = await bobs_device(person, "near")
    token = token_of(client)
    await node.devices.unbind("bob", token)
    scene = await make_scene_of(make_scene, client, "near")
    left: list[bytes] = []

    async def killed(_home: Any, outbox: list[bytes]) -> None:
        left.extend(outbox)

    whole = node.devices._outbox.run
    node.devices._outbox.run = killed  # type: ignore[method-assign]
    await node.devices.bind("bob", token)
    node.devices._outbox.run = whole  # type: ignore[method-assign]
    assert [text.split()[0] for text in left] == [b"follow", b"enlist"]

    home = node.shards.of(f"dev:{token}")
    await whole(home, [left[1]])
    await scene.add()
    await whole(home, [left[0]])

    await scene.say("for bob")
    await wait_until(lambda: texts(client) == ["for bob"])


@places
@pytest_twisted.ensureDeferred
async def test_who_was_killed_in_the_middle_of_a_late_errand_has_undone_nothing(
    person: User, make_scene: MakeScene, wait_until: WaitUntil, node: Node, place: str
) -> None:
    """He had taken a device out of the group when a later errand let it follow again."""
    client = await bobs_device(person, place)
    scene = await make_scene_of(make_scene, client, place)
    await scene.add()
    removed, *others = await scene.while_bobs_server_stands_still(
        wait_until, scene.remove(), scene.add()
    )
    await scene.do(removed, *others)
    last_act = SubscriptionChange(scene.stream, code="d:removed")
    await node.chat._outbox._devices.change(token_of(client), [last_act])

    await scene.do(removed)  # it is still written down; somebody finds it

    await scene.say("for bob")
    await wait_until(lambda: texts(client) == ["for bob"])


@places
@pytest_twisted.ensureDeferred
async def test_an_end_that_comes_after_following_began_again_changes_nothing(
    person: User, make_scene: MakeScene, wait_until: WaitUntil, node: Node, place: str
) -> None:
    """Two did the same errand, and one of them was late: the device would read again what it has,
    and would be counted twice."""
    client = await bobs_device(person, place)
    scene = await make_scene_of(make_scene, client, place)
    await scene.add()
    outbox = await scene.while_bobs_server_stands_still(wait_until, scene.remove())
    await scene.do(*outbox)
    await scene.add()
    first = await say(node, "anna", scene.stream, "first")
    await wait_until(lambda: texts(client) == ["first"])

    async def is_acknowledged() -> Any:
        funnel = await node.pushing.message(first.id)
        return funnel if funnel.acknowledged == funnel.addressed else None

    before = await wait_until(is_acknowledged)

    errands = [msgspec.msgpack.decode(text) for text in outbox]
    (version,) = (version for kind, _, version, *_ in errands if kind == "unfollow")
    late = SubscriptionChange(scene.stream, code="d:removed", ended=version)
    changed = await node.chat._outbox._devices.change(token_of(client), [late], "bob")

    assert changed.code == 0
    await scene.say("second")
    await wait_until(lambda: texts(client) == ["first", "second"])
    assert await node.pushing.message(first.id) == before


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_anothers_by_now_stays_in_his_group(
    person: User, make_scene: MakeScene, wait_until: WaitUntil, node: Node
) -> None:
    """bob is removed; his device becomes carol's, who is a member, before that is done for it."""
    client = await bobs_device(person, "near")
    scene = await make_scene_of(make_scene, client, "near")
    await scene.add()
    await node.chat.groups.add(scene.group, ["carol"], None)
    outbox = await scene.while_bobs_server_stands_still(wait_until, scene.remove())
    devices = node.chat._outbox._devices
    change = devices.change

    async def after_it_was_bound(token: str, changes: Any, user: str = "") -> int:
        await node.devices.bind("carol", token)
        return await change(token, changes, user)

    devices.change = after_it_was_bound  # type: ignore[method-assign]
    try:
        await scene.do(*outbox)
    finally:
        devices.change = change  # type: ignore[method-assign]

    await scene.say("for carol")
    await wait_until(lambda: texts(client) == ["for carol"])


@places
@pytest.mark.parametrize("opened", ["anew", "again"])
@pytest_twisted.ensureDeferred
async def test_who_was_removed_is_not_let_in_again_by_what_was_not_done_yet(
    person: User,
    dial: Any,
    make_scene: MakeScene,
    wait_until: WaitUntil,
    node: Node,
    place: str,
    opened: str,
) -> None:
    """The session saw the end in the group's log, and its cursor is behind it; the record says that
    the device follows. It is read again, by a new session or for another reason."""
    client = await bobs_device(person, place)
    scene = await make_scene_of(make_scene, client, place)
    await scene.add()
    await scene.say("first")
    await wait_until(lambda: texts(client) == ["first"])
    await scene.while_bobs_server_stands_still(wait_until, scene.remove())
    await wait_until(lambda: "unfollow" in client.kinds)
    await node.gateway.streams.cursors.flush()

    if opened == "anew":
        client.transport.loseConnection()
        await wait_until(lambda: client.closed)
        credentials = client._credentials
        client = await dial(node, acks=True)
        await client.connect(**credentials)
    else:
        assert await node.topics.subscribe("anything", token_of(client))
        await wait_until(lambda: client.kinds.count("follow") == 2)
    await scene.say("not for bob")
    await say(node, "carol", "user:bob", "end")
    await wait_until(lambda: "end" in texts(client))
    assert "not for bob" not in texts(client)

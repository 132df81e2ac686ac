"""Several Redis servers: what one of them cannot do now is done when it can, in order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.chat.conversation_id import conversation_of, with_user
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import number_of
from push.wire.api.groups import NewGroup
from push.wire.errors import RequestError
from tests.chat.conftest import MakeNode, User, of_kind, standing_still_of
from tests.chat.test_messages import say, texts
from tests.conftest import RedisServer
from tests.connector.conftest import Node
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


@pytest_twisted.ensureDeferred
async def test_copies_that_could_not_be_made_come_later_in_order_and_once(
    node: Node, person: User, three_servers: list[RedisServer], wait_until: WaitUntil
) -> None:
    """A user's server stands still while messages for him are sent."""
    bob = "bob"
    away = number_of(f"user:{bob}", SERVERS)
    anna = next(
        name
        for name in (f"a{n}" for n in range(1000))
        if number_of(f"user:{name}", SERVERS) != away
        and number_of(with_user(name, bob).owner, SERVERS) != away
    )
    server = three_servers[away]
    client = await person(bob)
    await say(node, anna, f"user:{bob}", 1)
    await wait_until(lambda: texts(client) == [1])

    with standing_still_of(node, server, away):
        for n in (2, 3, 4):
            sent = await say(node, anna, f"user:{bob}", n)
            assert sent.seq == n, "it is in the history, and answered"
    await say(node, anna, f"user:{bob}", 5)

    await wait_until(lambda: len(texts(client)) == 5)
    assert [push["seq"] for push in of_kind(client, "chat")] == [1, 2, 3, 4, 5]
    conversation = conversation_of(bob, f"user:{anna}")

    async def nothing_is_left() -> bool:
        owner = node.shards.of(conversation.owner)
        return not await owner.command("ZCARD", owner.key("chat-errands"))

    await wait_until(nothing_is_left)


@pytest_twisted.ensureDeferred
async def test_a_member_whose_server_stood_still_follows_when_it_is_back(
    node: Node, person: User, three_servers: list[RedisServer], wait_until: WaitUntil
) -> None:
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group
    home = number_of(f"group:{group}", SERVERS)
    # Not on the first server either, through which connectors confirm.
    bob = next(
        n for n in (f"b{n}" for n in range(99)) if number_of(f"user:{n}", SERVERS) not in (0, home)
    )
    client = await person(bob)
    server = three_servers[number_of(f"user:{bob}", SERVERS)]

    with standing_still_of(node, server, number_of(f"user:{bob}", SERVERS)):
        assert (await node.chat.groups.add(group, [bob], None)).results == {bob: "ok"}
        await say(node, "anna", f"group:{group}", "meanwhile")

    await wait_until(lambda: texts(client) == ["meanwhile"])


@pytest_twisted.ensureDeferred
async def test_a_late_errand_does_not_undo_what_was_done_after_it(
    node: Node, person: User, three_servers: list[RedisServer], wait_until: WaitUntil
) -> None:
    """Joined and left: whatever order the errands are done in, the group says who follows."""
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group
    home = node.shards.of(f"group:{group}")
    bob = next(
        n
        for n in (f"b{n}" for n in range(99))
        if node.shards.of(f"user:{n}") not in (home, node.shards.first)
    )
    client = await person(bob)
    for runner in node.errand_runners:
        runner.stop()
    server = three_servers[number_of(f"user:{bob}", SERVERS)]
    with standing_still_of(node, server, number_of(f"user:{bob}", SERVERS)):
        await node.chat.groups.add(group, [bob], None)
        await node.chat.groups.remove(group, [bob], None)
    await wait_until(lambda: not node.shards.problems)

    left = await home.command("ZRANGEBYSCORE", home.key("chat-errands"), "-inf", "+inf")
    for text in sorted(left, key=lambda text: int(_version_of(text)), reverse=True):
        await node.chat._outbox.run(home, [text])

    await say(node, "anna", f"group:{group}", "after")
    await say(node, "carol", f"user:{bob}", "end")
    await wait_until(lambda: "end" in texts(client))
    assert texts(client) == ["end"]
    assert await node.chat.groups.streams_of(bob) == {}


def _version_of(errand: bytes) -> str:
    return str(msgspec.msgpack.decode(errand)[2])


@pytest_twisted.ensureDeferred
async def test_one_client_id_is_of_one_conversation_also_elsewhere(node: Node) -> None:
    first = await say(node, "anna", "user:bob", "x", client_id="c")
    others = [f"user:other{n}" for n in range(9)]

    for other in others:
        with pytest.raises(RequestError, match="idempotency_mismatch"):
            await say(node, "anna", other, "x", client_id="c")
    with pytest.raises(RequestError, match="idempotency_mismatch"):
        await say(node, "anna", "user:bob", "y", client_id="c")

    assert await say(node, "anna", "user:bob", "x", client_id="c") == first
    for other in others:
        page = await node.chat.conversations.page(other.removeprefix("user:"), cursor="", limit=9)
        assert page.conversations == []


@pytest_twisted.ensureDeferred
async def test_a_message_that_was_recalled_before_its_copy_came_does_not_come(
    node: Node, person: User, three_servers: list[RedisServer], wait_until: WaitUntil
) -> None:
    bob = "bob"
    away = number_of(f"user:{bob}", SERVERS)
    anna = next(
        name
        for name in (f"a{n}" for n in range(1000))
        if number_of(f"user:{name}", SERVERS) != away
        and number_of(with_user(name, bob).owner, SERVERS) != away
    )
    client = await person(bob)
    # A runner may have read the message before it is recalled: then its copy, and the recall, come.
    for runner in node.errand_runners:
        runner.stop()
    with standing_still_of(node, three_servers[away], away):
        await say(node, anna, f"user:{bob}", "recalled")
        await node.chat.messages.recall(with_user(anna, bob), 1, anna)
    for runner in node.errand_runners:
        runner.start()

    await wait_until(lambda: of_kind(client, "recall"))
    await say(node, anna, f"user:{bob}", "end")
    await wait_until(lambda: "end" in texts(client))
    assert texts(client) == ["end"]


@pytest_twisted.ensureDeferred
async def test_messages_under_seqs_that_a_killed_server_had_given_before_come_too(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    """It had not written its last second to the disk; the user's server had the copies already."""
    bob = "bob"
    home = node.shards.of(f"user:{bob}")
    anna = next(
        name
        for name in (f"a{n}" for n in range(1000))
        if node.shards.of(with_user(name, bob).owner) is not home
    )
    owner = with_user(anna, bob).owner
    server = node.shards.of(owner)
    client = await person(bob)
    await say(node, anna, f"user:{bob}", 1)
    keys = [server.key(f"{kind}:{owner}") for kind in ("conversation", "history")]
    saved = [await server.command("DUMP", key) for key in keys]
    for n in (2, 3):
        await say(node, anna, f"user:{bob}", n)
    for key, value in zip(keys, saved, strict=True):
        await server.command("RESTORE", key, "0", value, "REPLACE")
    run = node.chat._outbox.run

    async def killed(*_: Any) -> None:
        raise StoreUnavailable("killed")

    node.chat._outbox.run = killed  # type: ignore[method-assign]
    assert (await say(node, anna, f"user:{bob}", "2 again")).seq == 2  # copied with the next
    node.chat._outbox.run = run  # type: ignore[method-assign]
    assert (await say(node, anna, f"user:{bob}", "3 again")).seq == 3
    assert (await say(node, anna, f"user:{bob}", 4)).seq == 4

    await wait_until(lambda: 4 in texts(client))
    assert texts(client) == [1, 2, 3, "2 again", "3 again", 4]


@pytest_twisted.ensureDeferred
async def test_a_change_that_no_connector_can_confirm_is_not_answered_as_done(
    node: Node, three_servers: list[RedisServer], wait_until: WaitUntil
) -> None:
    """Through the first server connectors are asked. Asked for again, it is in effect."""
    groups = [(await node.chat.groups.create("anna", NewGroup("g"))).group for _ in range(30)]
    group = next(each for each in groups if number_of(f"group:{each}", SERVERS))

    with standing_still_of(node, three_servers[0], 0), pytest.raises(StoreUnavailable):
        await node.chat.groups.add(group, ["bob"], None)
    await wait_until(lambda: not node.shards.problems)

    again = await node.chat.groups.add(group, ["bob"], None)
    assert again.results == {"bob": "already_exists"}
    assert not again.silent


@pytest_twisted.ensureDeferred
async def test_while_all_servers_are_reachable_a_message_comes_before_a_push_sent_after_its_answer(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    """Its copy is in the user's stream when it is answered, wherever the conversation is."""
    senders = [f"sender{n}" for n in range(18)]
    assert {number_of(with_user(sender, "bob").owner, SERVERS) for sender in senders} == {0, 1, 2}
    client = await person("bob")
    expected = []

    async def talk(sender: str, rounds: int) -> None:
        for n in range(rounds):
            await say(node, sender, "user:bob", f"{sender} {n}")

    others = [Deferred.fromCoroutine(talk(f"other{n}", 9)) for n in range(3)]
    for n in range(36):
        sender = senders[n % len(senders)]
        await say(node, sender, "user:bob", n)
        await node.push("user", "bob", data=f"after {n}")
        expected += [n, f"after {n}"]
    await gatherResults(others)

    def got() -> list[Any]:
        return [body["data"] for body in client.bodies if body["data"] in expected]

    await wait_until(lambda: len(got()) == len(expected))
    assert got() == expected


@pytest_twisted.ensureDeferred
async def test_what_was_sent_while_a_server_was_away_comes_by_seq_and_pushes_in_their_order(
    node: Node, person: User, three_servers: list[RedisServer], wait_until: WaitUntil
) -> None:
    """A push that is sent when it is back may come before what was said meanwhile; no more is lost
    of the order than that."""
    bob = "bob"
    away = number_of(f"user:{bob}", SERVERS)
    friends = [
        name
        for name in (f"a{n}" for n in range(99))
        if away not in (number_of(f"user:{name}", SERVERS), _owner_place(name, bob))
    ][:3]
    client = await person(bob)
    with standing_still_of(node, three_servers[away], away):
        for n in range(1, 5):
            for friend in friends:
                assert (await say(node, friend, f"user:{bob}", n)).seq == n
    await wait_until(lambda: not node.shards.problems)
    pushed = []
    for n in range(5):
        pushed.append((await node.push("user", bob, data=n)).id)
        for friend in friends:
            await say(node, friend, f"user:{bob}", n + 5)

    await wait_until(lambda: len(of_kind(client, "chat")) == 9 * len(friends))
    for friend in friends:
        seqs = [m["seq"] for m in of_kind(client, "chat") if m["from"] == friend]
        assert seqs == list(range(1, 10))
    plain = [body["id"] for body in client.bodies if "kind" not in body]
    assert list(dict.fromkeys(plain)) == pushed


def _owner_place(user: str, peer: str) -> int:
    return number_of(with_user(user, peer).owner, SERVERS)

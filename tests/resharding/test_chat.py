"""Chat: histories, groups, and who has read what, between the same users afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import msgspec
import pytest
import pytest_twisted

from push.chat.conversation_id import conversation_of
from push.resharding.plan import NotResharded
from push.wire.api.conversations import Range
from tests.chat.conftest import boots, device, dial, keyring, make_node, more_urls, of_kind
from tests.chat.test_messages import make_group, say, texts
from tests.connector.conftest import JWT_SECRET, Client, Node

__all__ = ["boots", "device", "dial", "keyring", "make_node", "more_urls"]

USERS = ("anna", "bob", "x:y", "dora")
MakeNode = Callable[..., Awaitable[Node]]


async def what_is_read(node: Node, group: str) -> Any:
    """All that users read of their conversations."""
    found: list[Any] = []
    for user in USERS:
        page = await node.chat.conversations.page(user, cursor="", limit=50)
        found.append(msgspec.json.encode(page))
        for each in page.conversations:
            conversation = conversation_of(user, each.conversation)
            history = await node.chat.messages.history(conversation, Range(after=0), user)
            found.append(msgspec.json.encode(history))
    members = await node.chat.groups.members(group, None, cursor="", limit=50)
    found.append(msgspec.json.encode(members))
    return found


async def come(node: Node, dial: Any, user: str, pair: Any = None) -> Client:
    """A device of the user, new or known, that acknowledges all."""
    client: Client = await dial(node, acks=True)
    if pair is None:
        await client.register()
    else:
        client._credentials = pair
    claims = {"sub": user, "exp": 4_000_000_000, "aud": "push"}
    token = jwt.encode(claims, JWT_SECRET, "HS256")
    await client.connect(**client._credentials, jwt=token)
    return client


async def name_servers(node: Node) -> None:
    """As daemons do."""
    count = len(node.shards)
    for number, server in enumerate(node.shards):
        fields = ("deployment", "d", "number", number, "of", count)
        await server.command("HSET", server.key("shard"), *fields)


@pytest.mark.parametrize(
    ("before", "after"), [(1, [0, 1, 2]), (3, [0]), (2, [1, 0]), (2, [2, 0, 1])]
)
@pytest_twisted.ensureDeferred
async def test_conversations_are_as_they_were_and_go_on(
    make_redis: Any,
    make_node: MakeNode,
    dial: Any,
    move: Any,
    wait_until: Any,
    before: int,
    after: list[int],
) -> None:
    urls = [make_redis().url for _ in range(3)]
    old, new = urls[:before], [urls[number] for number in after]
    node = await make_node(old)
    await name_servers(node)
    node.listen()
    pairs = {user: (await come(node, dial, user))._credentials for user in USERS}
    group = await make_group(node, *USERS)
    first = await say(node, "anna", "user:bob", 1, client_id="c:1")
    odd = await say(node, "x:y", "user:anna", 1, client_id="c:1")
    for n in (2, 3, 4):
        await say(node, "anna", "user:bob", n)
        in_group = await say(node, "dora", f"group:{group}", n, client_id=f"g{n}")
    await node.chat.messages.recall(conversation_of("anna", "user:bob"), 2, "anna")
    reads = await what_is_read(node, group)
    await node.stop()

    await move(old, new)

    node = await make_node(new)
    node.listen()
    assert await what_is_read(node, group) == reads
    assert await say(node, "anna", "user:bob", 1, client_id="c:1") == first
    assert await say(node, "x:y", "user:anna", 1, client_id="c:1") == odd
    assert await say(node, "dora", f"group:{group}", 4, client_id="g4") == in_group
    assert await what_is_read(node, group) == reads
    clients = {user: await come(node, dial, user, pairs[user]) for user in USERS}
    assert (await say(node, "bob", "user:anna", "on")).seq == 5
    assert (await say(node, "anna", f"group:{group}", "on")).seq == 4
    await wait_until(lambda: texts(clients["anna"])[-2:].count("on") == 2)
    for user in USERS[1:]:
        await wait_until(lambda user=user: "on" in texts(clients[user]))
    added = await node.chat.groups.add(group, ["eve"], None)
    assert added.results == {"eve": "ok"}
    await wait_until(lambda: of_kind(clients["bob"], "group"))


@pytest.mark.parametrize(
    ("before", "after"), [(1, [0, 1, 2]), (3, [0]), (2, [1, 0]), (2, [2, 0, 1])]
)
@pytest_twisted.ensureDeferred
async def test_what_is_left_of_erased_users_and_who_is_being_erased_goes_along(
    make_redis: Any,
    make_node: MakeNode,
    move: Any,
    wait_until: Any,
    before: int,
    after: list[int],
) -> None:
    urls = [make_redis().url for _ in range(3)]
    old, new = urls[:before], [urls[number] for number in after]
    node = await make_node(old)
    await name_servers(node)
    pairs = [(f"first{n}", f"second{n}") for n in range(6)]
    for n, (first, second) in enumerate(pairs):
        for _ in range(n + 1):
            await say(node, first, f"user:{second}", "gone")
        await say(node, first, "user:carl", "recalled")
        await say(node, "carl", f"user:{first}", "to the first")
        await node.erasure.erase(first)
        await node.erasure.erase(second)
    for runner in node.errand_runners:
        runner.stop()
    await say(node, "dora", "user:carl", "recalled")
    home = node.shards.of("user:dora")
    await home.command("ZADD", home.key("erasing"), 1, "dora")
    await node.stop()

    await move(old, new)

    node = await make_node(new)
    for n, (first, second) in enumerate(pairs):
        assert (await say(node, second, f"user:{first}", "anew")).seq == n + 2
        conversation = conversation_of(first, f"user:{second}")
        history = await node.chat.messages.history(conversation, Range(after=0), first)
        assert [message.seq for message in history.messages] == [n + 2]
        # Not theirs: they are new under this name.
        conversation = conversation_of(first, "user:carl")
        history = await node.chat.messages.history(conversation, Range(after=0), first)
        assert history.messages == []

    async def nobody_is_being_erased() -> bool:
        kept = [await server.command("EXISTS", server.key("erasing")) for server in node.shards]
        return not any(kept)

    await wait_until(nobody_is_being_erased)
    page = await node.chat.messages.history(conversation_of("carl", "user:dora"), Range(), "carl")
    assert [message.recalled for message in page.messages] == [True]


@pytest_twisted.ensureDeferred
async def test_what_waits_to_be_copied_is_done_by_daemons_first(
    make_redis: Any, make_node: MakeNode, move: Any
) -> None:
    urls = [make_redis().url for _ in range(2)]
    node = await make_node(urls)
    await name_servers(node)
    server = node.shards.first
    await server.command("ZADD", server.key("chat-errands"), 1, "x")
    await node.stop()

    with pytest.raises(NotResharded, match="start the daemons until they have done it"):
        await move(urls, urls[:1])

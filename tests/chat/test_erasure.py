"""Erasing a user: nothing of them is left, whoever is killed meanwhile, and others are told."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.chat.conversation_id import conversation_of, with_user
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import number_of
from push.wire.api.conversations import Range, ReadPositions
from push.wire.api.groups import GroupChanges, MemberChange, NewGroup
from push.wire.errors import RequestError
from tests.amounts import amount
from tests.chat.conftest import User, of_kind
from tests.chat.everything import everything
from tests.chat.test_messages import make_group, say, texts
from tests.conftest import RedisServer, standing_still
from tests.connector.conftest import JWT_SECRET, Client, Dial, Node
from tests.waiting import WaitUntil

# What may have a user's name in it for some days more, and ends by itself.
SHORT_LIVED = (
    "message:",
    "limit:",
    "recalled-copy:",
    "ended-copy:",
    "user-stream-versions:",
    "gone:",
    "ended:",
)


async def come(node: Node, dial: Dial, user: str, pair: dict[str, str] | None = None) -> Client:
    """A device of the user that acknowledges all: a new one, or one that comes back."""
    client = await dial(node, acks=True)
    if pair is None:
        await client.register()
        claims = {"sub": user, "exp": 4_000_000_000, "aud": "push"}
        await client.connect(**client._credentials, jwt=jwt.encode(claims, JWT_SECRET, "HS256"))
    else:
        client._credentials = pair
        await client.connect()
    return client


async def leave(client: Client, node: Node, wait_until: WaitUntil) -> dict[str, str]:
    """The device goes; what it comes back with."""
    token = client._credentials["token"]
    client.transport.loseConnection()

    async def is_away() -> bool:
        return "s" not in await node.record(token)

    await wait_until(is_away)
    return client._credentials


async def names_left(node: Node, user: str, *peers: str) -> set[str]:
    """The keys that are a user's, or name them, and do not end by themselves; but for those of
    conversations with `peers`, which are theirs, too."""
    shared = tuple(with_user(user, peer).owner for peer in peers)
    found = set()
    for name, kept in (await everything(node)).items():
        if user not in name.replace(",", ":").replace(" ", ":").split(":"):
            continue
        if name.startswith(SHORT_LIVED):
            assert kept.left_ms is not None, name
        elif name.startswith("sent:"):
            assert f" {user}," not in name
        elif name.partition(":")[2] not in shared:
            found.add(name)
    return found


async def errands_are_done(node: Node) -> bool:
    kept = await everything(node)
    return not kept.keys() & {"errands", "chat-errands", "erasing", "dismissed"}


async def history(node: Node, user: str, name: str) -> list[tuple[int, str, bool]]:
    page = await node.chat.messages.history(conversation_of(user, name), Range(after=0), user)
    return [(message.seq, message.sender, message.recalled) for message in page.messages]


async def live_together(node: Node) -> str:
    """Anna owns a group, is in another, has one to herself, and talks to bob and dora."""
    await make_group(node, "anna")
    other = await make_group(node, "carol", "anna", "bob")
    group = await make_group(node, "anna", "bob", "carol", "dora")
    admin = GroupChanges(member=MemberChange("carol", role="admin"))
    await node.chat.groups.change(group, admin, None)
    for n in range(3):
        await say(node, "anna", "user:bob", f"private {n}", client_id=f"p{n}")
        await say(node, "bob", "user:anna", f"answer {n}", client_id=f"p{n}")
    await say(node, "anna", "user:dora", "private d")
    await say(node, "anna", f"group:{group}", "in the group", client_id="g")
    await say(node, "anna", f"group:{other}", "in the other group", client_id="o")
    await node.chat.messages.move(
        conversation_of("anna", "user:bob"), ReadPositions(read=5), "anna"
    )
    return group


@pytest_twisted.ensureDeferred
async def test_nothing_of_an_erased_user_is_left_and_others_are_told(
    node: Node, dial: Dial, visitor: User, wait_until: WaitUntil
) -> None:
    anna, browser = await come(node, dial, "anna"), await visitor("anna")
    bob, away = await come(node, dial, "bob"), await come(node, dial, "bob")
    pair = await leave(away, node, wait_until)
    group = await live_together(node)
    await wait_until(lambda: len(texts(bob)) == 8)

    assert await node.erasure.erase("anna") == []

    await wait_until(lambda: browser.ended_with == "kicked")
    await wait_until(lambda: "unfollow" in anna.kinds)
    assert not anna.closed
    assert (await node.devices.get(anna._credentials["token"])).user is None
    await wait_until(lambda: errands_are_done(node))
    assert await names_left(node, "anna", "bob", "dora") == set()
    kept = await everything(node)
    assert [name for name, held in kept.items() if "private" in held.text] == []

    assert (await node.chat.groups.get(group, None)).owner == "carol"
    members = await node.chat.groups.members(group, None, cursor="", limit=9)
    assert [member.user for member in members.members] == ["bob", "carol", "dora"]
    assert await history(node, "bob", f"group:{group}") == [(1, "anna", False)]
    assert await history(node, "bob", "user:anna") == [
        (1, "anna", True),
        (2, "bob", False),
        (3, "anna", True),
        (4, "bob", False),
        (5, "anna", True),
        (6, "bob", False),
    ]
    await wait_until(lambda: len(of_kind(bob, "recall")) == 3)
    told = [(e["event"], e.get("users")) for e in of_kind(bob, "group") if e["group"] == group]
    assert told[-2:] == [("role", ["carol", "anna"]), ("left", ["anna"])]
    away = await come(node, dial, "bob", pair)
    await wait_until(lambda: len(of_kind(away, "recall")) == 3 and len(texts(away)) == 5)
    assert "private" not in str(texts(away))
    with pytest.raises(RequestError, match="not_found"):
        await node.erasure.erase("anna")


@pytest_twisted.ensureDeferred
async def test_a_conversation_goes_when_both_are_erased_and_no_seq_comes_twice(
    node: Node, dial: Dial, wait_until: WaitUntil
) -> None:
    for n in range(250):
        await say(node, *(("anna", "user:bob") if n % 2 else ("bob", "user:anna")), f"private {n}")
    await node.chat.messages.recall(conversation_of("anna", "user:bob"), 2, None)
    await node.erasure.erase("anna")
    await node.erasure.erase("bob")

    await wait_until(lambda: errands_are_done(node))
    assert await names_left(node, "anna") == await names_left(node, "bob") == set()
    kept = await everything(node)
    assert [name for name, held in kept.items() if "private" in held.text] == []
    assert "250" in kept["ended-seqs"].text

    bob = await come(node, dial, "bob")
    assert (await say(node, "anna", "user:bob", "hello again")).seq == 251
    assert (await say(node, "bob", "user:anna", "hello")).seq == 252
    assert (await say(node, "anna", "user:bob", "well?")).seq == 253
    await wait_until(lambda: len(texts(bob)) == 3)
    assert await history(node, "bob", "user:anna") == [
        (251, "anna", False),
        (252, "bob", False),
        (253, "anna", False),
    ]
    (row,) = (await node.chat.conversations.page("bob", cursor="", limit=9)).conversations
    assert (row.seq, row.read, row.unread) == (253, 252, 1)


@pytest_twisted.ensureDeferred
async def test_who_is_there_anew_under_the_name_sees_nothing_of_before(
    node: Node, dial: Dial, wait_until: WaitUntil
) -> None:
    for n in range(3):
        await say(node, "anna", "user:bob", f"private {n}")
        await say(node, "bob", "user:anna", f"to the first anna {n}")
    await node.erasure.erase("anna")
    anna = await come(node, dial, "anna")

    assert (await say(node, "bob", "user:anna", "who are you?")).seq == 7

    await wait_until(lambda: texts(anna))
    assert texts(anna) == ["who are you?"]
    assert await history(node, "anna", "user:bob") == [(7, "bob", False)]
    (row,) = (await node.chat.conversations.page("anna", cursor="", limit=9)).conversations
    assert (row.seq, row.read, row.unread) == (7, 6, 1)
    assert (await say(node, "anna", "user:bob", "another anna")).seq == 8
    # She is not the one who was erased: when bob is, her conversation stays.
    await node.erasure.erase("bob")
    assert await history(node, "anna", "user:bob") == [(7, "bob", True), (8, "anna", False)]


@pytest.mark.parametrize("reads", [False, True])
@pytest_twisted.ensureDeferred
async def test_who_is_there_anew_and_wrote_nothing_is_told_when_the_other_is_erased(
    node: Node, dial: Dial, wait_until: WaitUntil, reads: bool
) -> None:
    await say(node, "anna", "user:bob", "private, to the first bob")
    await node.erasure.erase("bob")
    await say(node, "anna", "user:bob", "private, to the next")
    bob = await come(node, dial, "bob")
    await say(node, "anna", "user:bob", "private, too")
    await wait_until(lambda: texts(bob))
    heard = [push["seq"] for push in of_kind(bob, "chat")]
    if reads:
        conversation = conversation_of("bob", "user:anna")
        await node.chat.messages.move(conversation, ReadPositions(read=3), "bob")

    await node.erasure.erase("anna")

    await wait_until(lambda: len(of_kind(bob, "recall")) == 2)
    assert {push["seq"] for push in of_kind(bob, "recall")} == {2, 3} >= set(heard)
    left = [(2, "anna", True), (3, "anna", True)] if reads else []
    assert await history(node, "bob", "user:anna") == left
    assert [n for n, held in (await everything(node)).items() if "private" in held.text] == []


@pytest.mark.parametrize(
    ("members", "admins", "next_owner"),
    [
        (["dora", "bob", "carol"], ["carol", "bob"], "bob"),
        (["dora", "bob", "carol"], [], "dora"),
        ([], [], None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_group_goes_to_the_oldest_admin_else_the_oldest_member_else_it_ends(
    node: Node, members: list[str], admins: list[str], next_owner: str | None, wait_until: WaitUntil
) -> None:
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group
    for user in members:  # one after the other: in another order than their names
        await node.chat.groups.add(group, [user], None)
    for user in admins:
        change = GroupChanges(member=MemberChange(user, role="admin", muted=True))
        await node.chat.groups.change(group, change, None)

    await node.erasure.erase("anna")

    if next_owner is None:
        with pytest.raises(RequestError, match="unknown_group"):
            await node.chat.groups.get(group, None)
    else:
        assert (await node.chat.groups.get(group, None)).owner == next_owner
        assert "anna" not in await _members(node, group)
    await wait_until(lambda: errands_are_done(node))
    assert await names_left(node, "anna") == set()


async def _members(node: Node, group: str) -> list[str]:
    page = await node.chat.groups.members(group, None, cursor="", limit=200)
    return [member.user for member in page.members]


class Killed(StoreUnavailable):
    pass


BETWEEN_KILLS = amount(11, 1)  # scripts


@pytest_twisted.ensureDeferred
async def test_an_erasure_that_was_broken_off_anywhere_is_finished_by_any_daemon(
    make_node: Any, redis_urls: list[str], dial: Dial, wait_until: WaitUntil
) -> None:
    node, other = await make_node(redis_urls), await make_node(redis_urls)
    node.listen()
    for runner in (*node.errand_runners, *other.errand_runners):
        runner.stop()
    step = 0
    finished = False
    while not finished:
        step += BETWEEN_KILLS
        await come(node, dial, "anna")
        group = await live_together(node)
        finished = await _erase_and_break_off(node, step)
        for server in other.shards:
            server.clock.observe(server.clock.now_us() + 60_000_000)
        for _ in range(2):
            for runner in other.errand_runners:
                await runner.do_due()
        assert await errands_are_done(other)
        assert await names_left(other, "anna", "bob", "dora") == set(), step
        for name, held in (await everything(other)).items():
            assert "private" not in held.text, (step, name)
        assert (await other.chat.groups.get(group, None)).owner == "carol"
        await other.erasure.erase("bob")
        await other.erasure.erase("dora")
    assert step > 16


async def _erase_and_break_off(node: Node, steps: int) -> bool:
    """Erase anna, but the daemon ends after so many scripts; whether that was after the end."""
    done = 0
    runs = [server.run for server in node.shards]

    def limited(run: Any) -> Any:
        async def limited_run(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done > steps:
                raise Killed("killed")
            return await run(*arguments, **options)

        return limited_run

    for server, run in zip(node.shards, runs, strict=True):
        server.run = limited(run)  # type: ignore[method-assign]
    try:
        await node.erasure.erase("anna")
    except Killed:
        return False
    finally:
        for server, run in zip(node.shards, runs, strict=True):
            server.run = run  # type: ignore[method-assign]
    return done <= steps


@pytest_twisted.ensureDeferred
async def test_an_erasure_goes_on_when_a_server_that_was_unreachable_is_back(
    make_node: Any, three_servers: list[RedisServer], dial: Dial, wait_until: WaitUntil
) -> None:
    for server in three_servers:
        server.ensure_empty()
    node = await make_node([server.url for server in three_servers])
    node.listen()
    away = number_of("user:bob", 3)
    anna = next(
        name
        for name in (f"a{n}" for n in range(1000))
        if number_of(f"user:{name}", 3) != away
        and number_of(with_user(name, "bob").owner, 3) != away
    )
    await say(node, anna, "user:bob", "private")
    with standing_still(three_servers[away], node.shards[away]):
        await say(node, anna, "user:bob", "private, and not copied yet")
        with pytest.raises(StoreUnavailable):
            await node.erasure.erase(anna)
    await wait_until(lambda: not node.shards.problems)
    home = node.shards.of(f"user:{anna}")
    home.clock.observe(home.clock.now_us() + 60_000_000)

    await wait_until(lambda: errands_are_done(node))

    assert await names_left(node, anna, "bob") == set()
    for name, held in (await everything(node)).items():
        assert "private" not in held.text, name
    assert await history(node, "bob", f"user:{anna}") == [(1, anna, True), (2, anna, True)]


@pytest_twisted.ensureDeferred
async def test_all_who_talk_to_each_other_are_erased_at_once(
    node: Node, wait_until: WaitUntil
) -> None:
    users = ("anna", "bob", "carol", "dora")
    group = await make_group(node, *users)
    for user in users:
        for other in users:
            for n in range(3 if user != other else 0):
                await say(node, user, f"user:{other}", f"private {n}", client_id=f"{other}{n}")
        await say(node, user, f"group:{group}", "private, too")

    each = [Deferred.fromCoroutine(node.erasure.erase(user)) for user in (*users, *users)]
    await gatherResults(each)

    await wait_until(lambda: errands_are_done(node))
    for user in users:
        assert await names_left(node, user) == set()
    kept = await everything(node)
    lasting = {name.partition(":")[0] for name, held in kept.items() if held.left_ms is None}
    # The stream of the group that ended keeps its messages for as long as any stream does.
    assert lasting == {"clock", "shard", "ended-seqs", "log", "expiry"}
    assert [name for name in kept if name.startswith("log:")] == [f"log:group:{group}"]


@pytest_twisted.ensureDeferred
async def test_a_user_who_has_only_a_session_is_erased_by_ending_it(
    visitor: User, node: Node, wait_until: WaitUntil
) -> None:
    browser, other = await visitor("anna"), await visitor("bob")

    assert await node.erasure.erase("anna") == []

    await wait_until(lambda: browser.ended_with == "kicked")
    assert other.ended_with is None
    with pytest.raises(RequestError, match="not_found"):
        await node.erasure.erase("anna")
    with pytest.raises(RequestError, match="invalid"):
        await node.erasure.erase("no name")

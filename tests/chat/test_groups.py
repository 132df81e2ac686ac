"""Groups: who is in them, who follows them, and what each hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.chat.bodies import GroupChanges, GroupSaid, MemberChange
from push.connector import fanout
from push.wire.errors import Refusal
from tests.chat.conftest import User, of_kind
from tests.connector.conftest import Client, Node

WaitUntil = Callable[..., Awaitable[Any]]


async def group_of(owner: Client, *members: str, **more: Any) -> str:
    answer = await owner.ask("GC", name="friends", members=list(members), **more)
    assert answer["ok"], answer
    return str(answer["group"])


@pytest_twisted.ensureDeferred
async def test_a_group_is_as_it_was_made_and_its_members_are_in_it(person: User) -> None:
    anna = await person("anna")

    answer = await anna.ask("GC", name="Freunde", members=["bob", "carol"], extra={"a": [1, None]})

    group = answer["group"]
    expected = {
        "ok": True,
        "group": group,
        "name": "Freunde",
        "type": "normal",
        "owner": "anna",
        "announcement": "",
        "extra": {"a": [1, None]},
        "members": 3,
        "mute_all": False,
        "invite": "admin",
        "ts": answer["ts"],
    }
    assert answer == expected
    assert await anna.ask("GPGI", group=group) == expected
    members = await anna.ask("GPGM", group=group)
    assert members["members"] == [
        {"user": "anna", "role": "owner", "muted": False},
        {"user": "bob", "role": "member", "muted": False},
        {"user": "carol", "role": "member", "muted": False},
    ]
    assert members["cursor"] is None


@pytest_twisted.ensureDeferred
async def test_all_devices_of_the_members_follow_at_once_and_are_told(
    person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna, bob, bobs_other = await person("anna"), await person("bob"), await visitor("bob")

    group = await group_of(anna, "bob")

    for client, user in ((anna, "anna"), (bob, "bob"), (bobs_other, "bob")):
        await wait_until(lambda client=client: "follow" in client.kinds)
        (event,) = of_kind(client, "group")
        assert event["event"] == "created"
        assert event["group"] == group
        assert event["by"] == "anna"
        assert event["users"] == [user]
        assert event["stream"].startswith("user:")


@pytest_twisted.ensureDeferred
async def test_who_is_added_is_told_on_his_own_stream_and_the_others_on_the_groups(
    person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await group_of(anna)
    await wait_until(lambda: "follow" in anna.kinds)

    answer = await anna.ask("GAM", group=group, users=["bob", "anna"])

    assert answer == {"ok": True, "results": {"bob": "ok", "anna": "already_exists"}}
    await wait_until(lambda: of_kind(bob, "group") and "follow" in bob.kinds)
    await wait_until(lambda: len(of_kind(anna, "group")) == 2)
    assert [e["stream"] for e in of_kind(bob, "group")] == ["user:bob"]
    assert of_kind(anna, "group")[1]["stream"] == f"group:{group}"
    assert of_kind(anna, "group")[1]["event"] == "added"


@pytest_twisted.ensureDeferred
async def test_who_is_removed_gets_nothing_that_comes_after_that(
    node: Node, person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna, bob, bobs_other = await person("anna"), await person("bob"), await visitor("bob")
    group = await group_of(anna, "bob")
    for client in (anna, bob, bobs_other):
        await wait_until(lambda client=client: "follow" in client.kinds)

    await node.push("group", group, data="before")
    # In one turn of the connector: nothing but the order in the log separates them.
    await node.chat.groups.remove(group, ["bob"], "anna")
    await node.push("group", group, data="after")
    await node.push("user", "bob", data="end")

    await wait_until(lambda: "after" in anna.numbers)
    for client in (bob, bobs_other):
        await wait_until(lambda client=client: "end" in client.numbers)
        assert client.numbers == ["before", "end"]
        assert "unfollow" in client.kinds
        assert of_kind(client, "group")[-1]["event"] == "removed"
        assert of_kind(client, "group")[-1]["stream"] == "user:bob"
    assert of_kind(anna, "group")[-1]["event"] == "removed"


@pytest_twisted.ensureDeferred
async def test_who_is_removed_in_a_long_fan_out_gets_nothing_behind_that_place(
    node: Node, person: User, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is in no log. All of it comes while a round through the sessions is under way."""
    monkeypatch.setattr(fanout, "SLICE", 1)
    anna, bob, carol = [await person(name) for name in ("anna", "bob", "carol")]
    group = await group_of(anna, "bob", "carol")
    for client in (bob, carol):
        await wait_until(lambda client=client: "follow" in client.kinds)
    # So that all scripts are known to Redis, which runs them in the order of this list then.
    await node.chat.groups.remove(group, ["nobody"], "anna")
    await node.push("group", group, data="before", qos=0)
    await node.push("group", group, data="before")

    await gatherResults(
        [
            Deferred.fromCoroutine(act)
            for act in (
                node.chat.groups.remove(group, ["carol"], "anna"),
                node.chat.groups.remove(group, ["bob"], "anna"),
                node.push("group", group, data="fleeting", qos=0),
                node.push("group", group, data="after"),
            )
        ]
    )
    for user in ("bob", "carol"):
        await node.push("user", user, data="end")

    await wait_until(lambda: {"fleeting", "after"} <= set(anna.numbers))
    for client in (bob, carol):
        await wait_until(lambda client=client: "end" in client.numbers)
        assert not {"fleeting", "after"} & set(client.numbers)


@pytest_twisted.ensureDeferred
async def test_a_session_that_is_behind_reads_up_to_where_its_user_left(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await group_of(anna, "bob")
    await wait_until(lambda: "follow" in bob.kinds)
    (connection,) = (c for c in node.gateway.connections if c.user == "bob")
    connection.blocked = True
    await node.push("group", group, data="before")
    await node.chat.groups.leave(group, "bob")
    await node.push("group", group, data="after")
    await node.push("user", "bob", data="end")
    connection.blocked = False
    node.gateway.drained(connection)

    await wait_until(lambda: "end" in bob.numbers)

    assert "after" not in bob.numbers


@pytest_twisted.ensureDeferred
async def test_who_comes_back_gets_what_came_after_that(
    node: Node, person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna, bob, bobs_other = await person("anna"), await person("bob"), await visitor("bob")
    group = await group_of(anna, "bob")
    for client in (bob, bobs_other):
        await wait_until(lambda client=client: "follow" in client.kinds)

    await node.chat.groups.remove(group, ["bob"], "anna")
    await node.push("group", group, data="between")
    await node.chat.groups.add(group, ["bob"], "anna")
    await node.push("group", group, data="after")

    for client in (bob, bobs_other):
        await wait_until(lambda client=client: "after" in client.numbers)
        assert client.numbers == ["after"]


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_bound_later_follows_from_then_on(
    node: Node, person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna = await person("anna")
    group = await group_of(anna, "bob")
    await node.push("group", group, data="before")

    bob, bobs_other = await person("bob"), await visitor("bob")
    assert set(bobs_other.accepted["streams"]) == {"all", "user:bob", f"group:{group}"}
    await node.push("group", group, data="after")

    for client in (bob, bobs_other):
        await wait_until(lambda client=client: "after" in client.numbers)
        assert client.numbers == ["after"]


@pytest_twisted.ensureDeferred
async def test_a_visitor_reads_on_from_his_cursor_but_not_from_before_he_joined(
    node: Node, person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna = await person("anna")
    group = await group_of(anna)
    await node.push("group", group, data="before")
    await node.chat.groups.add(group, ["bob"], None)
    await node.push("group", group, data="away")

    bob = await visitor("bob", cursors={f"group:{group}": "1"})

    await wait_until(lambda: "away" in bob.numbers)
    assert bob.numbers == ["away"]


@pytest_twisted.ensureDeferred
async def test_a_dismissed_group_is_gone_and_all_its_members_are_told(
    node: Node, person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna, bob, bobs_other = await person("anna"), await person("bob"), await visitor("bob")
    group = await group_of(anna, "bob", "carol")
    for client in (anna, bob, bobs_other):
        await wait_until(lambda client=client: "follow" in client.kinds)
    await anna.ask("MS", to={"group": group}, data="x")

    assert await anna.ask("GD", group=group) == {"ok": True}

    for client in (anna, bob, bobs_other):
        await wait_until(lambda client=client: "unfollow" in client.kinds)
        await wait_until(lambda client=client: of_kind(client, "group")[-1]["event"] == "dismissed")
    carol = await person("carol")
    assert (await carol.ask("GPGI", group=group))["code"] == "unknown_group"
    with pytest.raises(Refusal, match="unknown_group"):
        await node.push("group", group, data="x")
    left = [key for server in node.shards for key in await server.command("KEYS", f"*{group}*")]
    kept_for_a_while = (b"log:", b"message:", b"gone:")
    assert [key for key in left if not any(kind in key for kind in kept_for_a_while)] == []


@pytest_twisted.ensureDeferred
async def test_who_owned_a_group_is_an_admin_after_another_became_the_owner(person: User) -> None:
    anna = await person("anna")
    group = await group_of(anna, "bob")

    answer = await anna.ask("GMI", group=group, owner="bob")

    assert answer["owner"] == "bob"
    members = (await anna.ask("GPGM", group=group))["members"]
    assert [(m["user"], m["role"]) for m in members] == [("anna", "admin"), ("bob", "owner")]


@pytest_twisted.ensureDeferred
async def test_a_change_that_is_not_allowed_in_part_changes_nothing(
    node: Node, person: User
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await group_of(anna, "bob")
    changes = GroupChanges(member=MemberChange("bob", role="admin"))
    await node.chat.groups.change(group, changes, None)

    answer = await bob.ask("GMI", group=group, name="other", invite="member")

    assert answer["code"] == "not_allowed"
    assert (await bob.ask("GPGI", group=group))["name"] == "friends"


@pytest_twisted.ensureDeferred
async def test_changes_are_told_with_what_they_are(person: User, wait_until: WaitUntil) -> None:
    anna = await person("anna")
    group = await group_of(anna, "bob", "carol")
    await wait_until(lambda: "follow" in anna.kinds)

    await anna.ask("GMI", group=group, name="new", mute_all=True)
    await anna.ask("GMI", group=group, member={"user": "bob", "role": "admin", "muted": True})
    await anna.ask("GMI", group=group, name="new")

    await wait_until(lambda: len(of_kind(anna, "group")) == 5)
    events = [(e["event"], e.get("users")) for e in of_kind(anna, "group")[1:]]
    assert events == [("changed", None), ("muted", None), ("muted", ["bob"]), ("role", ["bob"])]


@pytest_twisted.ensureDeferred
async def test_a_group_takes_no_more_than_it_may_have(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls, chat={"group_max_members": 3})
    group = (await node.chat.groups.create("anna", GroupSaid("g"))).group

    results = await node.chat.groups.add(group, ["b", "c", "d"], None)

    assert results == {"b": "ok", "c": "ok", "d": "group_full"}
    with pytest.raises(Refusal, match="group_full"):
        await node.chat.groups.create("anna", GroupSaid("g", members=["b", "c", "d"]))


@pytest_twisted.ensureDeferred
async def test_members_are_paged_in_order_also_with_the_longest_names(node: Node) -> None:
    long = ["x" * 100 + f"{n:028}" for n in range(6)]
    names = sorted([*long, "anna", *(f"user{n}" for n in range(8))])
    group = (await node.chat.groups.create("anna", GroupSaid("g", members=names))).group

    found, cursor = [], ""
    while cursor is not None:
        assert len(cursor) <= 64
        page = await node.chat.groups.members(group, "anna", cursor=cursor, limit=2)
        found += [member.user for member in page.members]
        cursor = page.cursor

    assert found == names


@pytest_twisted.ensureDeferred
async def test_a_push_to_a_group_reaches_its_members_and_is_counted(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await group_of(anna, "bob")
    await wait_until(lambda: "follow" in bob.kinds and "follow" in anna.kinds)

    receipt = await node.push("group", group, data="hello")

    await wait_until(lambda: "hello" in anna.numbers and "hello" in bob.numbers)
    assert receipt.streams == 1

    async def acknowledged() -> bool:
        return (await node.pushing.message(receipt.id)).acknowledged == 2

    await wait_until(acknowledged)
    with pytest.raises(Refusal, match="not_found"):
        await node.pushing.message_devices(receipt.id)


@pytest_twisted.ensureDeferred
async def test_what_a_removed_member_had_not_read_is_dropped_in_the_ledger(node: Node) -> None:
    group = (await node.chat.groups.create("anna", GroupSaid("g", members=["bob"]))).group
    pair = await node.devices.register(platform="p", app="a", ip="")
    await node.devices.bind("bob", pair.token)
    receipt = await node.push("group", group, data="x")

    await node.chat.groups.remove(group, ["bob"], None)

    assert (await node.pushing.message(receipt.id)).dropped == {"removed": 1}


@pytest_twisted.ensureDeferred
async def test_a_session_without_a_user_may_do_nothing(device: Any) -> None:
    client = await device()
    for name, body in (("GC", {"name": "x"}), ("MS", {"to": {"user": "a"}, "data": 1}), ("CL", {})):
        answer = await client.ask(name, **body)
        assert answer["code"] == "not_allowed", name

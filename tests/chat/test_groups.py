"""Groups: who is in them, who follows them, and what each hears of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.chat import groups
from push.chat.conversation_id import to_group
from push.connector.delivery import fanout
from push.wire.api.conversations import NewMessage
from push.wire.api.groups import GroupChanges, MemberChange, NewGroup
from push.wire.errors import RequestError
from tests.chat.conftest import User, of_kind, on_one_server
from tests.connector.conftest import Client, Node
from tests.waiting import WaitUntil


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


@pytest.mark.parametrize("slice_sessions", [1, 500])
@pytest_twisted.ensureDeferred
async def test_who_is_removed_gets_nothing_that_comes_after_that(
    node: Node,
    person: User,
    visitor: User,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    slice_sessions: int,
) -> None:
    monkeypatch.setattr(fanout, "SLICE", slice_sessions)  # as among more than 500 sessions
    anna, bob, bobs_other = await person("anna"), await person("bob"), await visitor("bob")
    group = await group_of(anna, "bob")
    for client in (anna, bob, bobs_other):
        await wait_until(lambda client=client: "follow" in client.kinds)

    await node.push("group", group, data="before")
    # In one turn of the connector: nothing but the order in the log separates them.
    await node.chat.groups.remove(group, ["bob"], "anna")
    await node.push("group", group, data="fleeting", qos=0)
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
async def test_a_session_that_is_behind_gets_nothing_from_behind_where_its_user_left(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await group_of(anna, "bob")
    await wait_until(lambda: "follow" in bob.kinds)
    (connection,) = (c for c in node.gateway.connections if c.device.user == "bob")
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
    with pytest.raises(RequestError, match="unknown_group"):
        await node.push("group", group, data="x")
    left = [key for server in node.shards for key in await server.command("KEYS", f"*{group}*")]
    kept_for_a_while = (b"log:", b"message:", b"gone:")
    assert [key for key in left if not any(kind in key for kind in kept_for_a_while)] == []


@pytest_twisted.ensureDeferred
async def test_members_of_a_dismissed_group_who_were_not_let_go_are_later(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    """Who dismissed it was killed in the middle."""
    bob = await person("bob")
    group = (await node.chat.groups.create("anna", NewGroup("g", members=["bob"]))).group
    await wait_until(lambda: "follow" in bob.kinds)
    await node.chat.groups._act(groups._dismiss, group, "anna", {})
    await wait_until(lambda: "unfollow" in bob.kinds)
    assert "dismissed" not in [event["event"] for event in of_kind(bob, "group")]
    server = node.shards.of(f"group:{group}")
    server.clock.observe(server.clock.now_us() + 3_000_000)

    for runner in node.chat.upkeep(node.reactor, server, node.erasure):
        await runner.do_due()

    await wait_until(lambda: of_kind(bob, "group")[-1]["event"] == "dismissed")
    assert await server.command("EXISTS", server.key(f"members:{group}")) == 0
    assert await server.command("EXISTS", server.key("dismissed")) == 0


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
async def test_an_admin_may_be_muted_too_but_a_new_owner_may_speak(person: User) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await group_of(anna, "bob")
    await anna.ask("GMI", group=group, member={"user": "bob", "role": "admin", "muted": True})
    assert (await bob.ask("MS", to={"group": group}, data=1))["code"] == "muted"

    await anna.ask("GMI", group=group, owner="bob")

    assert (await bob.ask("MS", to={"group": group}, data=1))["ok"]


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
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group

    results = (await node.chat.groups.add(group, ["b", "c", "d"], None)).results

    assert results == {"b": "ok", "c": "ok", "d": "group_full"}
    with pytest.raises(RequestError, match="group_full"):
        await node.chat.groups.create("anna", NewGroup("g", members=["b", "c", "d"]))


@pytest_twisted.ensureDeferred
async def test_devices_put_nobody_into_more_groups_than_a_user_may_have(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls, chat={"groups_per_user": 2, "groups_per_minute": 4})
    groups = node.chat.groups
    for _ in range(2):
        await groups.create("anna", NewGroup("g", members=["bob"]))
    group = (await groups.create("carol", NewGroup("g"), by_device=True)).group

    results = (await groups.add(group, ["anna", "dora"], "carol", by_device=True)).results

    assert results == {"anna": "not_allowed", "dora": "ok"}
    with pytest.raises(RequestError, match="anna is in 2 groups"):
        await groups.create("anna", NewGroup("g"), by_device=True)
    with pytest.raises(RequestError, match="bob is in 2 groups"):
        await groups.create("dora", NewGroup("g", members=["bob"]), by_device=True)
    assert (await groups.add(group, ["anna"], None)).results == {"anna": "ok"}  # a backend may
    again = await groups.add(group, ["anna"], "carol", by_device=True)
    assert again.results == {"anna": "already_exists"}
    await groups.leave(group, "anna")
    for _ in range(3):
        with pytest.raises(RequestError, match="not_allowed"):
            await groups.create("anna", NewGroup("g"), by_device=True)
    with pytest.raises(RequestError, match="rate_limited"):  # what is refused counts, too
        await groups.create("anna", NewGroup("g"), by_device=True)


@pytest_twisted.ensureDeferred
async def test_members_are_paged_in_order_also_with_the_longest_names(node: Node) -> None:
    long = ["x" * 100 + f"{n:028}" for n in range(6)]
    names = sorted([*long, "anna", *(f"user{n}" for n in range(8))])
    group = (await node.chat.groups.create("anna", NewGroup("g", members=names))).group

    found, cursor = [], ""
    while cursor is not None:
        assert len(cursor) <= 256
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
    with pytest.raises(RequestError, match="not_found"):
        await node.pushing.message_devices(receipt.id)


@pytest_twisted.ensureDeferred
async def test_what_a_removed_member_had_not_read_is_dropped_in_the_ledger(node: Node) -> None:
    group = (await node.chat.groups.create("anna", NewGroup("g", members=["bob"]))).group
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


@pytest_twisted.ensureDeferred
async def test_null_in_what_may_be_absent_is_as_if_it_were(person: User) -> None:
    anna = await person("anna")

    made = await anna.ask("GC", name="g", members=None, type=None, extra=None)
    # As the last page had it: `"cursor": null`.
    listed = await anna.ask("GPGM", group=made["group"], cursor=None, limit=None)
    changed = await anna.ask(
        "GMI", group=made["group"], name=None, extra={"a": None}, member=None, owner=None
    )
    sent = await anna.ask(
        "MS", to={"group": made["group"], "user": None}, data=None, client_id=None, mentions=None
    )
    read = await anna.ask("MP", conversation=sent["conversation"], after=None, before=None)

    assert [member["user"] for member in listed["members"]] == ["anna"]
    assert (changed["name"], changed["extra"]) == ("g", {"a": None})
    assert [message["data"] for message in read["messages"]] == [None]


@pytest.mark.parametrize("cursor", ["bob~99999999999999999999", "bob~", "~1", "bob~-1", "a b", "("])
@on_one_server
@pytest_twisted.ensureDeferred
async def test_what_is_no_cursor_of_a_page_of_members_is_refused(person: User, cursor: str) -> None:
    anna = await person("anna")
    made = await anna.ask("GC", name="g")

    answer = await anna.ask("GPGM", group=made["group"], cursor=cursor)

    assert (answer["ok"], answer["code"], answer["field"]) == (False, "invalid", "cursor")


def say(node: Node, group: str, data: str) -> Deferred[Any]:
    """As a backend does for anna; it has begun when this returns."""
    said = NewMessage(data=msgspec.Raw(b'"' + data.encode() + b'"'))
    sending = node.chat.messages.send("anna", to_group(group), said, by_device=False)
    return Deferred.fromCoroutine(sending)


@pytest_twisted.ensureDeferred
async def test_messages_around_one_that_was_recalled_in_the_same_turn_come_in_order(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    clients = [await person(user) for user in ("anna", "bob", "carol")]
    group = await group_of(clients[0], "bob", "carol")
    for client in clients:
        await wait_until(lambda client=client: "follow" in client.kinds)

    await gatherResults(
        [
            say(node, group, "first"),
            say(node, group, "second"),
            say(node, group, "third"),
            Deferred.fromCoroutine(node.chat.messages.recall(to_group(group), 2, "anna")),
        ]
    )

    for client in clients:
        await wait_until(lambda client=client: of_kind(client, "recall"))
        seqs = [body["seq"] for body in of_kind(client, "chat")]
        assert seqs == sorted(seqs)
        assert {1, 3} <= set(seqs)


@pytest_twisted.ensureDeferred
async def test_who_reads_of_his_own_removal_while_a_batch_is_handed_out_disturbs_nobody(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    users = ["anna", "bob", "carol"]
    clients = [await person(user) for user in users]
    group = await group_of(clients[0], *users[1:])
    for client in clients:
        await wait_until(lambda client=client: "follow" in client.kinds)

    # All in one turn of the connector, which hears of the second that the first was its previous:
    # a gap, for which the sessions look into the log, and find there that bob follows no longer.
    await gatherResults(
        [
            say(node, group, "first"),
            say(node, group, "second"),
            Deferred.fromCoroutine(node.chat.messages.recall(to_group(group), 1, "anna")),
            Deferred.fromCoroutine(node.chat.groups.remove(group, ["bob"], "anna")),
            say(node, group, "third"),
        ]
    )
    await node.push("user", "carol", data="last")

    anna, bob, carol = clients
    await wait_until(lambda: "last" in [body["data"] for body in carol.bodies])
    for client in (anna, carol):
        await wait_until(
            lambda client=client: (
                [body["data"] for body in of_kind(client, "chat")][-1:] == ["third"]
            )
        )
    await wait_until(lambda: "unfollow" in bob.kinds)
    assert "third" not in [body["data"] for body in bob.bodies]


@pytest_twisted.ensureDeferred
async def test_who_was_removed_gets_no_push_at_qos_0_either_however_many_the_members_are(
    node: Node, person: User, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "SLICE", 1)  # else it takes more than 500
    clients = [await person(user) for user in ("anna", "bob", "carol", "dave")]
    group = await group_of(clients[0], "bob", "carol", "dave")
    for client in clients:
        await wait_until(lambda client=client: "follow" in client.kinds)

    # The first begins a round over all members; the others are for the next round, together.
    await gatherResults(
        [
            Deferred.fromCoroutine(node.chat.groups.remove(group, ["dave"], "anna")),
            Deferred.fromCoroutine(node.chat.groups.remove(group, ["bob"], "anna")),
            Deferred.fromCoroutine(node.push("group", group, data="now", qos=0)),
        ]
    )
    await node.push("group", group, data="later")

    anna, bob, carol, dave = clients
    for client in (anna, carol):
        await wait_until(lambda client=client: client.bodies[-1]["data"] == "later")
        assert "now" in [body["data"] for body in client.bodies]
    for client in (bob, dave):
        await wait_until(lambda client=client: "unfollow" in client.kinds)
        assert "now" not in [body["data"] for body in client.bodies]


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\n", "\x7f", "a\x85", "", "ü" * 65])
@on_one_server
@pytest_twisted.ensureDeferred
async def test_a_name_of_a_group_has_no_control_characters(person: User, name: str) -> None:
    anna = await person("anna")
    made = await anna.ask("GC", name="g")

    named: dict[str, Any] = {"name": name}

    for answer in (
        await anna.ask("GC", **named),
        await anna.ask("GMI", group=made["group"], **named),
    ):
        assert (answer["ok"], answer["code"], answer["field"]) == (False, "invalid", "name")

"""Messages: in order, without gaps, once, read back and recalled; and how far everyone is."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.chat import conversations
from push.chat.actions import ChatScripts
from push.chat.conversation_id import conversation_of, to_group, to_user
from push.wire.api.conversations import NewMessage, Range, ReadPositions
from push.wire.api.groups import NewGroup
from push.wire.bodies import json_depth_exceeds
from push.wire.errors import RequestError
from tests.chat.conftest import User, keys_of, of_kind, on_one_server
from tests.connector.conftest import Client, Node
from tests.waiting import WaitUntil


def said(data: object, **more: Any) -> NewMessage:
    return NewMessage(data=msgspec.Raw(json.dumps(data).encode()), **more)


async def say(node: Node, sender: str, to: str, data: object, **more: Any) -> Any:
    """As a backend does on behalf of `sender`; `to` as he sees it."""
    conversation = conversation_of(sender, to)
    return await node.chat.messages.send(sender, conversation, said(data, **more), by_device=False)


async def make_group(node: Node, *users: str) -> str:
    return (await node.chat.groups.create(users[0], NewGroup("g", members=list(users[1:])))).group


def texts(client: Client) -> list[Any]:
    return [body["data"] for body in of_kind(client, "chat")]


@pytest_twisted.ensureDeferred
async def test_a_message_reaches_all_devices_of_both_as_each_sees_the_conversation(
    person: User, visitor: User, wait_until: WaitUntil
) -> None:
    anna, annas_other = await person("anna"), await person("anna")
    bob, bobs_other = await person("bob"), await visitor("bob")

    answer = await anna.ask(
        "MS",
        to={"user": "bob"},
        data={"text": "Grüße"},
        client_id="c1",
        mentions=["bob"],
        reply_to=7,
    )

    assert answer == {
        "ok": True,
        "id": answer["id"],
        "conversation": "user:bob",
        "seq": 1,
        "ts": answer["ts"],
    }
    for client, conversation in (
        (anna, "user:bob"),
        (annas_other, "user:bob"),
        (bob, "user:anna"),
        (bobs_other, "user:anna"),
    ):
        await wait_until(lambda client=client: of_kind(client, "chat"))
        (push,) = of_kind(client, "chat")
        for name in ("stream", "offset", "expires"):
            del push[name]
        assert push == {
            "id": answer["id"],
            "ts": answer["ts"],
            "kind": "chat",
            "conversation": conversation,
            "from": "anna",
            "seq": 1,
            "type": "text",
            "client_id": "c1",
            "mentions": ["bob"],
            "reply_to": 7,
            "data": {"text": "Grüße"},
        }


@pytest_twisted.ensureDeferred
async def test_a_group_message_is_one_entry_of_its_log_and_counted_for_its_devices(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    clients = [await person(f"user{n}") for n in range(5)]
    group = await make_group(node, *(f"user{n}" for n in range(5)))
    for client in clients:
        await wait_until(lambda client=client: "follow" in client.kinds)

    answer = await clients[0].ask("MS", to={"group": group}, data="hello")

    for client in clients:
        await wait_until(lambda client=client: texts(client) == ["hello"])
    stream = f"group:{group}"
    log = await keys_of(node, stream, "XRANGE", f"log:{stream}", "-", "+")
    assert len([entry for entry in log if entry[1][4] == b"m"]) == 1

    async def acknowledged() -> bool:
        return (await node.pushing.message(answer["id"])).acknowledged == 5

    await wait_until(acknowledged)


@pytest_twisted.ensureDeferred
async def test_the_ledger_knows_what_became_of_a_message_for_each_device(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    await person("anna")
    await person("bob")
    pair = await node.devices.register(platform="p", app="a", ip="")
    await node.devices.bind("bob", pair.token)

    sent = await say(node, "anna", "user:bob", "x")

    async def states() -> bool:
        lines = await node.pushing.message_devices(sent.id)
        found = sorted((line.user, line.state) for line in lines)
        return found == [("anna", "acknowledged"), ("bob", "acknowledged"), ("bob", "stored")]

    await wait_until(states)


@pytest_twisted.ensureDeferred
async def test_messages_sent_at_once_have_each_its_seq_and_one_order_for_all(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    calls = [
        Deferred.fromCoroutine(say(node, "anna", "user:bob", n))
        if n % 2
        else Deferred.fromCoroutine(say(node, "bob", "user:anna", n))
        for n in range(60)
    ]

    sent = await gatherResults(calls)

    assert sorted(each.seq for each in sent) == list(range(1, 61))
    for client in (anna, bob):
        await wait_until(lambda client=client: len(of_kind(client, "chat")) == 60)
        assert [body["seq"] for body in of_kind(client, "chat")] == list(range(1, 61))
    assert texts(anna) == texts(bob)


@pytest_twisted.ensureDeferred
async def test_what_came_while_a_device_was_away_waits_for_it(
    node: Node, person: User, dial: Any, wait_until: WaitUntil
) -> None:
    bob = await person("bob")
    credentials = bob._credentials
    bob.transport.loseConnection()
    await wait_until(lambda: bob.closed)
    group = await make_group(node, "anna", "bob")
    await say(node, "anna", "user:bob", "one")
    await say(node, "anna", f"group:{group}", "two")

    again = await dial(node, acks=True)
    await again.connect(**credentials)

    await wait_until(lambda: len(texts(again)) == 2)
    assert sorted(texts(again)) == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_the_same_client_id_is_the_same_message_on_either_door(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await make_group(node, "anna")

    first = await anna.ask("MS", to={"user": "bob"}, data="x", client_id="c")
    again = await anna.ask("MS", to={"user": "bob"}, data="x", client_id="c")
    other_door = await say(node, "anna", "user:bob", "x", client_id="c")
    elsewhere = await anna.ask("MS", to={"group": group}, data="x", client_id="c")
    of_another = await bob.ask("MS", to={"user": "anna"}, data="z", client_id="c")

    assert again == first
    assert node.chat.messages.accepted["user", "device"] == 2
    assert (elsewhere["code"], elsewhere["field"]) == ("idempotency_mismatch", "client_id")
    assert (other_door.id, other_door.seq) == (first["id"], 1)
    assert of_another["seq"] == 2
    await wait_until(lambda: len(texts(bob)) == 2)
    assert texts(bob) == ["x", "z"]
    kept = await keys_of(node, "chat:anna,bob", "TTL", "sent:chat:anna,bob anna,c")
    assert 7 * 86_400 - 60 < kept <= 7 * 86_400


@pytest_twisted.ensureDeferred
async def test_a_client_id_with_another_request_is_refused_on_either_door(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna = await person("anna")
    group = await make_group(node, "anna", "bob")
    sent = {"to": {"user": "bob"}, "data": {"a": 1}, "type": "text", "mentions": ["bob"]}
    sent = {**sent, "reply_to": 0, "client_id": "c"}
    first = await anna.ask("MS", **sent)

    for change in (
        {"data": {"a": 2}},
        {"data": {"a": 1.0}},
        {"type": "image"},
        {"mentions": []},
        {"mentions": ["bob", "anna"]},
        {"reply_to": 1},
        {"to": {"user": "carol"}},
        {"to": {"group": group}},
    ):
        answer = await anna.ask("MS", **{**sent, **change})
        assert (answer["ok"], answer.get("code")) == (False, "idempotency_mismatch"), change
        assert answer["field"] == "client_id"
        body = {name: value for name, value in {**sent, **change}.items() if name != "to"}
        name, other = next(iter({**sent, **change}["to"].items()))
        with pytest.raises(RequestError, match="idempotency_mismatch"):
            await say(node, "anna", f"{name}:{other}", body.pop("data"), **body)

    assert await anna.ask("MS", **sent) == first
    assert (await anna.ask("MS", **{**sent, "client_id": "d"}))["seq"] == 2
    page = await node.chat.conversations.page("carol", cursor="", limit=9)
    assert page.conversations == []


@pytest_twisted.ensureDeferred
async def test_a_client_id_from_before_digests_is_still_the_same_message(node: Node) -> None:
    first = await say(node, "anna", "user:bob", "x", client_id="c")
    key = "sent:chat:anna,bob anna,c"
    assert await keys_of(node, "chat:anna,bob", "HDEL", key, "digest") == 1

    assert await say(node, "anna", "user:bob", "x", client_id="c") == first
    assert await say(node, "anna", "user:bob", "y", client_id="c") == first
    with pytest.raises(RequestError, match="idempotency_mismatch"):
        await say(node, "anna", "user:carol", "x", client_id="c")


@pytest_twisted.ensureDeferred
async def test_a_client_id_of_a_message_that_was_refused_may_be_used_again(
    node: Node, person: User
) -> None:
    anna = await person("anna")
    group = await make_group(node, "bob")
    refused = await anna.ask("MS", to={"group": group}, data="x", client_id="c")
    assert refused["code"] == "not_member"
    await node.chat.groups.add(group, ["anna"], None)

    assert (await anna.ask("MS", to={"group": group}, data="x", client_id="c"))["seq"] == 1


@pytest_twisted.ensureDeferred
async def test_history_is_paged_both_ways_and_synced_by_seq(node: Node, person: User) -> None:
    anna = await person("anna")
    for n in range(1, 71):
        await say(node, "anna", "user:bob", n)

    async def page(**asked: Any) -> tuple[list[int], bool]:
        answer = await anna.ask("MP", conversation="user:bob", **asked)
        return [message["data"] for message in answer["messages"]], answer["more"]

    assert await page() == (list(range(21, 71)), True)
    assert await page(before=21, limit=15) == (list(range(6, 21)), True)
    assert await page(before=6) == (list(range(1, 6)), False)
    assert await page(after=0, limit=30) == (list(range(1, 31)), True)
    assert await page(after=30, limit=40) == (list(range(31, 71)), False)
    assert await page(after=70) == ([], False)
    assert await page(before=1) == ([], False)
    assert await page(after=1000) == ([], False)
    both = await anna.ask("MP", conversation="user:bob", after=1, before=3)
    assert (both["code"], both["field"]) == ("invalid", "before")
    nothing = await anna.ask("MP", conversation="user:carol")
    assert nothing == {"ok": True, "messages": [], "more": False}


@pytest_twisted.ensureDeferred
async def test_a_message_of_the_history_is_as_it_was_sent(node: Node) -> None:
    sent = await say(node, "anna", "user:bob", [1.5, None, "ü"], type="image", client_id="c")

    page = await node.chat.messages.history(conversation_of("bob", "user:anna"), Range(), "bob")

    assert json.loads(msgspec.json.encode(page)) == {
        "messages": [
            {
                "id": sent.id,
                "conversation": "user:anna",
                "from": "anna",
                "seq": 1,
                "ts": sent.ts,
                "type": "image",
                "client_id": "c",
                "data": [1.5, None, "ü"],
            }
        ],
        "more": False,
    }


@pytest_twisted.ensureDeferred
async def test_a_page_of_large_messages_fits_into_a_frame_and_says_that_there_is_more(
    node: Node, person: User
) -> None:
    anna = await person("anna")
    for n in range(6):
        await say(node, "anna", "user:bob", str(n) * 200_000)

    newest = await anna.ask("MP", conversation="user:bob")
    assert [message["seq"] for message in newest["messages"]] == [4, 5, 6]
    assert newest["more"]
    first = await anna.ask("MP", conversation="user:bob", after=0)
    assert [message["seq"] for message in first["messages"]] == [1, 2, 3]
    assert first["more"]


@pytest_twisted.ensureDeferred
async def test_history_keeps_so_many_and_no_older_ones(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls, chat={"history_count": 3})
    for n in range(1, 6):
        await say(node, "anna", "user:bob", n)
    await node.chat.messages.recall(conversation_of("anna", "user:bob"), 4, None)

    conversation = conversation_of("anna", "user:bob")
    page = await node.chat.messages.history(conversation, Range(after=0), "anna")
    assert [message.seq for message in page.messages] == [3, 4, 5]
    await say(node, "anna", "user:bob", 6)
    page = await node.chat.messages.history(conversation, Range(after=0), "anna")
    assert [message.seq for message in page.messages] == [4, 5, 6]
    assert page.messages[0].recalled


@pytest_twisted.ensureDeferred
async def test_history_that_is_too_old_goes_also_when_nobody_writes(
    make_node: Any, redis_urls: list[str], wait_until: WaitUntil
) -> None:
    from twisted.internet import reactor

    node = await make_node(redis_urls, chat={"history_days": 1})
    for n in range(50):
        await say(node, "anna", "user:bob", n)
    # A day and an hour pass on the server's clock.
    server = node.shards.of("chat:anna,bob")
    server.clock.observe(server.clock.now_us() + 25 * 3600 * 1_000_000)
    tidying = node.chat.upkeep(reactor, server, node.erasure)[0]

    await tidying.do_due()

    conversation = conversation_of("anna", "user:bob")
    page = await node.chat.messages.history(conversation, Range(after=0), "anna")
    assert page.messages == []
    assert await server.command("EXISTS", server.key("histories")) == 0
    assert (await say(node, "anna", "user:bob", "new")).seq == 51


@pytest_twisted.ensureDeferred
async def test_a_member_sees_what_came_since_he_joined(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls)
    open_node = await make_node(redis_urls, chat={"history_before_join": True})
    group = await make_group(node, "anna")
    await say(node, "anna", f"group:{group}", "before")
    await node.chat.groups.add(group, ["bob"], None)
    await say(node, "anna", f"group:{group}", "after")

    async def seen(node: Node, by: str | None) -> list[int]:
        page = await node.chat.messages.history(to_group(group), Range(), by)
        return [message.seq for message in page.messages]

    assert await seen(node, "bob") == [2]
    assert await seen(node, "anna") == [1, 2]
    assert await seen(node, None) == [1, 2]
    assert await seen(open_node, "bob") == [1, 2]
    with pytest.raises(RequestError, match="unknown_message"):
        await node.chat.messages.recall(to_group(group), 1, "bob")
    rows = (await node.chat.conversations.page("bob", cursor="", limit=9)).conversations
    assert [(row.seq, row.read, row.unread) for row in rows] == [(2, 1, 1)]


@pytest_twisted.ensureDeferred
async def test_unread_is_right_on_every_device_after_any_of_them_read(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna = await person("anna")
    bob, bobs_other = await person("bob"), await person("bob")
    for n in range(5):
        await anna.ask("MS", to={"user": "bob"}, data=n)

    async def unread(client: Client) -> list[int]:
        rows = (await client.ask("CL"))["conversations"]
        return [row["unread"] for row in rows]

    assert (await unread(bob), await unread(anna)) == ([5], [0])
    assert await bob.ask("MRN", conversation="user:anna", delivered=5, read=3) == {
        "ok": True,
        "seq": 5,
        "delivered": 5,
        "read": 3,
    }
    assert await unread(bobs_other) == [2]
    for client, conversation in ((anna, "user:bob"), (bobs_other, "user:anna"), (bob, "user:anna")):
        await wait_until(lambda client=client: of_kind(client, "receipt"))
        (receipt,) = of_kind(client, "receipt")
        assert receipt["conversation"] == conversation
        assert (receipt["user"], receipt["delivered"], receipt["read"]) == ("bob", 5, 3)
    back = await bobs_other.ask("MRN", conversation="user:anna", read=1, delivered=2)
    assert (back["delivered"], back["read"]) == (5, 3)
    beyond = await bob.ask("MRN", conversation="user:anna", read=6)
    assert (beyond["code"], beyond["field"]) == ("invalid", "read")
    await bob.ask("MS", to={"user": "anna"}, data="answer")
    assert (await unread(bob), await unread(anna)) == ([0], [1])


@pytest_twisted.ensureDeferred
async def test_reading_raises_what_was_delivered(node: Node) -> None:
    await say(node, "anna", "user:bob", 1)
    conversation = conversation_of("bob", "user:anna")

    moved = await node.chat.messages.move(conversation, ReadPositions(read=1), "bob")

    assert (moved.delivered, moved.read) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_receipts_of_a_small_group_are_for_all_and_of_a_large_one_for_the_own_devices(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    small = await make_group(node, "anna", "bob")
    large = await make_group(node, "anna", "bob", *(f"m{n}" for n in range(199)))
    for group in (large, small):
        await say(node, "anna", f"group:{group}", "x")
        assert (await bob.ask("MRN", conversation=f"group:{group}", read=1))["ok"]

    await wait_until(lambda: len(of_kind(bob, "receipt")) == 2)
    await wait_until(lambda: of_kind(anna, "receipt"))

    assert [r["conversation"] for r in of_kind(anna, "receipt")] == [f"group:{small}"]
    places = {r["conversation"]: r["stream"] for r in of_kind(bob, "receipt")}
    assert places == {f"group:{small}": f"group:{small}", f"group:{large}": "user:bob"}


@pytest_twisted.ensureDeferred
async def test_only_the_last_receipt_of_a_user_waits_in_a_stream(node: Node) -> None:
    for n in range(10):
        await say(node, "anna", "user:bob", n)
    for n in range(1, 11):
        await node.chat.messages.move(
            conversation_of("bob", "user:anna"), ReadPositions(read=n), "bob"
        )

    log = await keys_of(node, "user:anna", "XRANGE", "log:user:anna", "-", "+")

    assert len([entry for entry in log if b'"kind":"receipt"' in entry[1][5]]) == 1


@pytest_twisted.ensureDeferred
async def test_a_recalled_message_is_gone_for_all(
    node: Node, person: User, dial: Any, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    away = bob._credentials
    await anna.ask("MS", to={"user": "bob"}, data="one")
    await wait_until(lambda: texts(bob) == ["one"])
    bob.transport.loseConnection()
    await wait_until(lambda: bob.closed)
    await anna.ask("MS", to={"user": "bob"}, data="two")

    assert await anna.ask("MR", conversation="user:bob", seq=2) == {"ok": True}
    assert await anna.ask("MR", conversation="user:bob", seq=2) == {"ok": True}

    again = await dial(node, acks=True)
    await again.connect(**away)
    for client, conversation in ((anna, "user:bob"), (again, "user:anna")):
        await wait_until(lambda client=client: of_kind(client, "recall"))
        (recall,) = of_kind(client, "recall")
        assert (recall["conversation"], recall["seq"], recall["by"]) == (conversation, 2, "anna")
    assert texts(again) == []
    page = await again.ask("MP", conversation="user:anna")
    assert page["messages"][1] == {
        "conversation": "user:anna",
        "seq": 2,
        "from": "anna",
        "recalled": True,
    }
    owner = "chat:anna,bob"
    kept = await keys_of(node, owner, "XRANGE", f"history:{owner}", "-", "+")
    assert b"two" not in repr(kept).encode()


@pytest_twisted.ensureDeferred
async def test_a_message_can_be_recalled_for_some_time_and_by_the_backend_always(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls, chat={"recall_seconds": 60})
    await say(node, "anna", "user:bob", "x")
    clock = node.shards.of("chat:anna,bob").clock
    clock.observe(clock.now_us() + 61 * 1_000_000)
    conversation = conversation_of("anna", "user:bob")

    with pytest.raises(RequestError, match="recall_expired"):
        await node.chat.messages.recall(conversation, 1, "anna")
    with pytest.raises(RequestError, match="not_allowed"):
        await node.chat.messages.recall(conversation_of("bob", "user:anna"), 1, "bob")
    with pytest.raises(RequestError, match="unknown_message"):
        await node.chat.messages.recall(conversation, 2, "anna")
    await node.chat.messages.recall(conversation, 1, None)


@pytest_twisted.ensureDeferred
async def test_typing_is_told_to_who_is_there_and_kept_nowhere(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    anna, bob = await person("anna"), await person("bob")
    group = await make_group(node, "anna", "bob")
    await wait_until(lambda: "follow" in bob.kinds and "follow" in anna.kinds)

    assert await anna.ask("TP", conversation="user:bob") == {"ok": True}
    assert await anna.ask("TP", conversation=f"group:{group}") == {"ok": True}

    await wait_until(lambda: len(of_kind(bob, "typing")) == 2)
    told = [(push["conversation"], push["user"]) for push in of_kind(bob, "typing")]
    assert told == [("user:anna", "anna"), (f"group:{group}", "anna")]
    assert all("offset" not in push for push in of_kind(bob, "typing"))
    await say(node, "bob", "user:anna", "end")
    await wait_until(lambda: "end" in texts(anna))
    assert of_kind(anna, "typing") == []


@pytest_twisted.ensureDeferred
async def test_conversations_are_listed_the_latest_first_and_paged(
    node: Node, person: User
) -> None:
    anna = await person("anna")
    group = await make_group(node, "bob", "anna")
    await say(node, "carol", "user:anna", "first")
    await say(node, "bob", f"group:{group}", "second")
    await say(node, "anna", "user:bob", "third")

    found, cursor = [], ""
    while cursor is not None:
        page = await anna.ask("CL", cursor=cursor, limit=1)
        found += page["conversations"]
        cursor = page["cursor"]

    assert [row["conversation"] for row in found] == ["user:bob", f"group:{group}", "user:carol"]
    assert [row["last"]["data"] for row in found] == ["third", "second", "first"]
    assert [row["unread"] for row in found] == [0, 1, 1]
    assert found[0]["user"] == "bob"
    assert found[1]["group"] == group
    wrong = await anna.ask("CL", cursor="nonsense")
    assert (wrong["code"], wrong["field"]) == ("invalid", "cursor")


@pytest_twisted.ensureDeferred
async def test_a_long_list_of_conversations_is_looked_up_in_steps(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "SUMMARIES_AT_A_TIME", 3)
    asked: list[int] = []
    encoded = ChatScripts.encoded

    def noted(scripts: ChatScripts, request: dict[str, Any]) -> bytes:
        if "owners" in request:
            asked.append(len(request["owners"]))
        return encoded(scripts, request)

    monkeypatch.setattr(ChatScripts, "encoded", noted)
    names = [f"group:{await make_group(node, 'anna')}" for _ in range(5)]
    for n in range(5):
        await say(node, f"user{n}", "user:anna", n)
        names.append(f"user:user{n}")

    page = await node.chat.conversations.page("anna", cursor="", limit=50)

    assert [row.conversation for row in page.conversations] == names[::-1]
    assert page.cursor is None
    assert sum(asked) == 5 + 10
    assert max(asked) <= 3


@pytest.mark.parametrize("at_a_time", [2, 50])
@pytest_twisted.ensureDeferred
async def test_a_page_of_conversations_with_long_messages_fits_into_a_frame(
    node: Node, person: User, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "SUMMARIES_AT_A_TIME", at_a_time)
    peers = [f"user{n}" for n in range(8)]
    for peer in peers:
        await say(node, "anna", f"user:{peer}", "x" * 200_000)
    anna = await person("anna")

    found: list[str] = []
    cursor: str | None = None
    while cursor is not None or not found:
        page = await anna.ask("CL", cursor=cursor)
        assert len(json.dumps(page)) < 1024 * 1024
        found += [row["user"] for row in page["conversations"]]
        cursor = page["cursor"]

    assert found == peers[::-1]


@pytest_twisted.ensureDeferred
async def test_a_group_without_messages_is_listed_too(node: Node) -> None:
    group = await make_group(node, "anna")

    (row,) = (await node.chat.conversations.page("anna", cursor="", limit=50)).conversations

    assert (row.conversation, row.last, row.seq, row.unread) == (f"group:{group}", None, 0, 0)


@pytest_twisted.ensureDeferred
async def test_who_may_begin_a_conversation_is_a_setting(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls, chat={"direct": "existing"})
    send = node.chat.messages.send

    with pytest.raises(RequestError, match="not_allowed"):
        await send("anna", to_user("anna", "bob"), said("x"), by_device=True)
    with pytest.raises(RequestError, match="not_allowed"):
        await node.chat.messages.typing(to_user("anna", "bob"), "anna")
    await send("bob", to_user("bob", "anna"), said("x"), by_device=False)
    await send("anna", to_user("anna", "bob"), said("x"), by_device=True)


@pytest_twisted.ensureDeferred
async def test_a_user_sends_so_many_a_minute_but_a_backend_any_number(
    make_node: Any, redis_urls: list[str]
) -> None:
    node = await make_node(redis_urls, chat={"messages_per_minute": 2})
    send = node.chat.messages.send
    for _ in range(2):
        await send("anna", to_user("anna", "bob"), said("x"), by_device=True)

    with pytest.raises(RequestError, match="rate_limited"):
        await send("anna", to_user("anna", "bob"), said("x"), by_device=True)
    for _ in range(3):
        await send("anna", to_user("anna", "bob"), said("x"), by_device=False)
    await send("bob", to_user("bob", "anna"), said("x"), by_device=True)


def nested(depth: int) -> Any:
    """A list in a list …"""
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


@pytest_twisted.ensureDeferred
async def test_a_message_as_deep_as_may_be_is_in_lists_that_clients_can_read(person: User) -> None:
    anna = await person("anna")
    assert (await anna.ask("MS", to={"user": "bob"}, data=nested(28)))["ok"]
    for name, body in (("CL", {}), ("MP", {"conversation": "user:bob"})):
        answer = await anna.ask(name, **body)
        assert not json_depth_exceeds(json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("name", "body", "code", "field"),
    [
        ("MS", {"to": {"user": "bob"}}, "invalid", "data"),
        ("MS", {"to": {}, "data": 1}, "invalid", "to"),
        ("MS", {"to": {"user": "bob", "group": "g"}, "data": 1}, "invalid", "to"),
        ("MS", {"to": {"user": "b b"}, "data": 1}, "invalid", "to.user"),
        ("MS", {"to": {"user": "anna"}, "data": 1}, "invalid", "to.user"),
        ("MS", {"to": {"group": "nowhere"}, "data": 1}, "unknown_group", None),
        ("MS", {"to": {"user": "bob"}, "data": 1, "client_id": "ü"}, "invalid", "client_id"),
        ("MS", {"to": {"user": "bob"}, "data": 1, "type": ""}, "invalid", "type"),
        ("MS", {"to": {"user": "bob"}, "data": 1, "mentions": ["x"] * 101}, "invalid", "mentions"),
        ("MS", {"to": {"user": "bob"}, "data": "x" * 262_144}, "too_large", "data"),
        ("MS", {"to": {"user": "bob"}, "data": nested(29)}, "invalid", "data"),
        ("MP", {"conversation": "bob"}, "invalid", "conversation"),
        ("MP", {"conversation": "user:bob", "limit": 201}, "invalid", "limit"),
        ("MR", {"conversation": "user:bob", "seq": -1}, "invalid", "seq"),
        ("MRN", {"conversation": "user:bob", "read": 1}, "invalid", "read"),
        ("GC", {"name": ""}, "invalid", "name"),
        ("GC", {"name": "ü" * 100}, "invalid", "name"),
        ("GC", {"name": "g", "members": ["a", "b c"]}, "invalid", "members"),
        ("GC", {"name": "g", "extra": "x" * 8192}, "invalid", "extra"),
        ("GAM", {"group": "g", "users": []}, "invalid", "users"),
        ("GAM", {"group": "g", "users": ["x"] * 501}, "invalid", "users"),
        ("GMI", {"group": "g", "invite": "nobody"}, "invalid", "invite"),
        ("GMI", {"group": "g", "name": "x"}, "unknown_group", None),
        ("PS", {"users": ["x"] * 101}, "invalid", "users"),
        ("TP", {"conversation": "user:anna"}, "invalid", "conversation"),
        ("MN", {}, "unknown_request", None),
        ("MS", {"to": {"user": ".."}, "data": 1}, "invalid", "to.user"),
        ("MS", {"to": {"group": "."}, "data": 1}, "invalid", "to.group"),
        ("MS", {"to": {"user": "bob"}, "data": 1, "client_id": ".."}, "invalid", "client_id"),
        ("MS", {"to": {"user": "bob"}, "data": 1, "mentions": ["."]}, "invalid", "mentions"),
        ("MP", {"conversation": "user:.."}, "invalid", "conversation"),
        ("MR", {"conversation": "group:.", "seq": 1}, "invalid", "conversation"),
        ("MRN", {"conversation": "user:.", "read": 1}, "invalid", "conversation"),
        ("GC", {"name": "g", "members": [".."]}, "invalid", "members"),
        ("GPGI", {"group": ".."}, "invalid", "group"),
        ("GPGM", {"group": "."}, "invalid", "group"),
        ("GAM", {"group": "g", "users": ["."]}, "invalid", "users"),
        ("GKM", {"group": "..", "users": ["a"]}, "invalid", "group"),
        ("GQ", {"group": ".."}, "invalid", "group"),
        ("GMI", {"group": "g", "owner": ".."}, "invalid", "owner"),
        ("GMI", {"group": "g", "member": {"user": "."}}, "invalid", "member.user"),
        ("GD", {"group": "."}, "invalid", "group"),
        ("TP", {"conversation": "user:.."}, "invalid", "conversation"),
        ("PS", {"users": [".."]}, "invalid", "users"),
    ],
)
@on_one_server
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused_and_named(
    person: User, name: str, body: dict[str, Any], code: str, field: str | None
) -> None:
    anna = await person("anna")

    answer = await anna.ask(name, **body)

    assert (answer["ok"], answer["code"], answer.get("field")) == (False, code, field), answer
    assert answer["detail"]


@pytest_twisted.ensureDeferred
async def test_however_many_conversations_end_at_once_all_go_at_the_next_look(
    make_node: Any, redis_urls: list[str]
) -> None:
    from twisted.internet import reactor

    node = await make_node(redis_urls, chat={"history_days": 1})
    for n in range(70):  # more than are claimed at a time
        await say(node, "anna", f"user:peer{n}", "x")
    for server in node.shards:
        server.clock.observe(server.clock.now_us() + 25 * 3600 * 1_000_000)
        await node.chat.upkeep(reactor, server, node.erasure)[0].do_due()

    for server in node.shards:
        for pattern in (
            "conversation:*",
            "history:*",
            "positions:*",
            "conversations:*",
            "copied:*",
        ):
            assert await server.command("KEYS", server.key(pattern)) == [], pattern
    assert (await node.chat.conversations.page("anna", cursor="", limit=9)).conversations == []

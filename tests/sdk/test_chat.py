"""Chat in both device clients and in the clients of backends, against scripted servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from both import PushClient, is_kind
from device_server import DeviceServer, Peer, run
from http_server import Answer, HTTPServer, problem

from push.sdk.backend import AsyncPushAPI, PushAPI, PushAPIError
from push.sdk.chat_types import GroupInfo, HistoryMessage, Member, Positions, Sent
from push.sdk.errors import ConnectionFailed, RequestRefused
from push.wire.signals import RequestName, Signal
from tests.waiting import DEADLINE_SECONDS

GROUP = {
    "group": "g1",
    "name": "Us",
    "type": "normal",
    "owner": "ada",
    "announcement": "",
    "extra": {"colour": "red"},
    "members": 2,
    "mute_all": False,
    "invite": "member",
    "ts": 5,
}
SENT = {"id": "m1", "conversation": "user:ben", "seq": 7, "ts": 5}

each_client = pytest.mark.usefixtures("each_client")


def client_of(server: DeviceServer) -> Any:
    return PushClient([server.url], random=lambda: 0.0, token="T", secret="S")


async def take(peer: Peer, name: RequestName) -> tuple[int, dict[str, Any]]:
    """The next request must be a `name`: its message id, and its body."""
    frame, body = await peer.take(Signal.PUBLISH)
    assert frame.sub_signal == name
    return frame.message_id, body


def reply(peer: Peer, name: RequestName, number: int, /, **members: Any) -> None:
    peer.send(Signal.PUB_ACK, {"ok": True, **members}, name, number)


async def asked(
    peer: Peer, name: RequestName, asking: Coroutine[Any, Any, Any], /, **answer: Any
) -> tuple[dict[str, Any], Any]:
    """What is asked for, and what comes of the answer."""
    task = asyncio.ensure_future(asking)
    number, body = await take(peer, name)
    reply(peer, name, number, **answer)
    return body, await task


# --- Sending -------------------------------------------------------------------------------------


@each_client
def test_a_message_is_sent_to_a_user_or_a_group():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(user="ada")
            body, sent = await asked(
                peer, RequestName.MS, client.chat("ben").send({"text": "hi"}), **SENT
            )
            assert sent == Sent("m1", "user:ben", 7, 5)
            assert len(body.pop("client_id")) == 20
            assert body == {"to": {"user": "ben"}, "data": {"text": "hi"}}
            body, _ = await asked(
                peer,
                RequestName.MS,
                client.group("g1").send(
                    None, type="image", mentions=["ben"], reply_to=3, client_id="c"
                ),
                **SENT,
            )
            assert body == {
                "to": {"group": "g1"},
                "data": None,
                "client_id": "c",
                "type": "image",
                "mentions": ["ben"],
                "reply_to": 3,
            }

    run(test())


@each_client
def test_a_message_whose_answer_was_lost_is_sent_again_as_the_same_one():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(user="ada")
            sending = asyncio.ensure_future(client.chat("ben").send("hi"))
            _, first = await take(peer, RequestName.MS)
            peer.abort()
            peer = await server.accept()
            await peer.welcome(session="s2", user="ada")
            number, again = await take(peer, RequestName.MS)
            refused = {"ok": False, "code": "unavailable", "detail": "soon", "after": 0}
            peer.send(Signal.PUB_ACK, refused, RequestName.MS, number)
            number, third = await take(peer, RequestName.MS)
            reply(peer, RequestName.MS, number, **SENT)
            assert first == again == third
            assert (await sending).seq == 7

    run(test())


@each_client
def test_a_message_that_is_refused_or_not_sent_in_time_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("push.sdk.core.requests.PASSING_SECONDS", 0.0)

    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            with pytest.raises(ConnectionFailed, match=r"within 0\.05 s"):
                await client.chat("ben").send("hi", timeout=0.05)
            peer = await server.accept()
            await peer.welcome(user="ada")
            sending = asyncio.ensure_future(client.group("g").send("hi"))
            for code in ("in_progress", "muted"):
                number, _ = await take(peer, RequestName.MS)
                refused = {"ok": False, "code": code, "detail": "no"}
                peer.send(Signal.PUB_ACK, refused, RequestName.MS, number)
            with pytest.raises(RequestRefused) as caught:
                await sending
            assert caught.value.code == "muted"
            sending = asyncio.ensure_future(client.group("g").send("hi"))
            number, _ = await take(peer, RequestName.MS)
            reply(peer, RequestName.MS, number, id=1)
            with pytest.raises(RequestRefused, match="not what was expected"):
                await sending

    run(test())


# --- Reading -------------------------------------------------------------------------------------


def in_history(*numbers: int, **more: Any) -> dict[str, Any]:
    messages = [
        {"conversation": "user:ben", "from": "ben", "seq": n, "id": f"m{n}", "data": n, "ts": n}
        for n in numbers
    ]
    return {"messages": messages, **more}


@each_client
def test_history_is_read_forwards_and_backwards():
    async def all_of(messages: Any) -> list[Any]:
        return [message.data async for message in messages]

    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(user="ada")
            ben = client.chat("ben")

            forwards = asyncio.ensure_future(all_of(ben.history(after=2, page=2)))
            for body, answer in [
                ({"after": 2}, in_history(3, 4, more=True)),
                ({"after": 4}, in_history(5, more=False)),
            ]:
                number, said = await take(peer, RequestName.MP)
                assert said == {"conversation": "user:ben", "limit": 2, **body}
                reply(peer, RequestName.MP, number, **answer)
            assert await forwards == [3, 4, 5]

            backwards = asyncio.ensure_future(all_of(ben.history(page=2)))
            for body, answer in [
                ({}, in_history(4, 5, more=True)),
                ({"before": 4}, in_history(2, 3, more=True)),
                ({"before": 2}, in_history(more=False)),
            ]:
                number, said = await take(peer, RequestName.MP)
                assert said == {"conversation": "user:ben", "limit": 2, **body}
                reply(peer, RequestName.MP, number, **answer)
            assert await backwards == [5, 4, 3, 2]

            recalled = {"conversation": "user:ben", "seq": 1, "from": "ada", "recalled": True}
            _, page = await asked(
                peer, RequestName.MP, ben.history_page(before=2), messages=[recalled], more=False
            )
            assert page.messages == [
                HistoryMessage(conversation="user:ben", seq=1, sender="ada", recalled=True)
            ]

    run(test())


@each_client
def test_positions_recall_typing_conversations_and_presence():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(user="ada")
            ben, group = client.chat("ben"), client.conversation("group:g1")
            answer = {"seq": 9, "delivered": 8, "read": 7}
            body, positions = await asked(peer, RequestName.MRN, ben.read(7), **answer)
            assert body == {"conversation": "user:ben", "read": 7}
            assert positions == Positions(9, 8, 7)
            body, _ = await asked(peer, RequestName.MRN, group.delivered(8), **answer)
            assert body == {"conversation": "group:g1", "delivered": 8}
            body, _ = await asked(peer, RequestName.MR, ben.recall(3))
            assert body == {"conversation": "user:ben", "seq": 3}
            await group.typing()
            assert await take(peer, RequestName.TP) == (0, {"conversation": "group:g1"})
            body, online = await asked(
                peer, RequestName.PS, client.presence(["ben", "eve"]), online={"ben": True}
            )
            assert (body, online) == ({"users": ["ben", "eve"]}, {"ben": True})

            async def listed() -> list[Any]:
                return [each async for each in client.conversations(page=1)]

            listing = asyncio.ensure_future(listed())
            row = {"conversation": "user:ben", "user": "ben", "unread": 2, **answer}
            for cursor, last, members in [
                (None, in_history(9)["messages"][0], {"limit": 1}),
                ("c", None, {"limit": 1, "cursor": "c"}),
            ]:
                number, said = await take(peer, RequestName.CL)
                assert said == members
                following = "c" if cursor is None else None
                rows = [{**row, "last": last}]
                reply(peer, RequestName.CL, number, conversations=rows, cursor=following)
            first, second = await listing
            assert (first.user, first.group, first.unread) == ("ben", None, 2)
            assert (first.last.data, second.last) == (9, None)

    run(test())


@each_client
def test_what_is_told_comes_as_messages_of_its_kind():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(user="ada")
            of = {"conversation": "group:g1"}
            told: list[dict[str, Any]] = [
                {"kind": "chat", **of, "from": "ben", "seq": 7, "type": "text", "data": "hi"},
                {
                    "kind": "chat",
                    **of,
                    "from": "ada",
                    "seq": 8,
                    "type": "text",
                    "mentions": ["ben"],
                    "reply_to": 7,
                    "client_id": "c",
                },
                {"kind": "recall", **of, "seq": 7, "by": "ben"},
                {"kind": "receipt", **of, "user": "ben", "delivered": 8, "read": 7},
                {"kind": "group", "group": "g1", "event": "added", "by": "ada", "users": ["eve"]},
                {"kind": "group", "group": "g1", "event": "dismissed"},
                {"kind": "typing", **of, "user": "ben"},
                {},
            ]
            for number, members in enumerate(told, 1):
                peer.push(number if members.get("kind") != "typing" else 0, f"m{number}", **members)
            async with asyncio.timeout(DEADLINE_SECONDS):
                chat, answer, recall, receipt, added, dismissed, typing, plain = [
                    await anext(client) for _ in told
                ]

            assert is_kind(chat, "ChatMessage")
            assert (chat.conversation, chat.sender, chat.seq, chat.type) == (
                "group:g1",
                "ben",
                7,
                "text",
            )
            assert (chat.data, chat.mentions, chat.reply_to, chat.client_id) == (
                "hi",
                [],
                None,
                None,
            )
            assert is_kind(answer, "ChatMessage")
            assert (answer.mentions, answer.reply_to, answer.client_id) == (["ben"], 7, "c")
            assert is_kind(recall, "Recall")
            assert (recall.conversation, recall.seq, recall.by) == ("group:g1", 7, "ben")
            assert is_kind(receipt, "Receipt")
            assert (receipt.user, receipt.delivered, receipt.read) == ("ben", 8, 7)
            assert is_kind(added, "GroupChange")
            assert (added.group, added.change, added.by, added.users) == (
                "g1",
                "added",
                "ada",
                ["eve"],
            )
            assert is_kind(dismissed, "GroupChange")
            assert (dismissed.change, dismissed.by, dismissed.users) == ("dismissed", None, [])
            assert is_kind(typing, "Typing")
            assert (typing.conversation, typing.user, typing.qos) == ("group:g1", "ben", 0)
            assert type(plain).__name__ == "Message"
            assert await peer.take_acks(6) == [1, 2, 3, 4, 5, 6], "as of any message"

    run(test())


# --- Groups --------------------------------------------------------------------------------------


@each_client
def test_a_group_is_made_and_looked_after():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(user="ada")
            body, group = await asked(
                peer,
                RequestName.GC,
                client.create_group("Us", ["ben"], type="broadcast", extra={"colour": "red"}),
                **GROUP,
            )
            assert body == {
                "name": "Us",
                "members": ["ben"],
                "type": "broadcast",
                "extra": {"colour": "red"},
            }
            assert (group.group, group.conversation) == ("g1", "group:g1")
            _, info = await asked(peer, RequestName.GPGI, group.info(), **GROUP)
            assert info == GroupInfo(**GROUP)
            results = {"ben": "ok", "eve": "already_exists"}
            for name, act in (("GAM", group.add), ("GKM", group.remove)):
                body, done = await asked(
                    peer, RequestName[name], act("ben", "eve"), results=results
                )
                assert (body, done) == ({"group": "g1", "users": ["ben", "eve"]}, results)
            for name, leaving in (("GQ", group.leave()), ("GD", group.dismiss())):
                body, nothing = await asked(peer, RequestName[name], leaving)
                assert (body, nothing) == ({"group": "g1"}, None)
            for changing, said in [
                (group.change(name="We", mute_all=True), {"name": "We", "mute_all": True}),
                (
                    group.change(announcement="", invite="admin"),
                    {"announcement": "", "invite": "admin"},
                ),
                (group.change(extra=[1]), {"extra": [1]}),
                (group.set_role("ben", "admin"), {"member": {"user": "ben", "role": "admin"}}),
                (group.mute("ben"), {"member": {"user": "ben", "muted": True}}),
                (group.mute("ben", muted=False), {"member": {"user": "ben", "muted": False}}),
                (group.transfer("ben"), {"owner": "ben"}),
            ]:
                body, info = await asked(peer, RequestName.GMI, changing, **GROUP)
                assert body == {"group": "g1", **said}
                assert info.owner == "ada"

            async def listed() -> list[Member]:
                return [each async for each in group.members(page=1)]

            listing = asyncio.ensure_future(listed())
            for members, cursor, behind in [
                ({"user": "ada", "role": "owner", "muted": False}, {}, "ada"),
                ({"user": "ben", "role": "member", "muted": True}, {"cursor": "ada"}, None),
            ]:
                number, body = await take(peer, RequestName.GPGM)
                assert body == {"group": "g1", "limit": 1, **cursor}
                reply(peer, RequestName.GPGM, number, members=[members], cursor=behind)
            assert await listing == [Member("ada", "owner"), Member("ben", "member", True)]

    run(test())


# --- The backend ---------------------------------------------------------------------------------


def blocking(url: str, use: Callable[[Any], Any]) -> Any:
    with PushAPI(url, "k") as api:
        return use(api)


def awaited(url: str, use: Callable[[Any], Any]) -> Any:
    async def main() -> Any:
        async with AsyncPushAPI(url, "k") as api:
            return await use(api)

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("call", [blocking, awaited])
MANY = {"messages": [], "more": False}


@pytest.fixture
def scripted() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


@BOTH
@pytest.mark.parametrize(
    ("use", "answer", "method", "path", "body"),
    [
        (
            lambda api: api.create_group("ada", "Us", ["ben"], extra=1),
            GROUP,
            "POST",
            "/v1/groups",
            {"owner": "ada", "name": "Us", "members": ["ben"], "extra": 1},
        ),
        (lambda api: api.group("g:1"), GROUP, "GET", "/v1/groups/g%3A1", None),
        (
            lambda api: api.change_group("g", name="We", mute_all=False, owner="ben", by="ada"),
            GROUP,
            "PATCH",
            "/v1/groups/g",
            {"name": "We", "mute_all": False, "owner": "ben", "by": "ada"},
        ),
        (lambda api: api.dismiss_group("g"), None, "DELETE", "/v1/groups/g", None),
        (lambda api: api.dismiss_group("g", by="a"), None, "DELETE", "/v1/groups/g?by=a", None),
        (
            lambda api: api.members("g", cursor="a", limit=3),
            {"members": [], "cursor": None},
            "GET",
            "/v1/groups/g/members?cursor=a&limit=3",
            None,
        ),
        (
            lambda api: api.add_members("g", ["ben"], by="ada"),
            {"results": {"ben": "ok"}},
            "POST",
            "/v1/groups/g/members",
            {"users": ["ben"], "by": "ada"},
        ),
        (
            lambda api: api.change_member("g", "ben", role="admin", muted=True, by="ada"),
            None,
            "PUT",
            "/v1/groups/g/members/ben?by=ada",
            {"role": "admin", "muted": True},
        ),
        (
            lambda api: api.remove_member("g", "b:n", by="b:n"),
            None,
            "DELETE",
            "/v1/groups/g/members/b%3An?by=b%3An",
            None,
        ),
        (
            lambda api: api.send_to_group("g", "ada", 1, type="t", client_id="c", reply_to=2),
            SENT,
            "POST",
            "/v1/groups/g/messages",
            {"from": "ada", "data": 1, "client_id": "c", "type": "t", "reply_to": 2},
        ),
        (
            lambda api: api.send_to_user("ben", "ada", None, mentions=["x"], client_id="c"),
            SENT,
            "POST",
            "/v1/users/ben/messages",
            {"from": "ada", "data": None, "client_id": "c", "mentions": ["x"]},
        ),
        (
            lambda api: api.group_history("g", after=0),
            MANY,
            "GET",
            "/v1/groups/g/messages?after=0",
            None,
        ),
        (
            lambda api: api.conversations("ada", limit=2),
            {"conversations": [], "cursor": None},
            "GET",
            "/v1/users/ada/conversations?limit=2",
            None,
        ),
        (
            lambda api: api.history("ada", "user:ben", before=9, limit=1),
            MANY,
            "GET",
            "/v1/users/ada/conversations/user%3Aben/messages?before=9&limit=1",
            None,
        ),
        (
            lambda api: api.set_positions("ada", "group:g", read=4),
            {"seq": 5, "delivered": 4, "read": 4},
            "POST",
            "/v1/users/ada/conversations/group%3Ag/positions",
            {"read": 4},
        ),
        (
            lambda api: api.recall("ada", "user:ben", 3),
            None,
            "DELETE",
            "/v1/users/ada/conversations/user%3Aben/messages/3",
            None,
        ),
        (
            lambda api: api.recall("ada", "group:g", 3, force=True),
            None,
            "DELETE",
            "/v1/users/ada/conversations/group%3Ag/messages/3?force=true",
            None,
        ),
    ],
)
def test_the_calls_about_chat(
    scripted: HTTPServer, call: Any, use: Any, answer: Any, method: str, path: str, body: Any
) -> None:
    scripted.answer(Answer(204) if answer is None else Answer(200, answer))
    outcome = call(scripted.url, use)
    (request,) = scripted.requests
    assert (request.method, request.path, request.body) == (method, path, body)
    assert (not outcome) == (answer is None)


@BOTH
def test_a_message_is_sent_again_as_the_same_one_and_a_group_is_not(
    scripted: HTTPServer, call: Any
) -> None:
    away = problem(503, "unavailable")
    scripted.answer(away, Answer(201, SENT))
    assert call(scripted.url, lambda api: api.send_to_user("ben", "ada", "hi")).seq == 7
    first, again = scripted.requests
    assert first.body == again.body
    assert len(first.body["client_id"]) == 20
    scripted.answer(away)
    with pytest.raises(PushAPIError, match="unavailable"):
        call(scripted.url, lambda api: api.create_group("ada", "Us"))


def test_lists_are_gone_through_page_by_page(scripted: HTTPServer) -> None:
    row = {"conversation": "user:b", "user": "b", "seq": 1, "delivered": 0, "read": 0, "unread": 1}
    pages = [
        Answer(200, {"members": [{"user": "a", "role": "owner"}], "cursor": "a"}),
        Answer(200, {"members": [{"user": "b", "role": "member"}], "cursor": None}),
        Answer(200, {"conversations": [row], "cursor": "x"}),
        Answer(200, {"conversations": [], "cursor": None}),
    ]
    scripted.answer(*pages, *pages)
    with PushAPI(scripted.url, "k") as api:
        assert [each.user for each in api.each_member("g")] == ["a", "b"]
        assert [each.unread for each in api.each_conversation("a")] == [1]

    async def main() -> tuple[list[str], list[int]]:
        async with AsyncPushAPI(scripted.url, "k") as api:
            return (
                [each.user async for each in api.each_member("g")],
                [each.unread async for each in api.each_conversation("a")],
            )

    assert asyncio.run(main()) == (["a", "b"], [1])
    assert scripted.requests[1].path == "/v1/groups/g/members?cursor=a&limit=200"

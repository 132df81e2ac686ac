"""push-group: the same rules on the other door."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import pytest_twisted

from push.wire.api.groups import NewGroup
from push.wire.api.paging import make_cursor
from tests.chat.conftest import Door, on_one_server
from tests.chat.test_messages import say
from tests.connector.conftest import Node
from tests.http.segments import nasty_paths


async def new_group(door: Door, *members: str) -> str:
    body = {"owner": "anna", "name": "g", "members": list(members)}
    return str((await door("POST", "/v1/groups", body)).json()["group"])


@pytest_twisted.ensureDeferred
async def test_a_group_from_its_begin_to_its_end(door: Door) -> None:
    answer = await door("POST", "/v1/groups", {"owner": "anna", "name": "g", "members": ["bob"]})
    assert answer.status == 201
    group = answer.json()["group"]
    path = f"/v1/groups/{group}"
    assert (await door("GET", path)).json() == answer.json()

    added = await door("POST", f"{path}/members", {"users": ["carol", "bob"], "by": "anna"})
    assert added.json() == {"results": {"carol": "ok", "bob": "already_exists"}}
    assert (await door("PUT", f"{path}/members/bob?by=anna", {"role": "admin"})).status == 204
    changed = await door("PATCH", path, {"name": "new", "by": "bob", "mute_all": True})
    assert (changed.json()["name"], changed.json()["mute_all"]) == ("new", True)
    page = (await door("GET", f"{path}/members?limit=2")).json()
    assert page == {
        "members": [
            {"user": "anna", "role": "owner", "muted": False},
            {"user": "bob", "role": "admin", "muted": False},
        ],
        "cursor": make_cursor("members", "bob"),
    }
    rest = (
        await door("GET", f"{path}/members?limit=2&cursor={make_cursor('members', 'bob')}")
    ).json()
    assert ([member["user"] for member in rest["members"]], rest["cursor"]) == (["carol"], None)
    assert (await door("DELETE", f"{path}/members/carol?by=carol")).status == 204
    again = await door("DELETE", f"{path}/members/carol")
    again.assert_problem("not_found")
    assert (await door("DELETE", f"{path}?by=anna")).status == 204
    (await door("GET", path)).assert_problem("unknown_group")


@pytest_twisted.ensureDeferred
async def test_messages_on_behalf_of_users(door: Door) -> None:
    group = await new_group(door, "bob")
    body = {"from": "anna", "data": {"x": 1}, "client_id": "c"}
    sent = await door("POST", "/v1/users/bob/messages", body)
    assert sent.status == 201
    assert (sent.json()["conversation"], sent.json()["seq"]) == ("user:bob", 1)
    again = await door("POST", "/v1/users/bob/messages", body)
    assert again.json() == sent.json(), "one client_id is one message"
    elsewhere = await door("POST", f"/v1/groups/{group}/messages", body)
    elsewhere.assert_problem("idempotency_mismatch", "client_id")
    await door("POST", f"/v1/groups/{group}/messages", {"from": "bob", "data": "hello"})

    listed = (await door("GET", "/v1/users/bob/conversations")).json()["conversations"]
    assert [(row["conversation"], row["unread"]) for row in listed] == [
        (f"group:{group}", 0),
        ("user:anna", 1),
    ]
    mine = "/v1/users/bob/conversations/user:anna"
    page = (await door("GET", f"{mine}/messages?after=0&limit=1")).json()
    assert ([message["data"] for message in page["messages"]], page["more"]) == ([{"x": 1}], False)
    moved = await door("POST", f"{mine}/positions", {"read": 1})
    assert moved.json() == {"seq": 1, "delivered": 1, "read": 1}
    (await door("DELETE", f"{mine}/messages/1")).assert_problem("not_allowed")
    assert (await door("DELETE", f"{mine}/messages/1?force=true")).status == 204
    assert (await door("GET", f"{mine}/messages")).json()["messages"][0]["recalled"] is True
    of_group = (await door("GET", f"/v1/groups/{group}/messages")).json()
    assert [message["data"] for message in of_group["messages"]] == ["hello"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "field"),
    [
        ("POST", "/v1/groups", {"name": "g"}, "invalid", "owner"),
        ("POST", "/v1/groups", {"name": "g", "owner": "a b"}, "invalid", "owner"),
        ("POST", "/v1/groups", {"name": "g", "owner": "a", "nmae": 1}, "invalid", "nmae"),
        ("POST", "/v1/groups", {"name": "a\n", "owner": "a"}, "invalid", "name"),
        ("PATCH", "/v1/groups/g", {"name": "\x85a"}, "invalid", "name"),
        ("PATCH", "/v1/groups/g", {"name": "ü" * 65}, "invalid", "name"),
        ("PATCH", "/v1/groups/g", {"name": "x"}, "unknown_group", None),
        ("PATCH", "/v1/groups/g", {"member": {"user": "a", "x": 1}}, "invalid", "member.x"),
        ("PATCH", "/v1/groups/g", {"by": ""}, "invalid", "by"),
        ("DELETE", "/v1/groups/g?by=a%20b", None, "invalid", "by"),
        ("GET", "/v1/groups/g?by=anna", None, "invalid", "by"),
        ("GET", "/v1/groups/a%20b", None, "invalid", "group"),
        ("GET", "/v1/groups/g/messages?after=x", None, "invalid", "after"),
        ("GET", "/v1/groups/g/messages?after=1&before=2", None, "invalid", "before"),
        ("GET", "/v1/groups/g/messages", None, "unknown_group", None),
        ("POST", "/v1/groups/g/messages", {"data": 1}, "invalid", "from"),
        ("POST", "/v1/groups/g/messages", {"data": 1, "from": "a"}, "unknown_group", None),
        ("POST", "/v1/users/anna/messages", {"data": 1, "from": "anna"}, "invalid", "user"),
        ("POST", "/v1/users/anna/messages", {"from": "bob"}, "invalid", "data"),
        ("GET", "/v1/users/anna/conversations?cursor=x", None, "invalid", "cursor"),
        ("GET", "/v1/users/anna/conversations/bob/messages", None, "invalid", "conversation"),
        ("DELETE", "/v1/users/anna/conversations/user:b/messages/x", None, "invalid", "seq"),
        (
            "DELETE",
            "/v1/users/anna/conversations/user:b/messages/1",
            None,
            "unknown_message",
            "seq",
        ),
    ],
)
@on_one_server
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused_and_named(
    door: Door, method: str, path: str, body: Any, code: str, field: str | None
) -> None:
    (await door(method, path, body)).assert_problem(code, field)


@pytest_twisted.ensureDeferred
async def test_every_route_answers_its_example_as_documented(node: Node, door: Door) -> None:
    document = (await door("GET", "/openapi.json")).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if not path.startswith(("/v1/groups", "/v1/users")):
                continue
            said = NewGroup("g", members=["bob"])
            group = (await node.chat.groups.create("anna", said)).group
            seq = (await say(node, "anna", f"group:{group}", "x")).seq
            url = path.format(group=group, user="anna", conversation=f"group:{group}", seq=seq)
            if "members/{user}" in path or path.endswith("{user}/messages"):
                url = url.replace("anna", "bob")
            body = None
            if "requestBody" in operation:
                body = operation["requestBody"]["content"]["application/json"]["example"]
            answer = await door(method.upper(), url, body)
            assert str(answer.status) in operation["responses"], (method, path)
            assert answer.status < 300, (method, path, answer.content)


@pytest_twisted.ensureDeferred
async def test_the_document_is_sound(door: Door) -> None:
    document = (await door("GET", "/openapi.json")).json()
    text = json.dumps(document)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in document["components"]["schemas"]
    assert '"from"' in json.dumps(document["components"]["schemas"]["MessageBody"])


@on_one_server
@pytest_twisted.ensureDeferred
async def test_every_chat_route_refuses_every_nasty_segment(door: Door, node: Node) -> None:
    group = await new_group(door, "bob")
    good = {"group": group, "user": "anna", "conversation": "user:bob", "seq": "1"}
    document = (await door("GET", "/openapi.json")).json()
    tried = 0
    for template, methods in document["paths"].items():
        if not template.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("example")
            for path, code in nasty_paths(template, good):
                response = await door(method.upper(), path, body)
                if code:
                    assert response.json()["code"] == code, (method, path, response)
                else:
                    assert response.status in (404, 405), (method, path)
                tried += 1
    assert tried > 300
    assert (await door("GET", f"/v1/groups/{group}")).json()["members"] == 2
    for wrong in ("user:..", "group:.", "user:a%2Fb", "anna", "user:", "GROUP:g", "user:a:%20"):
        response = await door("GET", f"/v1/users/anna/conversations/{wrong}/messages")
        assert response.json()["code"] == "invalid", wrong


@pytest.mark.parametrize("name", [".", ".."])
@pytest_twisted.ensureDeferred
async def test_dots_are_no_ids_in_bodies_and_queries_of_chat(door: Door, name: str) -> None:
    group = await new_group(door, "bob")
    message = {"from": "anna", "data": 1}
    for method, path, body, field in (
        ("POST", "/v1/groups", {"owner": name, "name": "g"}, "owner"),
        ("POST", "/v1/groups", {"owner": "anna", "name": "g", "members": [name]}, "members"),
        ("PATCH", f"/v1/groups/{group}", {"owner": name}, "owner"),
        ("PATCH", f"/v1/groups/{group}", {"name": "x", "by": name}, "by"),
        ("POST", f"/v1/groups/{group}/members", {"users": [name]}, "users"),
        ("DELETE", f"/v1/groups/{group}/members/bob?by={name}", None, "by"),
        ("POST", "/v1/users/bob/messages", {**message, "from": name}, "from"),
        ("POST", "/v1/users/bob/messages", {**message, "client_id": name}, "client_id"),
        ("POST", "/v1/users/bob/messages", {**message, "mentions": [name]}, "mentions"),
        ("POST", "/v1/users/bob/messages", {**message, "type": name}, "type"),
    ):
        (await door(method, path, body)).assert_problem("invalid", field)

"""What users may do to users who do not know them: the table of docs/chat.md, row by row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from push.chat.conversation_id import to_user
from push.wire.api.groups import NewGroup
from push.wire.errors import RequestError
from tests.chat.conftest import User, on_three_servers
from tests.chat.test_messages import said, say
from tests.connector.conftest import Client, Node

DOCUMENT = Path(__file__).parents[2] / "docs" / "chat.md"
HEAD = "| settings | what | a device | a backend |"


class Scene:
    """Anna, who acts by a device or by the backend on her behalf, and what she knows of Bob."""

    def __init__(self, node: Node, anna: Client) -> None:
        self.node = node
        self.anna = anna
        self.group = ""

    async def set_up(self, what: str) -> None:
        """They share what the row says; and Anna has a group."""
        self.group = (await self.node.chat.groups.create("anna", NewGroup("g"))).group
        if "common conversation" in what:
            await say(self.node, "bob", "user:anna", "hello")
        if "common group" in what:
            await self.node.chat.groups.create("carol", NewGroup("c", members=["anna", "bob"]))

    async def by_device(self, name: str, /, **body: Any) -> str:
        answer = await self.anna.ask(name, **body)
        if not answer["ok"]:
            return str(answer["code"])
        (code,) = answer.get("results", {"": "ok"}).values()
        return "yes" if code == "ok" else str(code)


async def by_backend(call: Awaitable[Any]) -> str:
    try:
        answer = await call
    except RequestError as refusal:
        return refusal.code
    results = getattr(answer, "results", {"": "ok"})
    return "yes" if set(results.values()) == {"ok"} else str(results)


Act = Callable[[Scene], Awaitable[str]]


def create(*members: str) -> tuple[Act, Act]:
    return (
        lambda scene: scene.by_device("GC", name="new", members=list(members)),
        lambda scene: by_backend(
            scene.node.chat.groups.create("anna", NewGroup("new", members=list(members)))
        ),
    )


ADD: tuple[Act, Act] = (
    lambda scene: scene.by_device("GAM", group=scene.group, users=["bob"]),
    lambda scene: by_backend(scene.node.chat.groups.add(scene.group, ["bob"], "anna")),
)
BEGIN: tuple[Act, Act] = (
    lambda scene: scene.by_device("MS", to={"user": "bob"}, data=1),
    lambda scene: by_backend(
        scene.node.chat.messages.send("anna", to_user("anna", "bob"), said("x"), by_device=False)
    ),
)
ACTS: dict[str, tuple[Act, Act | None]] = {
    "create a group": create(),
    "begin a conversation with a stranger": BEGIN,
    "type to a stranger": (lambda scene: scene.by_device("TP", conversation="user:bob"), None),
    "create a group with a stranger": create("bob"),
    "add a stranger to a group": ADD,
    "create a group with a user of a common conversation": create("bob"),
    "add a user of a common conversation": ADD,
    "add a user of a common group": ADD,
}


def rows() -> list[tuple[str, str, str, str]]:
    table = DOCUMENT.read_text("utf-8").partition(HEAD)[2].partition("\n\n")[0]
    _, _line, *lines = table.splitlines()
    found = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return [(settings, what, device, backend) for settings, what, device, backend in found]


def test_the_table_is_whole() -> None:
    found = rows()
    assert {what for _, what, _, _ in found} == set(ACTS)
    assert {settings for settings, *_ in found} == {
        'create_groups = "anyone"',
        'create_groups = "backend"',
        'direct = "anyone"',
        'direct = "existing"',
    }


@pytest.mark.parametrize(("settings", "what", "of_device", "of_backend"), rows())
@on_three_servers
@pytest_twisted.ensureDeferred
async def test_strangers_are_protected_as_the_document_says(
    make_node: Any,
    redis_urls: list[str],
    person: User,
    settings: str,
    what: str,
    of_device: str,
    of_backend: str,
) -> None:
    ((name, value),) = re.findall(r'(\w+) = "(\w+)"', settings)
    node: Node = await make_node(redis_urls, chat={name: value})
    node.listen()
    scene = Scene(node, await person("anna", on=node))
    await scene.set_up(what)
    by_device, by_backend = ACTS[what]

    assert await by_device(scene) == of_device
    if by_backend is not None:
        # What the device was refused, another group is for: the backend may do it.
        await scene.set_up("")
        assert await by_backend(scene) == of_backend


@pytest_twisted.ensureDeferred
async def test_of_users_that_are_added_each_is_judged_alone(
    make_node: Any, redis_urls: list[str], person: User
) -> None:
    node: Node = await make_node(redis_urls, chat={"direct": "existing"})
    node.listen()
    anna = await person("anna", on=node)
    await say(node, "bob", "user:anna", "hello")
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group

    answer = await anna.ask("GAM", group=group, users=["bob", "carol", "anna"])

    assert answer["results"] == {"bob": "ok", "carol": "not_allowed", "anna": "already_exists"}
    refused = await anna.ask("GC", name="n", members=["anna", "bob", "carol"])
    assert (refused["code"], refused["field"]) == ("not_allowed", "members")

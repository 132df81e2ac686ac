"""Who may know who is there: the table of docs/chat.md, row by row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from push.chat import contacts
from push.chat.conversation_id import to_group
from push.wire.api.groups import GroupChanges, NewGroup
from tests.chat.conftest import User, on_three_servers
from tests.chat.test_messages import said, say
from tests.connector.conftest import Node

DOCUMENT = Path(__file__).parents[2] / "docs" / "chat.md"
HEAD = "| the user who is asked for |"


async def in_group(node: Node, owner: str, member: str, *writers: str) -> str:
    group = (await node.chat.groups.create(owner, NewGroup("g", members=[member]))).group
    for user in writers:
        await node.chat.messages.send(user, to_group(group), said("x"), by_device=False)
    return group


async def nothing(node: Node) -> None:
    pass


async def has_written(node: Node) -> None:
    await say(node, "bob", "user:anna", "hello")


async def got_messages(node: Node) -> None:
    await say(node, "anna", "user:bob", "hello")


async def has_created_a_group(node: Node) -> None:
    await in_group(node, "bob", "anna")


async def has_written_in_a_group(node: Node) -> None:
    await in_group(node, "anna", "bob", "bob")


async def was_made_the_owner(node: Node) -> None:
    group = await in_group(node, "anna", "bob", "anna")
    await node.chat.groups.change(group, GroupChanges(owner="bob"), None)


async def is_in_a_group(node: Node) -> None:
    await in_group(node, "anna", "bob", "anna")


async def has_left(node: Node) -> None:
    """Either of the two, and one is added again, but has not written since."""
    await node.chat.groups.leave(await in_group(node, "carol", "anna", "anna"), "anna")
    group = await in_group(node, "anna", "bob", "bob")
    await node.chat.groups.leave(group, "bob")
    await node.chat.groups.add(group, ["bob"], "anna")
    group = await in_group(node, "bob", "anna", "bob")
    await node.chat.groups.leave(group, "anna")


SCENES: dict[str, Callable[[Node], Awaitable[None]]] = {
    "is the user who asks": nothing,
    "has written to the user who asks": has_written,
    "got messages of the user who asks, and has not written": got_messages,
    "has created a common group": has_created_a_group,
    "has written in a common group": has_written_in_a_group,
    "was made the owner of a common group, and has not written": was_made_the_owner,
    "is in a common group, and has not written": is_in_a_group,
    "has written in a group that one of the two has left": has_left,
    "has nothing in common": nothing,
}


def rows() -> list[tuple[str, str, str]]:
    """(scene, setting, told or left out), as the document has them."""
    table = DOCUMENT.read_text("utf-8").partition(HEAD)[2].partition("\n\n")[0]
    head, _line, *lines = table.splitlines()
    settings = re.findall(r"`(\w+)`", head)
    found = []
    for line in lines:
        scene, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found += [(scene, *cell) for cell in zip(settings, cells, strict=True)]
    return found


def test_the_table_is_whole() -> None:
    found = rows()
    assert {(scene, setting) for scene, setting, _ in found} == {
        (scene, setting) for scene in SCENES for setting in ("contacts", "anyone", "off")
    }


@pytest.mark.parametrize(("scene", "setting", "told"), rows())
@on_three_servers
@pytest_twisted.ensureDeferred
async def test_presence_is_told_as_the_document_says(
    make_node: Any, redis_urls: list[str], person: User, scene: str, setting: str, told: str
) -> None:
    node: Node = await make_node(redis_urls, chat={"presence": setting})
    node.listen()
    anna = await person("anna", on=node)
    await person("bob", on=node)
    await SCENES[scene](node)
    asked = "anna" if scene == "is the user who asks" else "bob"

    answer = await anna.ask("PS", users=[asked])

    assert answer == {"ok": True, "online": {asked: True} if told == "told" else {}}


@pytest_twisted.ensureDeferred
async def test_many_users_are_asked_for_at_once_whatever_the_number_of_groups(
    make_node: Any,
    redis_urls: list[str],
    person: User,
    visitor: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their groups are looked at a part at a time; a user who is there by JWT alone is online."""
    monkeypatch.setattr(contacts, "GROUPS_AT_A_TIME", 2)
    node: Node = await make_node(redis_urls)
    node.listen()
    anna = await person("anna", on=node)
    await visitor("carol", on=node)
    await say(node, "dave", "user:anna", "hello")
    for number in range(7):
        await in_group(node, f"owner{number}", "anna")
    group = await in_group(node, "anna", "carol", "carol")
    users = [*(f"owner{number}" for number in range(7)), "carol", "dave", "eve", "anna"]

    answer = await anna.ask("PS", users=users)

    known = {user: user in ("anna", "carol") for user in users if user != "eve"}
    assert answer == {"ok": True, "online": known}
    await node.chat.groups.dismiss(group, None)
    assert "carol" not in (await anna.ask("PS", users=["carol"]))["online"]

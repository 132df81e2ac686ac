"""Who may know who is there."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.wire.api.groups import NewGroup
from tests.chat.conftest import User
from tests.chat.test_messages import say
from tests.connector.conftest import Node


@pytest.mark.parametrize(
    ("setting", "known"),
    [
        ("contacts", {"anna": True, "bob": True, "carol": True, "dave": False}),
        ("anyone", {"anna": True, "bob": True, "carol": True, "dave": False, "eve": True}),
        ("off", {"anna": True}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_presence_is_told_of_those_whom_the_setting_allows(
    make_node: Any,
    redis_urls: list[str],
    person: User,
    visitor: User,
    setting: str,
    known: dict[str, bool],
) -> None:
    node: Node = await make_node(redis_urls, chat={"presence": setting})
    node.listen()
    anna = await person("anna", on=node)
    for user in ("bob", "eve"):
        await person(user, on=node)
    await visitor("carol", on=node)  # by JWT alone: in no record
    await node.chat.groups.create("bob", NewGroup("g", members=["anna", "dave"]))
    await say(node, "carol", "user:anna", "hello")

    answer = await anna.ask("PS", users=["anna", "bob", "carol", "dave", "eve"])

    assert answer == {"ok": True, "online": known}

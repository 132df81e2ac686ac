"""A group with more sessions on a connector than it writes to in one turn."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.chat.conversation_id import to_group
from push.connector.delivery import fanout
from tests.chat.conftest import User, of_kind
from tests.chat.test_groups import group_of
from tests.connector.conftest import Client, Node
from tests.waiting import WaitUntil


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
async def test_who_types_at_the_same_time_is_told_of_the_others(
    node: Node, person: User, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session may be of a user who types, and gets what the others do as all get it."""
    monkeypatch.setattr(fanout, "SLICE", 1)
    monkeypatch.setattr(fanout, "FEW", 0)
    names = ["anna", "bob", "carol", "dave"]
    people = {name: await person(name) for name in names}
    group = await group_of(people["anna"], *names[1:])
    for client in people.values():
        await wait_until(lambda client=client: "follow" in client.kinds)
    conversation = to_group(group)

    await gatherResults(
        [
            Deferred.fromCoroutine(node.chat.messages.typing(conversation, name))
            for name in names
            for _ in range(10)
        ]
    )
    await node.push("group", group, data="end")

    for name, client in people.items():
        others = {each for each in names if each != name}

        def told(client: Client = client) -> set[str]:
            return {push["user"] for push in of_kind(client, "typing")}

        await wait_until(lambda told=told, others=others: told() == others)
        await wait_until(lambda client=client: "end" in client.numbers)
        assert told() == others

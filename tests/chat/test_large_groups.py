"""Many who come or go at once: each script is about a part of them, and nothing stays half done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from push.chat.actions import ChatScripts
from push.chat.groups import CHANGED_AT_A_TIME
from push.wire.api.groups import NewGroup
from tests.chat.conftest import CHAT_KEYS, Door, User, keys_of, of_kind
from tests.connector.conftest import Node
from tests.waiting import WaitUntil

MANY = [f"m{number}" for number in range(130)]
LAST = MANY[-1]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch, node: Node) -> Iterator[list[int]]:
    """For how many users each call of a script was that names users."""
    found: list[int] = []
    encoded = ChatScripts.encoded

    def noted(scripts: ChatScripts, request: dict[str, Any]) -> bytes:
        if "users" in request:
            found.append(len(request["users"]))
        return encoded(scripts, request)

    monkeypatch.setattr(ChatScripts, "encoded", noted)
    yield found
    assert found
    assert max(found) <= CHANGED_AT_A_TIME


async def waiting(node: Node) -> int:
    counts = [await server.command("ZCARD", server.key("chat-errands")) for server in node.shards]
    return sum(counts)


async def create(node: Node) -> str:
    created = await node.chat.groups.create("anna", NewGroup("g", members=MANY))
    assert created.members == len(MANY) + 1
    return str(created.group)


@pytest_twisted.ensureDeferred
async def test_a_large_group_is_there_for_all_when_it_is_answered(
    node: Node, person: User, wait_until: WaitUntil, sizes: list[int]
) -> None:
    first, last = await person(MANY[0]), await person(LAST)
    group = await create(node)
    assert await waiting(node) == 0
    for client in (first, last):
        await wait_until(lambda client=client: "follow" in client.kinds)
        (told,) = of_kind(client, "group")
        assert (told["event"], told["group"], told["by"]) == ("created", group, "anna")
    await node.push("group", group, data="hello")
    for client in (first, last):
        await wait_until(lambda client=client: client.bodies[-1]["data"] == "hello")


async def abandoned(node: Node, wait_until: WaitUntil) -> None:
    """Create a large group and go when it is written down, as a daemon that is killed."""
    creating = Deferred.fromCoroutine(create(node))
    await wait_until(lambda: waiting(node))
    creating.cancel()
    with pytest.raises(CancelledError):
        await creating


@pytest_twisted.ensureDeferred
async def test_what_a_killed_daemon_has_begun_is_completed(
    node: Node, person: User, wait_until: WaitUntil, sizes: list[int]
) -> None:
    last = await person(LAST)
    await abandoned(node, wait_until)
    await wait_until(lambda: of_kind(last, "group"))
    group = of_kind(last, "group")[0]["group"]
    assert (await last.ask("GPGI", group=group))["members"] == len(MANY) + 1
    await wait_until(lambda: "follow" in last.kinds)

    async def all_done() -> bool:
        return await waiting(node) == 0

    await wait_until(all_done)
    assert len(await node.chat.groups.streams_of(MANY[0])) == 1


@pytest_twisted.ensureDeferred
async def test_a_group_that_ends_meanwhile_lets_nobody_in(
    node: Node, person: User, wait_until: WaitUntil
) -> None:
    for runner in node.errand_runners:
        runner.stop()
    await abandoned(node, wait_until)
    (group,) = await groups_of(node)
    errands = [
        (server, await server.command("ZRANGE", server.key("chat-errands"), 0, -1))
        for server in node.shards
    ]
    await node.chat.groups.dismiss(group, None)
    for server, texts in errands:
        await node.chat._outbox.run(server, texts)
    for user in (MANY[0], LAST):
        assert await node.chat.groups.streams_of(user) == {}


async def groups_of(node: Node) -> list[str]:
    found: list[str] = []
    for server in node.shards:
        keys = await server.command("KEYS", server.key("member-names:*"))
        found += [key.decode().rpartition(":")[2] for key in keys]
    return found


@pytest_twisted.ensureDeferred
async def test_many_who_are_added_and_removed_get_a_result_each(
    node: Node, person: User, wait_until: WaitUntil, sizes: list[int]
) -> None:
    last = await person(LAST)
    group = (await node.chat.groups.create("anna", NewGroup("g", members=["bob"]))).group
    added = await node.chat.groups.add(group, ["bob", *MANY], "anna")
    assert added.results == {"bob": "already_exists", **dict.fromkeys(MANY, "ok")}
    await wait_until(lambda: "follow" in last.kinds)
    removed = await node.chat.groups.remove(group, [*MANY, "nobody"], "anna")
    assert removed.results == {**dict.fromkeys(MANY, "ok"), "nobody": "not_found"}
    await wait_until(lambda: "unfollow" in last.kinds)
    assert await node.chat.groups.streams_of(LAST) == {}
    names = await keys_of(node, f"group:{group}", "ZCARD", f"member-names:{group}")
    assert names == 2


@pytest_twisted.ensureDeferred
async def test_what_is_refused_after_the_first_part_is_a_result(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group
    adding = Deferred.fromCoroutine(node.chat.groups.add(group, MANY, "anna"))
    await node.chat.groups.dismiss(group, "anna")
    results = (await adding).results
    assert list(results) == MANY
    assert set(results.values()) <= {"ok", "unknown_group"}
    assert results[LAST] == "unknown_group"


@pytest_twisted.ensureDeferred
async def test_the_changes_of_one_user_do_not_wait_for_all_of_another(node: Node) -> None:
    groups = {
        by: (await node.chat.groups.create(by, NewGroup("g"))).group for by in ("greedy", "anna")
    }
    answered: list[str] = []

    async def remove(by: str) -> None:
        await node.chat.groups.remove(groups[by], MANY, by)
        answered.append(by)

    asked = ["greedy"] * 6 + ["anna"]
    await gatherResults([Deferred.fromCoroutine(remove(by)) for by in asked])
    assert answered == ["anna"] + ["greedy"] * 6


@pytest.mark.parametrize("change", ["add", "dismiss"])
@pytest_twisted.ensureDeferred
async def test_the_changes_of_one_key_do_not_wait_for_all_of_another(
    node: Node, door: Door, change: str
) -> None:
    greedy, other = CHAT_KEYS
    answered: list[str] = []

    async def ask(key: str, group: str) -> None:
        path = f"/v1/groups/{group}"
        if change == "add":
            answer = await door("POST", f"{path}/members", {"users": MANY}, key)
        else:
            answer = await door("DELETE", path, key=key)
        assert answer.status in (200, 204)
        answered.append(key)

    asked = [greedy] * 6 + [other]
    members = MANY if change == "dismiss" else []
    made = [await node.chat.groups.create("anna", NewGroup("g", members=members)) for _ in asked]
    groups = [each.group for each in made]
    await gatherResults(
        [Deferred.fromCoroutine(ask(*each)) for each in zip(asked, groups, strict=True)]
    )
    assert answered == [other] + [greedy] * 6

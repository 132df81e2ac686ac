"""How often a minute the devices of a user may act, across connectors and servers."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.chat.actions import ChatScripts
from push.redis import keyspace
from push.wire.api.groups import NewGroup
from tests.chat.conftest import User, keys_of
from tests.connector.conftest import Client, Node

# What a device asks, the setting that limits it, and what a refused answer says of it.
ACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "MS": ("messages_per_minute", {"to": {"user": "bob"}, "data": 1}),
    "TP": ("typing_per_minute", {"conversation": "user:bob"}),
    "PS": ("presence_per_minute", {"users": ["bob"]}),
    "GC": ("groups_per_minute", {"name": "g", "members": ["bob"]}),
    "GAM": ("groups_per_minute", {"users": ["bob"]}),
}


async def ask(client: Client, name: str, group: str, /, **more: Any) -> dict[str, Any]:
    body = {**ACTS[name][1], **more}
    if name == "GAM":
        body["group"] = group
    answer: dict[str, Any] = await client.ask(name, **body)
    return answer


# Some settings make a question of their own of an act, which is then what counts.
CASES = [
    *((name, {}) for name in ACTS),
    *((name, {"direct": "existing"}) for name in ("GC", "GAM")),
    *(("PS", {"presence": presence}) for presence in ("anyone", "off")),
]


@pytest.mark.parametrize(("name", "more"), CASES)
@pytest_twisted.ensureDeferred
async def test_the_devices_of_a_user_act_so_often_a_minute_on_all_connectors(
    make_node: Any, redis_urls: list[str], person: User, name: str, more: dict[str, str]
) -> None:
    limit = ACTS[name][0]
    settings = {limit: 3, **more}
    one: Node = await make_node(redis_urls, chat=settings)
    other: Node = await make_node(redis_urls, chat=settings)
    for node in (one, other):
        node.listen()
    group = (await one.chat.groups.create("anna", NewGroup("g", members=["bob"]))).group
    first, second = await person("anna", on=one), await person("anna", on=other)

    answers = [await ask(first, name, group), await ask(second, name, group)]
    answers += [await ask(first, name, group), await ask(second, name, group)]

    assert [answer.get("code") == "rate_limited" for answer in answers] == [False] * 3 + [True]
    assert 1 <= answers[-1]["after"] <= 20
    assert "3" in answers[-1]["detail"]
    assert (one.domain.refusals[limit], other.domain.refusals[limit]) == (0, 1)
    # Another user, and another act, are not concerned.
    bob = await person("bob", on=one)
    assert (await ask(bob, name, group)).get("code") != "rate_limited"


@pytest_twisted.ensureDeferred
async def test_new_groups_and_additions_count_together(
    make_node: Any, redis_urls: list[str], person: User
) -> None:
    node: Node = await make_node(redis_urls, chat={"groups_per_minute": 2})
    node.listen()
    anna = await person("anna", on=node)
    group = (await ask(anna, "GC", ""))["group"]
    assert (await ask(anna, "GAM", group))["results"] == {"bob": "already_exists"}

    assert (await ask(anna, "GC", ""))["code"] == "rate_limited"
    assert (await ask(anna, "GAM", group))["code"] == "rate_limited"


@pytest_twisted.ensureDeferred
async def test_a_refused_act_counts_and_with_a_client_id_the_same(
    make_node: Any, redis_urls: list[str], person: User
) -> None:
    node: Node = await make_node(redis_urls, chat={"messages_per_minute": 2})
    node.listen()
    anna = await person("anna", on=node)

    nowhere = await anna.ask("MS", to={"group": "0000000000000"}, data=1)
    sent = await ask(anna, "MS", "", client_id="c")
    again = await ask(anna, "MS", "", client_id="c")

    assert nowhere["code"] == "unknown_group"
    assert sent["ok"]
    assert again["code"] == "rate_limited"


@pytest_twisted.ensureDeferred
async def test_a_backend_is_not_limited_and_the_count_ends_by_itself(
    make_node: Any, redis_urls: list[str], person: User
) -> None:
    node: Node = await make_node(redis_urls, chat={"groups_per_minute": 1})
    node.listen()
    anna = await person("anna", on=node)
    await ask(anna, "GC", "")

    for _ in range(3):
        group = (await node.chat.groups.create("anna", NewGroup("g"))).group
        assert (await node.chat.groups.add(group, ["bob"], "anna")).results == {"bob": "ok"}

    key = f"{keyspace.RATE}anna,groups_per_minute"
    assert 0 < await keys_of(node, "user:anna", "PTTL", key) <= 60_000


@pytest.mark.parametrize("name", ACTS)
@pytest_twisted.ensureDeferred
async def test_a_user_that_goes_on_asking_is_refused_without_redis(
    make_node: Any, redis_urls: list[str], person: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = ACTS[name][0]
    node: Node = await make_node(redis_urls, chat={limit: 1})
    node.listen()
    group = (await node.chat.groups.create("anna", NewGroup("g", members=["bob"]))).group
    anna = await person("anna", on=node)
    await ask(anna, name, group)
    first = await ask(anna, name, group)
    asked: list[dict[str, Any]] = []
    encoded = ChatScripts.encoded

    def noted(scripts: ChatScripts, request: dict[str, Any]) -> bytes:
        asked.append(request)
        return encoded(scripts, request)

    monkeypatch.setattr(ChatScripts, "encoded", noted)
    again = [await ask(anna, name, group) for _ in range(3)]

    assert not asked
    assert [answer["code"] for answer in (first, *again)] == ["rate_limited"] * 4
    assert {answer["detail"] for answer in again} == {first["detail"]}
    assert all(first["after"] - 5 < answer["after"] <= first["after"] for answer in again)
    assert node.domain.refusals[limit] == 4

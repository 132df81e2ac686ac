"""POST /v1/push and /v1/push/batch: what is let through, as what, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from msgspec import structs

from push.http.checks import PushLimits
from push.pushing.targets import Target
from push.wire.api.push import PushBody
from tests.conftest import RedisServer
from tests.http.conftest import Response
from tests.http.routes.conftest import API, MakeAPI

TOKEN = "03DMV9EK31WTE="
USERS = [f"user-{number}" for number in range(1000)]


def message(**members: Any) -> dict[str, Any]:
    return {"to": {"all": True}, "data": {"text": "hello"}, **members}


def to(**target: Any) -> dict[str, Any]:
    return {"to": target, "data": 1}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"user": "anna@example.org"}, Target("user", ("anna@example.org",))),
        ({"users": USERS}, Target("users", tuple(USERS))),
        ({"all": True}, Target("all", ())),
    ],
)
@pytest_twisted.ensureDeferred
async def test_each_target_is_passed_on(api: API, target: Any, expected: Target) -> None:
    response = await api.post(to(**target))
    assert response.status == 202
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    streams = max(len(expected.names), 1)
    assert answer == {"id": answer["id"], "streams": streams, "online": 0}
    assert api.pushed[0].target == expected


@pytest_twisted.ensureDeferred
async def test_tokens_are_passed_on_and_those_of_no_device_named(api: API) -> None:
    token = await api.register()
    one = await api.push({"token": token})
    several = await api.push({"tokens": [token, "other"]})
    assert one == {"id": one["id"], "streams": 1, "online": 0}
    assert several == {"id": several["id"], "streams": 1, "online": 0, "unknown": ["other"]}
    assert [push.target for push in api.pushed] == [
        Target("token", (token,)),
        Target("tokens", (token, "other")),
    ]


@pytest.mark.parametrize(
    "data", ["null", "1e99", '"\\u00e4"', "[1, 2]", '{"b":1,  "a":2.50}', '"ä"', "-0", "false"]
)
@pytest_twisted.ensureDeferred
async def test_data_keeps_its_own_bytes(api: API, data: str) -> None:
    await api.post(f'{{"to":{{"all":true}},"data": {data} }}'.encode())
    assert bytes(api.pushed[0].content.data) == data.encode()


@pytest_twisted.ensureDeferred
async def test_what_is_left_out_has_the_documented_default(api: API) -> None:
    await api.post(message())
    content = api.pushed[0].content
    assert (content.ttl_seconds, content.qos) == (86_400, 1)
    assert (content.title, content.body, content.encoding) == (None, None, None)


@pytest_twisted.ensureDeferred
async def test_everything_that_may_be_said_is_passed_on(api: API) -> None:
    given = {
        "data": "aGk=",
        "title": "t",
        "body": "",
        "encoding": "base64",
        "ttl": 2_592_000,
        "qos": 0,
        "collapse": "k",
    }
    assert {"to", *given} == set(PushBody.__struct_fields__), "a new field is to be passed on, too"
    assert (await api.post(message(**given))).status == 202
    content = structs.asdict(api.pushed[0].content)
    assert bytes(content.pop("data")) == b'"aGk="'
    content["ttl"] = content.pop("ttl_seconds")
    assert content == {name: value for name, value in given.items() if name != "data"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"data": 1}, "to"),
        ({"to": {"all": True}}, "data"),
        (message(extra=1), "extra"),
        (message(collapse="not a name"), "collapse"),
        (message(collapse=""), "collapse"),
        (message(idempotency_key="k"), "idempotency_key"),
        (message(ttl=-1), "ttl"),
        (message(ttl=2_592_001), "ttl"),
        (message(ttl=10**30), "ttl"),
        (message(ttl=1.5), "ttl"),
        (message(ttl="60"), "ttl"),
        (message(ttl=None), "ttl"),
        (message(ttl=True), "ttl"),
        (message(qos=2), "qos"),
        (message(qos=-1), "qos"),
        (message(title=1), "title"),
        (message(title="a\x1b[2J"), "title"),
        (message(title="a\n"), "title"),
        (message(title="a\x7f"), "title"),
        (message(body=["x"]), "body"),
        (message(encoding="hex"), "encoding"),
        (message(encoding="base64"), "data"),
        (message(encoding="base64", data="not base64"), "data"),
        (message(encoding="base64", data="YQ"), "data"),
        (message(encoding="base64", data=None), "data"),
        ({"to": "all", "data": 1}, "to"),
        ({"to": [], "data": 1}, "to"),
        (to(), "to"),
        (to(all=True, user="u"), "to"),
        (to(token=TOKEN, tokens=[TOKEN]), "to"),
        (to(all=False), "to.all"),
        (to(all=1), "to.all"),
        (to(token=1), "to.token"),
        (to(token=""), "to.token"),
        (to(token="x" * 65), "to.token"),
        (to(tokens=[]), "to.tokens"),
        (to(tokens=TOKEN), "to.tokens"),
        (to(tokens=["x"] * 1001), "to.tokens"),
        (to(tokens=["x", 5]), "to.tokens[1]"),
        (to(user=""), "to.user"),
        (to(user="x" * 129), "to.user"),
        (to(user="a b"), "to.user"),
        (to(user="a\n"), "to.user"),
        (to(user="ä"), "to.user"),
        (to(users=["ok", "not ok"]), "to.users[1]"),
        (to(users=[]), "to.users"),
        (to(users=[*USERS, "one"]), "to.users"),
        (to(topic="not a name"), "to.topic"),
        (to(group="not a name"), "to.group"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_field_is_named(api: API, body: Any, field: str) -> None:
    problem = (await api.post(body)).assert_problem("invalid", field)
    assert f"`{field}`" in problem["detail"]
    assert api.pushed == []


@pytest_twisted.ensureDeferred
async def test_an_unknown_token_of_any_form_is_not_found(api: API) -> None:
    for token in ("06BGJ1Z5E4000", "nonsense", "x" * 64, "ä"):
        (await api.post(to(token=token))).assert_problem("unknown_token", "to.token")


@pytest_twisted.ensureDeferred
async def test_data_title_and_body_count_together(make_api: API) -> None:
    api = await make_api(push=PushLimits(max_payload_bytes=100))
    whole = message(data="x" * 48, title="y" * 28, body="z" * 18)  # with quotes: 50 + 30 + 20
    assert (await api.post(whole)).status == 202
    (await api.post({**whole, "body": "z" * 19})).assert_problem("too_large")
    (await api.post({**whole, "title": "\u00fc" * 28})).assert_problem(
        "too_large"
    )  # bytes, not letters


@pytest_twisted.ensureDeferred
async def test_the_payload_may_be_256_kib_by_default(api: API) -> None:
    most = 256 * 1024 - 2
    assert (await api.post(message(data="x" * most))).status == 202
    (await api.post(message(data="x" * (most + 1)))).assert_problem("too_large")


@pytest_twisted.ensureDeferred
async def test_the_limits_are_settings(make_api: API) -> None:
    api = await make_api(push=PushLimits(ttl_default_seconds=7, ttl_max_seconds=60))
    (await api.post(message(ttl=61))).assert_problem("invalid", "ttl")
    await api.post(message())
    assert api.pushed[0].content.ttl_seconds == 7


@pytest_twisted.ensureDeferred
async def test_a_default_over_the_most_is_the_most(make_api: API) -> None:
    api = await make_api(push=PushLimits(ttl_max_seconds=60))
    assert (await api.post(message())).status == 202
    assert api.pushed[0].content.ttl_seconds == 60


# --- batches -----------------------------------------------------------------------------------


async def batch(api: API, items: Any) -> Response:
    return await api.request("POST", "/v1/push/batch", items)


@pytest_twisted.ensureDeferred
async def test_a_batch_answers_each_item_in_order(api: API) -> None:
    items = [
        to(token=await api.register()),
        to(planet="mars"),
        "no object",
        to(token="unknown"),
        {**message(), "extra": 1},
        to(user="anna"),
    ]
    response = await batch(api, items)
    assert response.status == 200
    results = response.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 422, 404, 422, 202]
    id = results[0]["id"]
    assert results[0] == {"id": id, "streams": 1, "online": 0, "status": 202}
    assert [result.get("code") for result in results[1:5]] == [
        "invalid",
        "invalid",
        "unknown_token",
        "invalid",
    ]
    assert [result.get("field") for result in results[1:5]] == [
        "to.planet",
        None,
        "to.token",
        "extra",
    ]
    assert results[1]["type"] == "/errors/invalid"
    assert [push.target.kind for push in api.pushed] == ["token", "token", "user"]


@pytest_twisted.ensureDeferred
async def test_an_item_that_is_too_large_fails_alone(make_api: API) -> None:
    api = await make_api(push=PushLimits(max_payload_bytes=10))
    results = (await batch(api, [message(data=1), message(data="x" * 10)])).json()["results"]
    assert [(r["status"], r.get("code")) for r in results] == [(202, None), (413, "too_large")]


@pytest_twisted.ensureDeferred
async def test_a_batch_of_bad_items_pushes_nothing(api: API) -> None:
    assert [r["status"] for r in (await batch(api, [1, {}])).json()["results"]] == [422, 422]
    assert api.pushed == []


@pytest_twisted.ensureDeferred
async def test_a_batch_has_1_to_1000_items(api: API) -> None:
    (await batch(api, [])).assert_problem("invalid")
    assert len((await batch(api, [message()] * 1000)).json()["results"]) == 1000
    (await batch(api, [message()] * 1001)).assert_problem("invalid")


@pytest.mark.parametrize("body", [b"{}", b"1", b"null"])
@pytest_twisted.ensureDeferred
async def test_a_batch_is_an_array(api: API, body: bytes) -> None:
    (await batch(api, body)).assert_problem("invalid")


@pytest_twisted.ensureDeferred
async def test_one_item_that_is_not_json_spoils_the_batch(api: API) -> None:
    good = json.dumps(message()).encode()
    (await batch(api, b"[" + good + b",{]")).assert_problem("malformed")
    assert api.pushed == []


@pytest_twisted.ensureDeferred
async def test_a_batch_without_redis_is_unavailable(
    make_api: MakeAPI, make_redis: Callable[[], RedisServer]
) -> None:
    server = make_redis()
    api = await make_api(url=server.url)
    server.kill()
    (await api.post(message())).assert_problem("unavailable")
    (result,) = (await batch(api, [message()])).json()["results"]
    assert (result["status"], result["code"]) == (503, "unavailable")

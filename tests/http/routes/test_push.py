"""POST /v1/push and /v1/push/batch: what is let through, as what, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from push.http.checks import PushLimits
from push.pushing.service import Target
from push.redis.connection.errors import StoreUnavailable

TOKEN = "03DMV9EK31WTE="
USERS = [f"user-{number}" for number in range(1000)]


def message(**members: Any) -> dict[str, Any]:
    return {"to": {"all": True}, "data": {"text": "hello"}, **members}


def to(**target: Any) -> dict[str, Any]:
    return {"to": target, "data": 1}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"token": TOKEN}, Target("token", (TOKEN,))),
        ({"tokens": [TOKEN, "other"]}, Target("tokens", (TOKEN, "other"))),
        ({"user": "anna@example.org"}, Target("user", ("anna@example.org",))),
        ({"users": USERS}, Target("users", tuple(USERS))),
        ({"all": True}, Target("all", ())),
    ],
)
def test_each_target_is_passed_on(web: Any, target: Any, expected: Target) -> None:
    response = web.push(to(**target))
    assert response.status == 202
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"id": "id1", "streams": max(len(expected.names), 1), "online": 0}
    assert web.behind.pushed[0][0] == expected


@pytest.mark.parametrize(
    "data", ["null", "1e99", '"\\u00e4"', "[1, 2]", '{"b":1,  "a":2.50}', '"ä"', "-0", "false"]
)
def test_data_keeps_its_own_bytes(web: Any, data: str) -> None:
    web.push(f'{{"to":{{"all":true}},"data": {data} }}'.encode())
    assert bytes(web.behind.pushed[0][1].data) == data.encode()


def test_what_is_left_out_has_the_documented_default(web: Any) -> None:
    web.push(message())
    content = web.behind.pushed[0][1]
    assert (content.ttl_seconds, content.qos) == (86_400, 1)
    assert (content.title, content.body, content.encoding) == (None, None, None)


def test_everything_that_may_be_said_is_passed_on(web: Any) -> None:
    given = message(title="t", body="", ttl=2_592_000, qos=0, encoding="base64", data="aGk=")
    assert web.push(given).status == 202
    content = web.behind.pushed[0][1]
    assert (content.title, content.body, content.encoding) == ("t", "", "base64")
    assert (content.ttl_seconds, content.qos) == (2_592_000, 0)
    assert bytes(content.data) == b'"aGk="'


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
def test_a_wrong_field_is_named(web: Any, body: Any, field: str) -> None:
    problem = web.push(body).assert_problem("invalid", field)
    assert f"`{field}`" in problem["detail"]
    assert web.behind.pushed == []


def test_an_unknown_token_of_any_form_is_not_found(web: Any) -> None:
    for token in ("06BGJ1Z5E4000", "nonsense", "x" * 64, "ä"):
        web.push(to(token=token)).assert_problem("unknown_token", "to.token")


def test_data_title_and_body_count_together(make_web: Any) -> None:
    web = make_web(limits=PushLimits(max_payload_bytes=100))
    whole = message(data="x" * 48, title="y" * 28, body="z" * 18)  # with quotes: 50 + 30 + 20
    assert web.push(whole).status == 202
    web.push({**whole, "body": "z" * 19}).assert_problem("too_large")
    web.push({**whole, "title": "\u00fc" * 28}).assert_problem("too_large")  # bytes, not letters


def test_the_payload_may_be_256_kib_by_default(web: Any) -> None:
    most = 256 * 1024 - 2
    assert web.push(message(data="x" * most)).status == 202
    web.push(message(data="x" * (most + 1))).assert_problem("too_large")


def test_the_limits_are_settings(make_web: Any) -> None:
    web = make_web(limits=PushLimits(ttl_default_seconds=7, ttl_max_seconds=60))
    web.push(message(ttl=61)).assert_problem("invalid", "ttl")
    web.push(message())
    assert web.behind.pushed[0][1].ttl_seconds == 7


def test_a_default_over_the_most_is_the_most(make_web: Any) -> None:
    web = make_web(limits=PushLimits(ttl_max_seconds=60))
    assert web.push(message()).status == 202
    assert web.behind.pushed[0][1].ttl_seconds == 60


# --- batches -----------------------------------------------------------------------------------


def batch(web: Any, items: Any, **options: Any) -> Any:
    return web.request("POST", "/v1/push/batch", items, **options)


def test_a_batch_answers_each_item_in_order(web: Any) -> None:
    items = [
        to(token=TOKEN),
        to(planet="mars"),
        "no object",
        to(token="unknown"),
        {**message(), "extra": 1},
        to(user="anna"),
    ]
    response = batch(web, items)
    assert response.status == 200
    results = response.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 422, 404, 422, 202]
    assert results[0] == {"id": "id1", "streams": 1, "online": 0, "status": 202}
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
    assert [target.kind for target, _ in web.behind.pushed] == ["token", "token", "user"]


def test_an_item_that_is_too_large_fails_alone(make_web: Any) -> None:
    web = make_web(limits=PushLimits(max_payload_bytes=10))
    results = batch(web, [message(data=1), message(data="x" * 10)]).json()["results"]
    assert [(r["status"], r.get("code")) for r in results] == [(202, None), (413, "too_large")]


def test_a_batch_of_bad_items_pushes_nothing(web: Any) -> None:
    web.behind.error = AssertionError("must not be called")
    assert [r["status"] for r in batch(web, [1, {}]).json()["results"]] == [422, 422]


def test_a_batch_has_1_to_1000_items(web: Any) -> None:
    batch(web, []).assert_problem("invalid")
    assert len(batch(web, [message()] * 1000).json()["results"]) == 1000
    batch(web, [message()] * 1001).assert_problem("invalid")


@pytest.mark.parametrize("body", [b"{}", b"1", b"null"])
def test_a_batch_is_an_array(web: Any, body: bytes) -> None:
    batch(web, body).assert_problem("invalid")


def test_one_item_that_is_not_json_spoils_the_batch(web: Any) -> None:
    good = json.dumps(message()).encode()
    batch(web, b"[" + good + b",{]").assert_problem("malformed")
    assert web.behind.pushed == []


def test_a_batch_without_the_store_is_unavailable(web: Any) -> None:
    web.behind.error = StoreUnavailable("away")
    batch(web, [message()]).assert_problem("unavailable")

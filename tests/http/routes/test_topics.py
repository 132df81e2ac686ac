"""Topics: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest

from push.wire.api.paging import make_cursor
from push.wire.idents import encode_crockford

TOKEN = encode_crockford(123456789012345678)
OTHER = encode_crockford(123456789012345679)


def test_a_device_is_subscribed_and_unsubscribed(web: Any) -> None:
    web.behind.devices[TOKEN] = None
    path = f"/v1/topics/private.news/devices/{TOKEN}"

    assert web.request("PUT", path, key="push-key").status == 204
    assert web.request("PUT", path, key="push-key").status == 204
    assert web.request("GET", "/v1/topics/private.news", key="read-key").json() == {
        "topic": "private.news",
        "devices": 1,
    }
    assert web.request("DELETE", path, key="push-key").status == 204
    web.request("DELETE", path).assert_problem("not_found")
    web.request("GET", "/v1/topics/private.news").assert_problem("not_found")


def test_topics_are_listed_page_by_page(web: Any) -> None:
    web.behind.topics = {"b": {TOKEN}, "a": {TOKEN, "another"}, "c": {TOKEN}}

    first = web.request("GET", "/v1/topics?limit=2", key="read-key").json()
    last = web.request("GET", f"/v1/topics?limit=2&cursor={first['cursor']}").json()

    assert first == {
        "topics": [{"topic": "a", "devices": 2}, {"topic": "b", "devices": 1}],
        "cursor": make_cursor("topics", "b"),
    }
    assert last == {"topics": [{"topic": "c", "devices": 1}], "cursor": None}


@pytest.mark.parametrize(
    ("method", "path", "key", "code", "field"),
    [
        ("PUT", f"/v1/topics/a%20b/devices/{TOKEN}", "push-key", "invalid", "topic"),
        ("DELETE", f"/v1/topics/a%20b/devices/{TOKEN}", "push-key", "invalid", "topic"),
        ("PUT", "/v1/topics/news/devices/nonsense", "push-key", "invalid", "token"),
        ("PUT", f"/v1/topics/news/devices/{OTHER}", "push-key", "unknown_token", "token"),
        ("PUT", f"/v1/topics/news/devices/{TOKEN}", "read-key", "forbidden", None),
        ("GET", "/v1/topics/a%20b", "read-key", "invalid", "topic"),
        ("GET", "/v1/topics?limit=0", "read-key", "invalid", "limit"),
        ("GET", "/v1/topics?name=x", "read-key", "invalid", "name"),
        ("GET", "/v1/topics", "push-key", "forbidden", None),
    ],
)
def test_what_is_wrong_is_refused_and_named(
    web: Any, method: str, path: str, key: str, code: str, field: str | None
) -> None:
    web.request(method, path, key=key).assert_problem(code, field)
    assert web.behind.topics == {}


def test_a_topic_is_pushed_to(web: Any) -> None:
    response = web.push({"to": {"topic": "news"}, "data": 1})
    assert response.status == 202
    ((target, _),) = web.behind.pushed
    assert (target.kind, target.names) == ("topic", ("news",))
    web.push({"to": {"topic": "a b"}, "data": 1}).assert_problem("invalid", "to.topic")

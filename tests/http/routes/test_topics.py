"""Topics: what is asked, answered and refused."""

from __future__ import annotations

import pytest
import pytest_twisted

from push.wire.api.paging import make_cursor
from push.wire.idents import encode_crockford
from tests.http.routes.conftest import API

TOKEN = encode_crockford(123456789012345678)
OTHER = encode_crockford(123456789012345679)


@pytest_twisted.ensureDeferred
async def test_a_device_is_subscribed_and_unsubscribed(api: API) -> None:
    path = f"/v1/topics/private.news/devices/{await api.register()}"

    assert (await api.request("PUT", path, key="push-key")).status == 204
    assert (await api.request("PUT", path, key="push-key")).status == 204
    assert await api.json("GET", "/v1/topics/private.news", key="read-key") == {
        "topic": "private.news",
        "devices": 1,
    }
    assert (await api.request("DELETE", path, key="push-key")).status == 204
    (await api.request("DELETE", path)).assert_problem("not_found")
    (await api.request("GET", "/v1/topics/private.news")).assert_problem("not_found")


@pytest_twisted.ensureDeferred
async def test_topics_are_listed_page_by_page(api: API) -> None:
    one, other = await api.register(), await api.register()
    for topic, token in (("b", one), ("a", one), ("a", other), ("c", one)):
        await api.request("PUT", f"/v1/topics/{topic}/devices/{token}")

    first = await api.json("GET", "/v1/topics?limit=2", key="read-key")
    last = await api.json("GET", f"/v1/topics?limit=2&cursor={first['cursor']}", key="read-key")

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
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused_and_named(
    api: API, method: str, path: str, key: str, code: str, field: str | None
) -> None:
    (await api.request(method, path, key=key)).assert_problem(code, field)
    assert (await api.json("GET", "/v1/topics"))["topics"] == []


@pytest_twisted.ensureDeferred
async def test_a_topic_is_pushed_to(api: API) -> None:
    pushed = await api.push({"topic": "news"}, 1)
    message = await api.json("GET", f"/v1/messages/{pushed['id']}")
    assert message["to"] == {"topic": "news"}
    wrong = await api.request("POST", "/v1/push", {"to": {"topic": "a b"}, "data": 1})
    wrong.assert_problem("invalid", "to.topic")

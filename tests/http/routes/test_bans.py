"""Bans: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.wire.idents import encode_crockford
from tests.http.routes.conftest import API

TOKEN = encode_crockford(123456789012345678)
LATER = 4_000_000_000_000


async def bans_of(api: API) -> list[dict[str, Any]]:
    return list((await api.json("GET", "/v1/bans"))["bans"])


@pytest_twisted.ensureDeferred
async def test_somebody_is_banned_and_the_ban_is_lifted(api: API) -> None:
    made = await api.request("POST", "/v1/bans", {"ip": "10.1.2.3/32", "until": LATER})
    assert (made.status, made.json()) == (201, {"ip": "10.1.2.3", "until": LATER})
    assert (await api.request("POST", "/v1/bans", {"token": TOKEN})).status == 201
    made = await api.request("POST", "/v1/bans", {"user": "mallory"})
    assert (made.status, made.json()) == (201, {"user": "mallory", "until": None})
    assert await bans_of(api) == [
        {"ip": "10.1.2.3", "until": LATER},
        {"token": TOKEN, "until": None},
        {"user": "mallory", "until": None},
    ]
    assert (await api.request("DELETE", "/v1/bans?ip=10.1.2.3")).status == 204
    assert (await api.request("DELETE", "/v1/bans", {"user": "mallory"})).status == 204
    (await api.request("DELETE", "/v1/bans?user=mallory")).assert_problem("not_found")
    assert await bans_of(api) == [{"token": TOKEN, "until": None}]


@pytest_twisted.ensureDeferred
async def test_nodes_that_did_not_confirm_are_named(silent_node: str, api: API) -> None:
    made = await api.request("POST", "/v1/bans", {"user": "mallory"})
    assert (made.status, made.json()) == (
        201,
        {"user": "mallory", "until": None, "silent": [silent_node]},
    )
    lifted = await api.request("DELETE", "/v1/bans?user=mallory")
    assert (lifted.status, lifted.json()) == (200, {"silent": [silent_node]})


@pytest_twisted.ensureDeferred
async def test_bans_are_listed_page_by_page_the_oldest_first(api: API) -> None:
    for name in "cab":
        await api.json("POST", "/v1/bans", {"user": name})
    first = await api.json("GET", "/v1/bans?limit=2")
    last = await api.json("GET", f"/v1/bans?limit=2&cursor={first['cursor']}")
    assert [ban["user"] for ban in first["bans"] + last["bans"]] == ["c", "a", "b"]
    assert last["cursor"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/bans", {}, "ip"),
        ("POST", "/v1/bans", {"ip": "1.2.3.4", "user": "a"}, "ip"),
        ("POST", "/v1/bans", {"ip": "1.2.3"}, "ip"),
        ("POST", "/v1/bans", {"user": "a b"}, "user"),
        ("POST", "/v1/bans", {"token": "nonsense"}, "token"),
        ("POST", "/v1/bans", {"user": "a", "until": 5}, "until"),
        ("POST", "/v1/bans", {"user": "a", "why": "x"}, "why"),
        ("DELETE", "/v1/bans", None, "ip"),
        ("DELETE", "/v1/bans?ip=1.2.3.4&user=a", None, "ip"),
        ("DELETE", "/v1/bans?user=a", {"user": "a"}, None),
        ("GET", "/v1/bans?cursor=x", None, "cursor"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused_and_named(
    api: API, method: str, path: str, body: Any, field: str
) -> None:
    (await api.request(method, path, body)).assert_problem("invalid", field)
    assert await bans_of(api) == []


@pytest_twisted.ensureDeferred
async def test_bans_need_the_scope_admin(api: API) -> None:
    for method in ("GET", "POST", "DELETE"):
        body = {"user": "a"} if method == "POST" else None
        answer = await api.request(method, "/v1/bans", body, key="push-key")
        answer.assert_problem("forbidden")

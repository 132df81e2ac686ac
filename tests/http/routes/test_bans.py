"""Bans: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest

from push.access.bans import ActiveBan
from push.wire.idents import encode_crockford

TOKEN = encode_crockford(123456789012345678)
LATER = 1_800_000_000_000


def test_somebody_is_banned_and_the_ban_is_lifted(web: Any) -> None:
    made = web.request("POST", "/v1/bans", {"ip": "10.1.2.3/32", "until": LATER})
    assert (made.status, made.json()) == (201, {"ip": "10.1.2.3", "until": LATER})
    assert web.request("POST", "/v1/bans", {"user": "mallory"}).json() == {
        "user": "mallory",
        "until": None,
    }
    assert web.request("POST", "/v1/bans", {"token": TOKEN}).status == 201
    assert web.behind.bans == [
        ActiveBan("ip", "10.1.2.3", LATER),
        ActiveBan("user", "mallory", None),
        ActiveBan("token", TOKEN, None),
    ]
    assert web.request("DELETE", "/v1/bans?ip=10.1.2.3").status == 204
    assert web.request("DELETE", "/v1/bans", {"user": "mallory"}).status == 204
    web.request("DELETE", "/v1/bans?user=mallory").assert_problem("not_found")
    assert web.behind.bans == [ActiveBan("token", TOKEN, None)]


def test_nodes_that_did_not_confirm_are_named(web: Any) -> None:
    web.behind.silent = ["n2"]
    made = web.request("POST", "/v1/bans", {"user": "mallory"})
    assert (made.status, made.json()) == (
        201,
        {"user": "mallory", "until": None, "silent": ["n2"]},
    )
    lifted = web.request("DELETE", "/v1/bans?user=mallory")
    assert (lifted.status, lifted.json()) == (200, {"silent": ["n2"]})


def test_bans_are_listed_page_by_page(web: Any) -> None:
    web.behind.bans = [ActiveBan("user", name, None) for name in "abc"]
    first = web.request("GET", "/v1/bans?limit=2").json()
    last = web.request("GET", f"/v1/bans?limit=2&cursor={first['cursor']}").json()
    assert [ban["user"] for ban in first["bans"] + last["bans"]] == ["a", "b", "c"]
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
        ("GET", "/v1/bans?cursor=x", None, "cursor"),
    ],
)
def test_what_is_wrong_is_refused_and_named(
    web: Any, method: str, path: str, body: Any, field: str
) -> None:
    web.request(method, path, body).assert_problem("invalid", field)
    assert web.behind.bans == []


def test_bans_need_the_scope_admin(web: Any) -> None:
    for method in ("GET", "POST", "DELETE"):
        body = {"user": "a"} if method == "POST" else None
        web.request(method, "/v1/bans", body, key="push-key").assert_problem("forbidden")

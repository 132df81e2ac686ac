"""API keys over HTTP: made, listed and revoked while the deployment runs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import pytest_twisted

from tests.http.routes.conftest import API, REGISTER

LATER = 4_000_000_000_000
SCOPES = ["push", "read"]


async def make(api: API, name: str, *scopes: str, **more: Any) -> str:
    body = {"name": name, "scopes": scopes or SCOPES, **more}
    return str((await api.json("POST", "/v1/keys", body))["key"])


async def listed(api: API, query: str = "") -> dict[str, Any]:
    page = await api.json("GET", f"/v1/keys{query}")
    return {key["name"]: key for key in page["keys"]}


@pytest_twisted.ensureDeferred
async def test_a_key_is_made_used_listed_and_revoked(api: API) -> None:
    response = await api.request(
        "POST", "/v1/keys", {"name": "billing", "scopes": ["read", "push"], "expires": LATER}
    )
    made = response.json()
    key = made.pop("key")
    assert response.status == 201
    assert response.headers["cache-control"] == "no-store"
    assert made == {"name": "billing", "scopes": ["push", "read"], "expires": LATER}
    assert key.startswith("pk_")
    before = (await listed(api))["billing"]
    assert (before["source"], before["expires"], before["used"]) == ("made", LATER, None)
    assert abs(before["created"] - api.node.keys.now_ms()) < 60_000
    assert (await api.request("GET", "/v1/stats", key=key)).status == 200
    (await api.request("GET", "/v1/bans", key=key)).assert_problem("forbidden")
    after = (await listed(api))["billing"]
    assert after["used"] >= before["created"]
    assert key not in repr(await listed(api))
    assert (await api.request("DELETE", "/v1/keys/billing")).status == 204
    (await api.request("GET", "/v1/stats", key=key)).assert_problem("unauthenticated")
    (await api.request("DELETE", "/v1/keys/billing")).assert_problem("not_found")
    assert "billing" not in await listed(api)


@pytest_twisted.ensureDeferred
async def test_a_device_registers_with_a_key_that_was_made(api: API) -> None:
    key = await make(api, "app", "register")
    assert (await api.request("POST", "/v1/devices", REGISTER, key=key)).status == 201
    await api.request("DELETE", "/v1/keys/app")
    (await api.request("POST", "/v1/devices", REGISTER, key=key)).assert_problem("unauthenticated")


@pytest_twisted.ensureDeferred
async def test_nothing_of_a_key_is_stored_but_its_digest(api: API) -> None:
    key = await make(api, "billing")
    store = api.node.store
    stored = await store.command("HGETALL", store.key("api-keys"))
    assert hashlib.sha256(key.encode()).hexdigest().encode() in stored[1]
    assert key.encode() not in b"".join(stored)


@pytest_twisted.ensureDeferred
async def test_a_key_without_an_end_says_so(api: API) -> None:
    made = await api.json("POST", "/v1/keys", {"name": "a", "scopes": ["push"], "expires": None})
    assert made["expires"] is None
    assert (await listed(api))["a"]["expires"] is None


@pytest_twisted.ensureDeferred
async def test_keys_of_this_process_are_listed_and_not_revoked_by_http(api: API) -> None:
    keys = await listed(api)
    assert {key["source"] for key in keys.values()} == {"config"}
    assert keys["push-key"]["scopes"] == ["push"]
    refused = await api.request("DELETE", "/v1/keys/push-key")
    problem = refused.assert_problem("not_allowed")
    assert "was not made by HTTP" in problem["detail"]
    taken = await api.request("POST", "/v1/keys", {"name": "push-key", "scopes": ["push"]})
    taken.assert_problem("already_exists", "name")


@pytest_twisted.ensureDeferred
async def test_the_last_administrator_stays(api: API) -> None:
    key = await make(api, "root", "admin")
    api.node.keyring.replace([])
    refused = await api.request("DELETE", "/v1/keys/root", key=key)
    refused.assert_problem("not_allowed")
    await api.json("POST", "/v1/keys", {"name": "second", "scopes": ["admin"]}, key=key)
    assert (await api.request("DELETE", "/v1/keys/root", key=key)).status == 204
    (await api.request("GET", "/v1/keys", key=key)).assert_problem("unauthenticated")


@pytest_twisted.ensureDeferred
async def test_keys_are_listed_page_by_page_by_name(api: API) -> None:
    for name in ("c", "a", "b"):
        await make(api, name)
    names: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await api.json("GET", f"/v1/keys?limit=2&cursor={cursor}")
        names += [key["name"] for key in page["keys"]]
        cursor = page["cursor"]
    assert names == sorted(["a", "b", "c", "admin-key", "push-key", "read-key", "app-key"])


@pytest_twisted.ensureDeferred
async def test_nodes_that_did_not_confirm_are_named(silent_node: str, api: API) -> None:
    made = await api.json("POST", "/v1/keys", {"name": "a", "scopes": ["push"]})
    assert made["silent"] == [silent_node]
    revoked = await api.request("DELETE", "/v1/keys/a")
    assert (revoked.status, revoked.json()) == (200, {"silent": [silent_node]})


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/keys", {"scopes": ["push"]}, "name"),
        ("POST", "/v1/keys", {"name": "a"}, "scopes"),
        ("POST", "/v1/keys", {"name": "", "scopes": ["push"]}, "name"),
        ("POST", "/v1/keys", {"name": "..", "scopes": ["push"]}, "name"),
        ("POST", "/v1/keys", {"name": "a b", "scopes": ["push"]}, "name"),
        ("POST", "/v1/keys", {"name": "a\n", "scopes": ["push"]}, "name"),
        ("POST", "/v1/keys", {"name": "a" * 129, "scopes": ["push"]}, "name"),
        ("POST", "/v1/keys", {"name": "a", "scopes": []}, "scopes"),
        ("POST", "/v1/keys", {"name": "a", "scopes": ["all"]}, "scopes[0]"),
        ("POST", "/v1/keys", {"name": "a", "scopes": "push"}, "scopes"),
        ("POST", "/v1/keys", {"name": "a", "scopes": ["push"], "expires": 1}, "expires"),
        ("POST", "/v1/keys", {"name": "a", "scopes": ["push"], "expires": -1}, "expires"),
        ("POST", "/v1/keys", {"name": "a", "scopes": ["push"], "expires": 2**60}, "expires"),
        ("POST", "/v1/keys", {"name": "a", "scopes": ["push"], "key": "mine"}, "key"),
        ("GET", "/v1/keys?cursor=x", None, "cursor"),
        ("GET", "/v1/keys?source=made", None, "source"),
        ("DELETE", "/v1/keys/a%20b", None, "key"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused_and_named(
    api: API, method: str, path: str, body: Any, field: str
) -> None:
    (await api.request(method, path, body)).assert_problem("invalid", field)
    assert len(await listed(api)) == 4


@pytest.mark.parametrize("key", ["read-key", "push-key", "app-key"])
@pytest_twisted.ensureDeferred
async def test_only_an_administrator_may(api: API, key: str) -> None:
    for method, path, body in (
        ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", {"name": "a", "scopes": ["admin"]}),
        ("DELETE", "/v1/keys/app-key", None),
    ):
        (await api.request(method, path, body, key=key)).assert_problem("forbidden")

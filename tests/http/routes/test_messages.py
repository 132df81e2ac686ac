"""What became of a message, and taking it back: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.http.routes.conftest import API
from tests.waiting import WaitUntil

ID = "03DMV9EK31X00A"  # of no message


@pytest_twisted.ensureDeferred
async def test_the_funnel_has_just_the_members_of_the_contract(
    api: API, wait_until: WaitUntil
) -> None:
    token = await api.register()
    id = (await api.push({"token": token}, ttl=60))["id"]

    async def is_counted() -> bool:
        return bool((await api.json("GET", f"/v1/messages/{id}"))["stored"])

    await wait_until(is_counted)
    funnel = await api.json("GET", f"/v1/messages/{id}")
    assert funnel == {
        "id": id,
        "ts": funnel["ts"],
        "expires": funnel["ts"] + 60_000,
        "to": {"token": token},
        "addressed": 1,
        "stored": 1,
        "written": 0,
        "acknowledged": 0,
        "expired": 0,
        "cancelled": 0,
        "dropped": {},
    }


@pytest_twisted.ensureDeferred
async def test_devices_come_in_pages(api: API) -> None:
    tokens = sorted([await api.register() for _ in range(120)])
    path = f"/v1/messages/{(await api.push({'tokens': tokens}))['id']}/devices"
    pages = [await api.json("GET", path)]
    while pages[-1]["cursor"] is not None:
        cursor = pages[-1]["cursor"]
        pages.append(await api.json("GET", f"{path}?limit=40&cursor={cursor}"))
    assert [len(page["devices"]) for page in pages] == [50, 40, 30]
    rows = [row for page in pages for row in page["devices"]]
    assert [row["token"] for row in rows] == tokens
    assert rows[0] == {"token": tokens[0], "state": "stored", "ts": rows[0]["ts"]}


@pytest_twisted.ensureDeferred
async def test_a_drop_has_its_reason_and_the_user_it_was_for(
    api: API, wait_until: WaitUntil
) -> None:
    token = await api.register()
    binding = f"/v1/users/anna/devices/{token}"
    assert (await api.request("PUT", binding)).status == 204
    path = f"/v1/messages/{(await api.push({'user': 'anna'}))['id']}/devices"
    assert (await api.request("DELETE", binding)).status == 204

    async def dropped() -> Any:
        rows = (await api.json("GET", path))["devices"]
        return [row for row in rows if row["state"] == "dropped"]

    (row,) = await wait_until(dropped)
    assert row == {
        "token": token,
        "state": "dropped",
        "ts": row["ts"],
        "user": "anna",
        "reason": "unbound",
    }


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1e1", "9" * 40])
@pytest_twisted.ensureDeferred
async def test_a_limit_that_is_none_is_refused(api: API, limit: str) -> None:
    answer = await api.request("GET", f"/v1/messages/{ID}/devices?limit={limit}")
    answer.assert_problem("invalid", "limit")


@pytest.mark.parametrize("cursor", ["x" * 65, "%ff", "%00", "%0A", "%C3%A4"])
@pytest_twisted.ensureDeferred
async def test_a_cursor_that_is_none_is_refused(api: API, cursor: str) -> None:
    answer = await api.request("GET", f"/v1/messages/{ID}/devices?cursor={cursor}")
    answer.assert_problem("invalid", "cursor")


@pytest_twisted.ensureDeferred
async def test_a_message_is_cancelled(api: API) -> None:
    id = (await api.push({"token": await api.register()}))["id"]
    assert await api.json("DELETE", f"/v1/messages/{id}") == {"cancelled": 1}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/devices"), ("DELETE", "")],
)
@pytest_twisted.ensureDeferred
async def test_an_unknown_message_is_said_to_be_so(api: API, method: str, path: str) -> None:
    for id in (ID, "nobody"):
        answer = await api.request(method, f"/v1/messages/{id}{path}")
        answer.assert_problem("unknown_message")
        assert answer.status == 404


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "", "push-key", 403),
        ("GET", "/devices", "push-key", 403),
        ("DELETE", "", "read-key", 403),
        ("DELETE", "", "push-key", 200),
        ("GET", "", "read-key", 200),
        ("GET", "", None, 401),
    ],
)
@pytest_twisted.ensureDeferred
async def test_reading_and_cancelling_need_their_scopes(
    api: API, method: str, path: str, key: str | None, status: int
) -> None:
    id = (await api.push({"token": await api.register()}))["id"]
    assert (await api.request(method, f"/v1/messages/{id}{path}", key=key)).status == status

"""What became of a message, and taking it back: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest

from push.streams.ledger import DeviceLine

ID = "03DMV9EK31X00A"
PATH = f"/v1/messages/{ID}"


@pytest.fixture(autouse=True)
def known_message(web: Any) -> None:
    web.behind.messages = {ID: web.behind.funnel}


def test_the_funnel_has_just_the_members_of_the_contract(web: Any) -> None:
    assert web.request("GET", PATH).json() == {
        "id": ID,
        "ts": 1_700_000_000_000,
        "expires": 1_700_000_060_000,
        "to": {"token": "t"},
        "addressed": 3,
        "stored": 3,
        "written": 2,
        "acknowledged": 1,
        "expired": 0,
        "cancelled": 0,
        "dropped": {"backlog": 1},
    }


def test_devices_come_in_pages(web: Any) -> None:
    names = [f"t{n:03}" for n in range(120)]
    web.behind.lines = [DeviceLine(name, "acknowledged", 1) for name in names]
    web.behind.lines[7] = DeviceLine("t007", "dropped", 2, "anna", "backlog")
    pages = [web.request("GET", f"{PATH}/devices").json()]
    while pages[-1]["cursor"] is not None:
        cursor = pages[-1]["cursor"]
        pages.append(web.request("GET", f"{PATH}/devices?limit=40&cursor={cursor}").json())
    assert [len(page["devices"]) for page in pages] == [50, 40, 30]
    rows = [row for page in pages for row in page["devices"]]
    assert [row["token"] for row in rows] == names
    assert rows[0] == {"token": "t000", "state": "acknowledged", "ts": 1}
    assert rows[7] == {
        "token": "t007",
        "state": "dropped",
        "ts": 2,
        "user": "anna",
        "reason": "backlog",
    }


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1e1", "9" * 40])
def test_a_limit_that_is_none_is_refused(web: Any, limit: str) -> None:
    web.request("GET", f"{PATH}/devices?limit={limit}").assert_problem("invalid", "limit")


@pytest.mark.parametrize("cursor", ["x" * 65, "%ff", "%00", "%0A", "%C3%A4"])
def test_a_cursor_that_is_none_is_refused(web: Any, cursor: str) -> None:
    response = web.request("GET", f"{PATH}/devices?cursor={cursor}")
    response.assert_problem("invalid", "cursor")


def test_a_message_is_cancelled(web: Any) -> None:
    assert web.request("DELETE", PATH).json() == {"cancelled": 1}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/devices"), ("DELETE", "")],
)
def test_an_unknown_message_is_said_to_be_so(web: Any, method: str, path: str) -> None:
    response = web.request(method, f"/v1/messages/nobody{path}")
    response.assert_problem("unknown_message")
    assert response.status == 404


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
def test_reading_and_cancelling_need_their_scopes(
    web: Any, method: str, path: str, key: str | None, status: int
) -> None:
    assert web.request(method, PATH + path, key=key).status == status

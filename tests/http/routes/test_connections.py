"""Live sessions and users: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.pushing.targets import Target
from push.wire.idents import encode_crockford
from tests.http.routes.conftest import API, Connect, Connected
from tests.waiting import WaitUntil


def row(api: API, device: Connected) -> dict[str, Any]:
    """What a list of sessions has of a device, but for the time."""
    return {
        "session": device.session,
        "token": device.token,
        "user": None,
        "node": api.node.boot,
        "ip": "127.0.0.1",
        "carrier": "tcp",
    }


# --- sessions ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_sessions_are_listed_page_by_page(
    api: API, connected: Connect, silent_node: str
) -> None:
    devices = sorted([await connected() for _ in range(3)], key=lambda device: device.session)
    first = await api.json("GET", "/v1/connections?limit=2")
    assert first["silent"] == [silent_node]
    assert all(each.pop("connected") > 1_600_000_000_000 for each in first["connections"])
    assert first["connections"] == [row(api, device) for device in devices[:2]]
    last = await api.json("GET", f"/v1/connections?limit=2&cursor={first['cursor']}")
    assert [each["session"] for each in last["connections"]] == [devices[2].session]
    assert last["cursor"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["anna", "other"]),
        ("?user=anna&topic=news", ["anna"]),
        ("?user=anna&topic=sport", []),
        ("?user=other", []),
        ("?node=n1", []),
        ("?ip=127.0.0.0/8", ["anna", "other"]),
        ("?ip=127.0.0.2/32", ["anna"]),
        ("?ip=%3A%3Affff:127.0.0.2", ["anna"]),
        ("?ip=2001:DB8:0::/32", []),
    ],
)
@pytest_twisted.ensureDeferred
async def test_filters_are_read(api: API, connected: Connect, query: str, found: list[str]) -> None:
    devices = {"anna": await connected(source="127.0.0.2"), "other": await connected()}
    token = devices["anna"].token
    assert (await api.request("PUT", f"/v1/users/anna/devices/{token}")).status == 204
    assert (await api.request("PUT", f"/v1/topics/news/devices/{token}")).status == 204
    rows = (await api.json("GET", f"/v1/connections{query}"))["connections"]
    assert {each["session"] for each in rows} == {devices[name].session for name in found}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("user=a%20b", "user"),
        ("topic=", "topic"),
        ("ip=", "ip"),
        ("ip=10.0.0.1/8", "ip"),
        ("ip=10.0.0.0/33", "ip"),
        ("ip=fe80::1%25eth0", "ip"),
        ("limit=0", "limit"),
        ("state=x", "state"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_filter_that_is_wrong_is_named(api: API, query: str, field: str) -> None:
    (await api.request("GET", f"/v1/connections?{query}")).assert_problem("invalid", field)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/v1/connections/{session}", None),
        ("POST", "/v1/connections/kick", {"ip": "127.0.0.2/31"}),
        ("POST", "/v1/devices/{token}/kick", None),
        ("POST", "/v1/users/anna/kick", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_sessions_are_kicked(
    api: API,
    connected: Connect,
    silent_node: str,
    wait_until: WaitUntil,
    method: str,
    path: str,
    body: Any,
) -> None:
    device, other = await connected(source="127.0.0.2"), await connected()
    path = path.format(session=device.session, token=device.token)
    assert (await api.request("PUT", f"/v1/users/anna/devices/{device.token}")).status == 204
    (await api.request(method, path, body, key="read-key")).assert_problem("forbidden")
    response = await api.request(method, path, body)
    assert (response.status, response.json()) == (200, {"kicked": 1, "silent": [silent_node]})
    await wait_until(lambda: device.client.ended_with)
    assert device.client.ended_with == "kicked"
    assert not other.client.closed


@pytest_twisted.ensureDeferred
async def test_a_session_that_no_node_has_is_not_found_unless_one_is_silent(
    api: API, boots: set[str]
) -> None:
    (await api.request("DELETE", "/v1/connections/gone")).assert_problem("not_found")
    boots.add("n2")
    response = await api.request("DELETE", "/v1/connections/gone")
    assert (response.status, response.json()) == (200, {"kicked": 0, "silent": ["n2"]})


@pytest_twisted.ensureDeferred
async def test_who_is_kicked_must_be_someone(api: API, connected: Connect) -> None:
    device = await connected()
    unknown = encode_crockford(5)
    for path, body, code, field in (
        ("/v1/connections/kick", {"ip": "x"}, "invalid", "ip"),
        ("/v1/connections/kick", {}, "invalid", "ip"),
        ("/v1/users/a%20b/kick", None, "invalid", "user"),
        ("/v1/devices/x/kick", None, "invalid", "token"),
        (f"/v1/devices/{unknown}/kick", None, "unknown_token", "token"),
    ):
        (await api.request("POST", path, body)).assert_problem(code, field)
    assert not device.client.closed


# --- users -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_user_is_described_and_need_not_exist(api: API, connected: Connect) -> None:
    device = await connected()
    assert (await api.request("PUT", f"/v1/users/anna/devices/{device.token}")).status == 204
    anna = await api.json("GET", "/v1/users/anna")
    (shown,) = anna["devices"]
    assert anna == {"user": "anna", "online": True, "devices": [shown], "silent": []}
    assert shown == {
        "token": device.token,
        "platform": "p",
        "app": "a",
        "online": True,
        "session": device.session,
        "node": "node",
        "seen": shown["seen"],
    }
    nobody = await api.json("GET", "/v1/users/nobody")
    assert nobody == {"user": "nobody", "online": False, "devices": [], "silent": []}
    (await api.request("GET", "/v1/users/a%20b")).assert_problem("invalid", "user")


@pytest_twisted.ensureDeferred
async def test_a_user_is_erased_once(api: API) -> None:
    token = await api.register()
    assert (await api.request("PUT", f"/v1/users/anna/devices/{token}")).status == 204
    forbidden = await api.request("DELETE", "/v1/users/anna", key="push-key")
    forbidden.assert_problem("forbidden")
    assert (await api.request("DELETE", "/v1/users/anna")).status == 204
    (await api.request("DELETE", "/v1/users/anna")).assert_problem("not_found")


@pytest_twisted.ensureDeferred
async def test_who_did_not_end_an_erased_users_sessions_is_named(api: API, boots: set[str]) -> None:
    token = await api.register()
    assert (await api.request("PUT", f"/v1/users/anna/devices/{token}")).status == 204
    boots.add("far")
    answer = await api.request("DELETE", "/v1/users/anna")
    assert (answer.status, answer.json()) == (200, {"silent": ["far"]})


# --- pushing to an address -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "pushed"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:DB8::1/128", "2001:db8::1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_push_to_an_address_is_for_now_whatever_its_ttl(
    api: API, asked: str, pushed: str
) -> None:
    await api.push({"ip": asked}, 1, ttl=60)
    await api.push({"ip": asked}, 1)
    assert [push.target for push in api.pushed] == [Target("ip", (pushed,))] * 2
    assert [push.content.ttl_seconds for push in api.pushed] == [0, 0]


@pytest_twisted.ensureDeferred
async def test_a_push_to_an_address_reaches_the_sessions_there(
    api: API, connected: Connect, silent_node: str, wait_until: WaitUntil
) -> None:
    device, other = await connected(source="127.0.0.2"), await connected()
    answer = await api.push({"ip": "127.0.0.2/31"}, "hello")
    assert (answer["online"], answer["silent"]) == (1, [silent_node])
    await wait_until(lambda: device.client.numbers)
    assert device.client.numbers == ["hello"]
    assert other.client.numbers == []


@pytest.mark.parametrize("ip", ["", "x", "10.0.0.1/8", "1.2.3", "::ffff:10.0.0.0/104"])
@pytest_twisted.ensureDeferred
async def test_an_address_that_is_none_is_refused(api: API, ip: str) -> None:
    body = {"to": {"ip": ip}, "data": 1}
    (await api.post(body)).assert_problem("invalid", "to.ip")
    batch = await api.json("POST", "/v1/push/batch", [body])
    assert batch["results"][0]["field"] == "to.ip"


@pytest_twisted.ensureDeferred
async def test_nothing_collapses_at_an_address(api: API) -> None:
    body = {"to": {"ip": "10.0.0.1"}, "data": 1, "collapse": "c"}
    (await api.post(body)).assert_problem("invalid", "collapse")

"""Live sessions, nodes and users: what is asked, answered and refused."""

from __future__ import annotations

from typing import Any

import pytest

from push.cluster.registry.entry import RegistryEntry
from push.devices.session_query_types import Filter
from push.wire.api.connections import Connection
from push.wire.api.devices import User, UserDevice
from push.wire.api.paging import make_cursor
from push.wire.idents import encode_crockford

TOKEN = encode_crockford(123456789012345678)


def row(session: str) -> Connection:
    return Connection(session, None, "anna", "n1", "192.0.2.1", "tls", 17)


# --- sessions ----------------------------------------------------------------------------------


def test_sessions_are_listed_page_by_page(web: Any) -> None:
    web.behind.sessions = [row("a"), row("b"), row("c")]
    web.behind.silent = ["n2"]
    first = web.request("GET", "/v1/connections?limit=2").json()
    assert first == {
        "connections": [
            {
                "session": name,
                "token": None,
                "user": "anna",
                "node": "n1",
                "ip": "192.0.2.1",
                "carrier": "tls",
                "connected": 17,
            }
            for name in "ab"
        ],
        "cursor": make_cursor("connections", "b"),
        "silent": ["n2"],
    }
    last = web.request("GET", f"/v1/connections?limit=2&cursor={first['cursor']}").json()
    assert [each["session"] for each in last["connections"]] == ["c"]
    assert last["cursor"] is None


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", Filter()),
        ("?node=n1&user=anna&topic=news", Filter(node="n1", user="anna", topic="news")),
        ("?ip=10.0.0.0/8", Filter(ip="10.0.0.0/8")),
        ("?ip=10.1.2.3/32", Filter(ip="10.1.2.3")),
        ("?ip=%3A%3Affff:10.1.2.3", Filter(ip="10.1.2.3")),
        ("?ip=2001:DB8:0::/32", Filter(ip="2001:db8::/32")),
    ],
)
def test_filters_are_read(web: Any, query: str, asked: Filter) -> None:
    assert web.request("GET", f"/v1/connections{query}").status == 200
    assert web.behind.asked == [asked]


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
def test_a_filter_that_is_wrong_is_named(web: Any, query: str, field: str) -> None:
    web.request("GET", f"/v1/connections?{query}").assert_problem("invalid", field)
    assert web.behind.asked == []


@pytest.mark.parametrize(
    ("method", "path", "body", "asked"),
    [
        ("DELETE", "/v1/connections/a", None, Filter(session="a")),
        ("POST", "/v1/connections/kick", {"ip": "192.0.2.0/24"}, Filter(ip="192.0.2.0/24")),
        ("POST", f"/v1/devices/{TOKEN}/kick", None, Filter(token=TOKEN)),
        ("POST", "/v1/users/anna/kick", None, Filter(user="anna")),
    ],
)
def test_sessions_are_kicked(web: Any, method: str, path: str, body: Any, asked: Filter) -> None:
    web.behind.devices[TOKEN] = None
    web.behind.sessions = [row("a")]
    web.behind.silent = ["n2"]
    response = web.request(method, path, body)
    assert (response.status, response.json()) == (200, {"kicked": 1, "silent": ["n2"]})
    assert web.behind.asked == [asked]
    web.request(method, path, body, key="read-key").assert_problem("forbidden")


def test_a_session_that_no_node_has_is_not_found_unless_one_is_silent(web: Any) -> None:
    web.request("DELETE", "/v1/connections/gone").assert_problem("not_found")
    web.behind.silent = ["n2"]
    response = web.request("DELETE", "/v1/connections/gone")
    assert (response.status, response.json()) == (200, {"kicked": 0, "silent": ["n2"]})


def test_who_is_kicked_must_be_someone(web: Any) -> None:
    web.request("POST", "/v1/connections/kick", {"ip": "x"}).assert_problem("invalid", "ip")
    web.request("POST", "/v1/connections/kick", {}).assert_problem("invalid", "ip")
    web.request("POST", "/v1/users/a%20b/kick").assert_problem("invalid", "user")
    web.request("POST", "/v1/devices/x/kick").assert_problem("invalid", "token")
    unknown = encode_crockford(5)
    web.request("POST", f"/v1/devices/{unknown}/kick").assert_problem("unknown_token", "token")
    assert web.behind.asked == []


# --- nodes and users ---------------------------------------------------------------------------


def test_nodes_are_listed(web: Any) -> None:
    web.behind.entries = [
        RegistryEntry(
            service="push-connector",
            instance="n1",
            boot="1" * 16,
            addresses={"tcp": "tcp://n1:6789"},
            sessions=3,
            capacity=10,
            version="1",
            draining=True,
            weight=2,
            zone="z",
            started=5,
        )
    ]
    assert web.request("GET", "/v1/nodes", key="read-key").json() == {
        "nodes": [
            {
                "service": "push-connector",
                "instance": "n1",
                "addresses": {"tcp": "tcp://n1:6789"},
                "sessions": 3,
                "capacity": 10,
                "version": "1",
                "draining": True,
                "weight": 2,
                "zone": "z",
                "started": 5,
            }
        ]
    }


def test_a_user_is_described_and_need_not_exist(web: Any) -> None:
    device = UserDevice("t", "linux", "app", True, "s", "n1", 5)
    web.behind.users["anna"] = User("anna", True, [device], [])
    assert web.request("GET", "/v1/users/anna").json() == {
        "user": "anna",
        "online": True,
        "devices": [
            {
                "token": "t",
                "platform": "linux",
                "app": "app",
                "online": True,
                "session": "s",
                "node": "n1",
                "seen": 5,
            }
        ],
        "silent": [],
    }
    nobody = web.request("GET", "/v1/users/nobody").json()
    assert nobody == {"user": "nobody", "online": False, "devices": [], "silent": []}
    web.request("GET", "/v1/users/a%20b").assert_problem("invalid", "user")


def test_a_user_is_erased_once(web: Any) -> None:
    web.behind.users["anna"] = User("anna", True, [], [])
    web.request("DELETE", "/v1/users/anna", key="push-key").assert_problem("forbidden")
    assert web.request("DELETE", "/v1/users/anna").status == 204
    web.request("DELETE", "/v1/users/anna").assert_problem("not_found")


def test_who_did_not_end_an_erased_users_sessions_is_named(web: Any) -> None:
    web.behind.users["anna"] = User("anna", True, [], [])
    web.behind.silent.append("far")
    answer = web.request("DELETE", "/v1/users/anna")
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
def test_a_push_to_an_address_is_for_now_whatever_its_ttl(
    web: Any, asked: str, pushed: str
) -> None:
    assert web.push({"to": {"ip": asked}, "data": 1, "ttl": 60}).status == 202
    assert web.push({"to": {"ip": asked}, "data": 1}).status == 202
    for target, content in web.behind.pushed:
        assert (target.kind, target.names) == ("ip", (pushed,))
        assert content.ttl_seconds == 0


@pytest.mark.parametrize("ip", ["", "x", "10.0.0.1/8", "1.2.3", "::ffff:10.0.0.0/104"])
def test_an_address_that_is_none_is_refused(web: Any, ip: str) -> None:
    web.push({"to": {"ip": ip}, "data": 1}).assert_problem("invalid", "to.ip")
    batch = web.request("POST", "/v1/push/batch", [{"to": {"ip": ip}, "data": 1}])
    assert batch.json()["results"][0]["field"] == "to.ip"


def test_nothing_collapses_at_an_address(web: Any) -> None:
    body = {"to": {"ip": "10.0.0.1"}, "data": 1, "collapse": "c"}
    web.push(body).assert_problem("invalid", "collapse")

"""Statistics, registration, health and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from push.cluster.registry.entry import RegistryEntry
from push.wire.idents import encode_crockford

TOKEN = encode_crockford(123456789012345678)


# --- statistics --------------------------------------------------------------------------------


def test_statistics_are_summed_over_the_cluster(web: Any) -> None:
    web.behind.entries = [
        RegistryEntry(
            service="push-connector", instance="a", boot="1" * 16, sessions=3, capacity=10
        )
        for _ in range(2)
    ] + [RegistryEntry(service="push-api", instance="b", boot="2" * 16, counters={"pushes": 5})]
    stats = web.request("GET", "/v1/stats", key="read-key").json()
    assert (stats["sessions"], stats["counters"]) == (6, {"pushes": 5})
    assert [node["service"] for node in stats["nodes"]] == ["push-connector"] * 2 + ["push-api"]
    assert stats["nodes"][0]["capacity"] == 10


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


# --- registration ------------------------------------------------------------------------------

REGISTER = {"platform": "linux", "app": "example"}


def test_a_device_is_registered_and_told_where_to_connect(web: Any) -> None:
    response = web.request("POST", "/v1/devices", REGISTER, key="app-key", ip="203.0.113.9")
    assert response.status == 201
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "token": TOKEN,
        "secret": "secret",
        "servers": ["tls://one:6790", "tcp://one:6789"],
    }
    assert web.behind.registered == [
        {**REGISTER, "device": None, "token": None, "secret": None, "ip": "203.0.113.9"}
    ]


def test_a_device_may_register_again_with_what_it_has(web: Any) -> None:
    again = {**REGISTER, "device": "phone", "token": TOKEN, "secret": "s"}
    assert web.request("POST", "/v1/devices", again, key="app-key").status == 201
    assert web.behind.registered[0] == {**again, "ip": "192.0.2.7"}


def test_an_address_is_the_same_over_ipv6_sockets(web: Any) -> None:
    web.request("POST", "/v1/devices", REGISTER, ip="::ffff:192.0.2.1")
    web.request("POST", "/v1/devices", REGISTER, ip="2001:db8::1")
    assert [fields["ip"] for fields in web.behind.registered] == ["192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"platform": "p"}, "app"),
        ({**REGISTER, "key": "app-key"}, "key"),
        ({**REGISTER, "platform": "x" * 65}, "platform"),
        ({**REGISTER, "app": "ü" * 33}, "app"),
        ({**REGISTER, "device": "ü" * 65}, "device"),
        ({**REGISTER, "device": None}, "device"),
        ({**REGISTER, "platform": "a\x1b[2J"}, "platform"),
        ({**REGISTER, "app": "a\n"}, "app"),
        ({**REGISTER, "device": "a\x9b"}, "device"),
        ({**REGISTER, "token": 1, "secret": "s"}, "token"),
    ],
)
def test_a_wrong_field_of_a_registration_is_named(web: Any, body: Any, field: str) -> None:
    web.request("POST", "/v1/devices", body).assert_problem("invalid", field)
    assert web.behind.registered == []


def test_without_servers_a_device_is_registered_all_the_same(web: Any) -> None:
    web.behind.urls = []
    response = web.request("POST", "/v1/devices", REGISTER)
    assert (response.status, response.json()["servers"]) == (201, [])


def test_open_registration_needs_no_key(make_web: Any) -> None:
    web = make_web("sub", open_registration=True)
    assert web.request("POST", "/v1/devices", REGISTER, key=None).status == 201
    assert web.request("GET", "/v1/servers", key=None).status == 200
    web = make_web("sub")
    web.request("POST", "/v1/devices", REGISTER, key=None).assert_problem("unauthenticated")


def test_servers_are_listed_by_carrier(web: Any) -> None:
    every = web.request("GET", "/v1/servers", key="app-key")
    assert every.json() == {"servers": ["tls://one:6790", "tcp://one:6789"], "ttl": 60}
    only = web.request("GET", "/v1/servers?carrier=tcp", key="app-key")
    assert only.json()["servers"] == ["tcp://one:6789"]


def test_when_no_server_is_free_a_device_is_told_when_to_ask_again(web: Any) -> None:
    response = web.request("GET", "/v1/servers?carrier=wss")
    response.assert_problem("unavailable")
    assert int(response.headers["retry-after"]) > 0


# --- health and metrics ------------------------------------------------------------------------


def test_a_process_that_lives_is_well(web: Any) -> None:
    web.behind.problems = ["Redis is unreachable"]
    response = web.request("GET", "/healthz", key=None)
    assert (response.status, response.json()) == (200, {"status": "ok"})


def test_readiness_names_all_reasons(web: Any) -> None:
    assert web.request("GET", "/readyz", key=None).json() == {"status": "ok"}
    web.behind.problems = ["Redis is unreachable", "no certificate"]
    response = web.request("GET", "/readyz", key=None)
    problem = response.assert_problem("unavailable")
    assert problem["reasons"] == ["Redis is unreachable", "no certificate"]
    assert response.headers["retry-after"] == "1"


def test_readiness_says_what_is_less_safe_than_it_could_be(web: Any) -> None:
    web.behind.notes = ["an answered push may be lost"]
    response = web.request("GET", "/readyz", key=None)
    assert (response.status, response.json()) == (
        200,
        {"status": "ok", "notes": ["an answered push may be lost"]},
    )


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_metrics_are_open_on_the_same_machine(web: Any, ip: str) -> None:
    web.request("GET", "/nope")
    response = web.request("GET", "/metrics", key=None, ip=ip)
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert 'push_http_requests_total{route="none",status="404"} 1.0' in response.content.decode()


def test_metrics_need_the_scope_read_from_elsewhere(web: Any) -> None:
    web.request("GET", "/metrics", key=None).assert_problem("unauthenticated")
    assert web.request("GET", "/metrics", key="read-key").status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_on_the_same_machine_does_not_open_metrics(web: Any, header: str) -> None:
    response = web.request(
        "GET", "/metrics", key=None, ip="127.0.0.1", headers={header: "for=198.51.100.1"}
    )
    response.assert_problem("unauthenticated")


# --- compositions ------------------------------------------------------------------------------


def test_each_daemon_serves_its_own_routes(make_web: Any) -> None:
    api, sub = make_web("api"), make_web("sub")
    api.request("POST", "/v1/devices", REGISTER).assert_problem("not_found")
    sub.request("POST", "/v1/push", {}).assert_problem("not_found")
    assert api.request("GET", "/v1/stats").status == 200
    assert sub.request("GET", "/v1/servers").status == 200
    for web in (api, sub):
        assert web.request("GET", "/readyz").status == 200


def test_a_daemon_without_apps_has_health_and_metrics(make_only_common: Any) -> None:
    web = make_only_common()
    assert web.request("GET", "/healthz").status == 200
    assert web.request("GET", "/metrics").status == 200
    assert web.request("GET", "/docs").status == 200
    web.request("POST", "/v1/push", {}).assert_problem("not_found")

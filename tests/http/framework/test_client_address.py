"""Whose request it is, directly and behind reverse proxies that are trusted or are not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.http.framework.client_address import forwarded_ip
from push.wire.addresses import UNKNOWN_IP, Networks, plain_ip

PROXIES = ("10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48")
NETWORKS = Networks(PROXIES)
PROXY = "10.0.0.1"
REGISTER = {"platform": "p", "app": "a"}


def seen_ip(web: Any, *forwarded: str, ip: str = PROXY) -> str:
    """The address that a handler gets for a request from `ip`."""
    headers = {"X-Forwarded-For": list(forwarded)}
    response = web.request("POST", "/v1/devices", REGISTER, ip=ip, headers=headers)
    assert response.status == 201
    return str(web.behind.registered[-1]["ip"])


@pytest.fixture
def web(make_web: Any) -> Any:
    return make_web(trusted_proxies=PROXIES)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["198.51.100.7,10.0.0.2,\t10.0.0.3"], "198.51.100.7"),
        (["198.51.100.7", "10.0.0.2"], "198.51.100.7"),  # HAProxy adds a header of its own
        (["2001:DB8::7"], "2001:db8::7"),
        (["2001:db8::7, 2001:db8:ffff::1"], "2001:db8::7"),
        (["::ffff:198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["127.0.0.2"], "127.0.0.2"),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),  # all trusted: where it began
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(
    web: Any, forwarded: list[str], client: str
) -> None:
    assert seen_ip(web, *forwarded) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        (["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        (["10.0.0.2, 198.51.100.7, 10.0.0.3"], "198.51.100.7"),
        (["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
        (["nonsense, 198.51.100.7"], "198.51.100.7"),
        ([", 198.51.100.7"], "198.51.100.7"),
    ],
)
def test_what_a_client_wrote_itself_is_not_believed(
    web: Any, forwarded: list[str], client: str
) -> None:
    assert seen_ip(web, *forwarded) == client


@pytest.mark.parametrize(
    "entry",
    [
        *("", " ", "unknown", "_hidden", "198.51.100", "198.51.100.7.8", "198.51.100.07"),
        *("198.51.100.7:", "198.51.100.7:123456", "198.51.100.7/32", "[]", "[]:1", "[::1"),
        *("::1]", "[198.51.100.7", "fe80::1%eth0", '"198.51.100.7"', "for=198.51.100.7", ":80"),
        *("198.51.100.7 198.51.100.8", "\udcff", "é", "localhost", "0.0.0.0", "::", "[::]:80"),
        "::ffff:0.0.0.0",
    ],
)
def test_with_an_entry_that_is_no_address_the_client_is_not_known(web: Any, entry: str) -> None:
    """Neither what stands before it nor the proxy that wrote it is the client."""
    assert seen_ip(web, f"1.1.1.1, {entry}, 10.0.0.2") == UNKNOWN_IP
    assert seen_ip(web, f"1.1.1.1, {entry}") == UNKNOWN_IP
    assert seen_ip(web, "1.1.1.1", entry, "10.0.0.2") == UNKNOWN_IP
    assert seen_ip(web, entry) == UNKNOWN_IP


def test_without_the_header_the_client_of_a_trusted_proxy_is_not_known(web: Any) -> None:
    assert seen_ip(web) == UNKNOWN_IP


@pytest.mark.parametrize("ip", ["192.0.2.7", "127.0.0.2", "2001:db8::1", "11.0.0.1"])
def test_who_is_no_trusted_proxy_is_not_believed(web: Any, ip: str) -> None:
    assert seen_ip(web, "198.51.100.7", ip=ip) == ip


def test_a_trusted_proxy_is_known_on_an_ipv6_socket(web: Any) -> None:
    assert seen_ip(web, "198.51.100.7", ip="::ffff:10.0.0.1") == "198.51.100.7"
    assert seen_ip(web, "198.51.100.7", ip="2001:db8:ffff::1") == "198.51.100.7"


def test_without_trusted_proxies_the_peer_is_the_client(make_web: Any) -> None:
    web = make_web()
    for ip in ("127.0.0.1", "10.0.0.1"):
        assert seen_ip(web, "198.51.100.7", ip=ip) == ip


@pytest.mark.parametrize("ip", ["127.0.0.1", PROXY])
@pytest.mark.parametrize(
    "headers",
    [
        {},  # a proxy that does not say whom it passes on
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "::1"},
        {"X-Forwarded-For": "127.0.0.1, 127.0.0.1"},
        {"X-Forwarded-For": ["127.0.0.1", "nonsense"]},
        {"Forwarded": "for=127.0.0.1"},
    ],
)
def test_metrics_are_never_open_through_a_trusted_proxy(
    web: Any, ip: str, headers: dict[str, Any]
) -> None:
    response = web.request("GET", "/metrics", key=None, ip=ip, headers=headers)
    response.assert_problem("unauthenticated")
    assert web.request("GET", "/metrics", key="read-key", ip=ip, headers=headers).status == 200


def test_metrics_stay_open_to_this_machine_where_it_is_no_proxy(make_web: Any) -> None:
    web = make_web(trusted_proxies=("10.0.0.0/8",))
    assert web.request("GET", "/metrics", key=None, ip="127.0.0.1").status == 200


ENTRIES = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["10.0.0.2", "127.0.0.1", "", "unknown", "1.1.1.1:80"]),
    st.text(max_size=8),
)


@given(st.lists(ENTRIES, max_size=6), st.ip_addresses().map(str), st.integers(0, 3))
def test_the_address_that_a_trusted_proxy_heard_wins_over_all_before(
    spoofed: list[str], client: str, proxies: int
) -> None:
    client = plain_ip(client)
    if client in NETWORKS or client in ("0.0.0.0", "::"):
        return
    chain = [*spoofed, client, *["10.0.0.2"] * proxies]
    value = ", ".join(chain).encode("utf-8", "replace")
    assert forwarded_ip(PROXY, [value], NETWORKS) == client


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_whatever_is_sent_the_answer_is_an_address_or_not_known(values: list[bytes]) -> None:
    ip = forwarded_ip(PROXY, values, NETWORKS)
    assert ip == UNKNOWN_IP or plain_ip(ip) == ip

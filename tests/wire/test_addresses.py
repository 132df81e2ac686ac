"""Addresses in one spelling, and which networks they are in."""

from __future__ import annotations

import pytest

from push.wire.addresses import (
    HostPort,
    Networks,
    parse_network,
    peer_ip,
    plain_ip,
    without_secrets,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("::1", "::1"),
    ],
)
def test_each_address_has_one_spelling(text: str, plain: str) -> None:
    assert plain_ip(text) == plain
    assert peer_ip(text) == plain


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "01.2.3.4", "1.2.3.4:5", "fe80::1%eth0", " ::1", "1.2.3.4/32"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_ip(text)


@pytest.mark.parametrize(
    ("host", "ip"), [(None, ""), ("", ""), ("fe80::1%eth0", "fe80::1%eth0"), ("h", "h")]
)
def test_a_peer_is_taken_as_the_socket_says(host: str | None, ip: str) -> None:
    assert peer_ip(host) == ip


NETWORKS = Networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "fe80::/10"])


@pytest.mark.parametrize(
    "ip", ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:1::5", "fe80::1%eth0"]
)
def test_a_network_contains_its_addresses(ip: str) -> None:
    assert ip in NETWORKS


@pytest.mark.parametrize("ip", ["11.0.0.0", "192.0.2.8", "2001:db9::", "::1", "", "host", "%"])
def test_a_network_contains_nothing_else(ip: str) -> None:
    assert ip not in NETWORKS
    assert ip not in Networks()


def test_an_empty_list_is_false() -> None:
    assert not Networks()
    assert NETWORKS


@pytest.mark.parametrize(
    "text",
    ["", "x", "10.0.0.1/8", "10.0.0.0/33", "::/129", "fe80::%eth0/64", "::ffff:10.0.0.0/104", "1"],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a.example:80", "a.example", 80),
        ("[::1]:0", "::1", 0),
        ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
    ],
)
def test_a_host_and_port_are_read_and_written(text: str, host: str, port: int) -> None:
    assert HostPort.parse(text) == (host, port)
    assert str(HostPort(host, port)) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", ":80", "::1", "::1:80", "[::1]", "a:", "a:b", "a:65536", "a b:1", "u@a:1"],
)
def test_what_is_no_host_and_port_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected host:port|65536 is not a port"):
        HostPort.parse(text)


def test_a_port_may_have_a_default() -> None:
    assert HostPort.parse("a", 2181) == ("a", 2181)
    assert HostPort.parse("[::1]", 2181) == ("::1", 2181)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hush@Example.com:8443/hush?hush=hush#hush", "https://example.com:8443"),
        ("https://:hush@[::1]:6380/1", "https://[::1]:6380"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://hush@example.com:hush/", "redacted"),
        ("https://[hush", "redacted"),
        ("/hush", "redacted"),
        ("hush:hush", "redacted"),
        ("", "redacted"),
    ],
)
def test_of_a_url_only_the_origin_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown

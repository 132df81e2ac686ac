"""The table of networks finds what `ipaddress` finds, by as many look-ups as there are lengths."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push.access.network_table import NetworkTable
from push.wire.addresses import normal_network
from tests.amounts import amount

MANY = settings(max_examples=amount(100, 1000), deadline=None)
# Few values, close together, so that networks meet and lie in each other.
OCTETS = st.sampled_from([0, 1, 10, 127, 128, 254, 255])
IPV4_BITS = st.tuples(OCTETS, OCTETS, OCTETS, OCTETS).map(lambda parts: int.from_bytes(parts))
WORDS = st.sampled_from([b"\x00\x00", b"\x20\x01", b"\xff\xff", b"\x80\x00", b"\x00\x01"])
IPV6_BITS = st.lists(WORDS, min_size=8, max_size=8).map(lambda w: int.from_bytes(b"".join(w)))


def network_of(bits: int, length: int, width: int) -> str | None:
    shift = width - length
    kind = IPv4Network if width == 32 else IPv6Network
    try:
        return normal_network(str(kind((bits >> shift << shift, length))))
    except ValueError:
        return None  # an IPv4 network, written as IPv6


NETWORKS = st.one_of(
    st.builds(network_of, IPV4_BITS, st.integers(0, 32), st.just(32)),
    st.builds(network_of, IPV6_BITS, st.integers(0, 128), st.just(128)),
).filter(lambda found: found is not None)
ADDRESSES = st.one_of(
    IPV4_BITS.map(lambda bits: str(ip_address(bits))),
    IPV6_BITS.map(lambda bits: str(IPv6Address(bits))),
    IPV4_BITS.map(lambda bits: f"::ffff:{ip_address(bits)}"),
)


def expected(networks: dict[str, int], ip: str) -> list[int]:
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return sorted(value for text, value in networks.items() if address in ip_network(text))


@MANY
@given(
    st.lists(st.tuples(NETWORKS, st.integers(0, 5)), max_size=40),
    st.lists(NETWORKS, max_size=20),
    st.lists(ADDRESSES, max_size=20),
)
def test_it_finds_the_networks_that_ipaddress_finds(
    added: list[tuple[str, int]], removed: list[str], ips: list[str]
) -> None:
    table, known = NetworkTable(), {}
    for text, value in added:
        table.set(text, value)
        known[text] = value
    for text in [*removed, *(text for text, _ in added[::3])]:
        table.remove(text)
        known.pop(text, None)
    assert bool(table) == bool(known)
    firsts = [str(ip_network(text)[0]) for text in known]
    for ip in [*ips, *firsts]:
        found = expected(known, ip)
        assert sorted(table.matching(ip)) == found
        assert (ip in table) == bool(found)


def test_an_address_is_looked_up_once_for_each_length_however_many_networks_there_are() -> None:
    table = NetworkTable()
    for number in range(5000):
        table.set(f"10.{number >> 8}.{number & 255}.0/24", number)
        table.set(f"2001:db8:{number:x}::/48", number)
        table.set(f"192.0.{number >> 8}.{number & 255}", number)
    assert (len(table._ipv4), len(table._ipv6)) == (2, 1)
    assert list(table.matching("10.1.2.3")) == [258]
    assert list(table.matching("2001:db8:102:5::1")) == [258]
    assert list(table.matching("192.0.1.2")) == [258]
    for number in range(5000):
        table.remove(f"10.{number >> 8}.{number & 255}.0/24")
        table.remove(f"2001:db8:{number:x}::/48")
        table.remove(f"192.0.{number >> 8}.{number & 255}")
    assert not table._ipv4
    assert not table._ipv6


@pytest.mark.parametrize("text", ["", "unknown", "host.example", "1.2.3", "1.2.3.4.5", "::g", "\0"])
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    table = NetworkTable()
    table.set("0.0.0.0/0", 1)
    table.set("::/0", 1)
    assert text not in table


def test_a_zone_does_not_count() -> None:
    table = NetworkTable()
    table.set("fe80::/10", 1)
    assert "fe80::1%eth0" in table


@pytest.mark.parametrize(
    "text", ["", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    table = NetworkTable()
    with pytest.raises(ValueError, match=r"not|invalid"):
        table.set(text, 1)
    assert not table

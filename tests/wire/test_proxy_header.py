"""The PROXY protocol's header: read whole, byte by byte and with data behind it; and nonsense."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from push.wire.proxy_header import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    V2_START,
    BadProxyHeader,
    ProxyHeader,
    parse_proxy_header,
)

TCP4, TCP6 = 0x11, 0x21


def v2(family: int, rest: bytes, command: int = 0x21) -> bytes:
    return V2_START + struct.pack("!BBH", command, family, len(rest)) + rest


def v2_of(source: str, port: int, tlvs: bytes = b"") -> bytes:
    ip = ip_address(source)
    other = ip_address("192.0.2.1" if ip.version == 4 else "2001:db8::1")
    packed = ip.packed + other.packed + struct.pack("!HH", port, 6789)
    return v2(TCP4 if ip.version == 4 else TCP6, packed + tlvs)


LONGEST_V1 = (
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(MAX_V1_BYTES - 2, b"x")
    + b"\r\n"
)
GOOD = [
    (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 6789\r\n", ("198.51.100.7", 4711)),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ("0.0.0.0", 0)),
    (b"PROXY TCP6 2001:DB8:0::7 ::1 4711 6789\r\n", ("2001:db8::7", 4711)),
    (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 4711 6789\r\n", ("198.51.100.7", 4711)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever it says\r\n", None),
    (LONGEST_V1, None),
    (v2_of("198.51.100.7", 4711), ("198.51.100.7", 4711)),
    (v2_of("2001:db8::7", 65535), ("2001:db8::7", 65535)),
    (v2_of("::ffff:198.51.100.7", 0), ("198.51.100.7", 0)),
    (v2_of("198.51.100.7", 1, b"\x01\x00\x02h2"), ("198.51.100.7", 1)),
    (v2_of("198.51.100.7", 1, b"\x04" * (MAX_V2_BYTES - 28)), ("198.51.100.7", 1)),
    (v2(0, b""), None),
    (v2(0, b"ignored"), None),
    (v2(0, b"", command=0x20), None),
    (v2(TCP4, bytes(12), command=0x20), None),
    (v2(TCP4, b"", command=0x20), None),
    (v2(0x31, bytes(216), command=0x20), None),
]


@pytest.mark.parametrize(("data", "source"), GOOD)
def test_a_header_is_read_wherever_it_is_cut(data: bytes, source: tuple[str, int] | None) -> None:
    for size in range(len(data)):
        assert parse_proxy_header(data[:size]) is None
    assert parse_proxy_header(data) == ProxyHeader(len(data), source)
    assert parse_proxy_header(data + b"\xf8\x02\r\n") == ProxyHeader(len(data), source)


@pytest.mark.parametrize(
    ("data", "wrong_at"),
    [
        (b"\xf8\x02\x06", 0),  # a frame
        (b"\x16\x03\x01", 0),  # TLS
        (b"GET / HTTP/1.1\r\n", 0),
        (b"proxy TCP4", 0),
        (b"PROXY\r\n", 5),
        (b"PROXY\tTCP4", 5),
        (b"\r\n\r\n\x00\r\nQUIT\r", 11),
        (V2_START + b"\x11", 12),
        (V2_START + b"\x22", 12),
        (V2_START + b"\x00", 12),
        (v2(TCP4, bytes(MAX_V2_BYTES - 15)), 15),
        (v2(TCP4, bytes(11)), 15),
        (v2(TCP6, bytes(35)), 15),
        (v2(0x12, bytes(12)), 15),  # UDP
        (v2(0x22, bytes(36)), 15),
        (v2(0x31, bytes(216)), 15),  # a unix socket
        (v2(0x10, bytes(12)), 15),
        (v2(0x41, bytes(12)), 15),
        (b"PROXY UNKNOWN ".ljust(200, b"x") + b"\r\n", MAX_V1_BYTES - 1),
        (LONGEST_V1[:-2] + b"x\r\n", MAX_V1_BYTES - 1),
    ],
)
def test_a_bad_header_is_refused_as_soon_as_it_is_seen(data: bytes, wrong_at: int) -> None:
    assert parse_proxy_header(data[:wrong_at]) is None
    for size in range(wrong_at + 1, len(data) + 1):
        with pytest.raises(BadProxyHeader):
            parse_proxy_header(data[:size])


@pytest.mark.parametrize(
    "line",
    [
        "PROXY ",
        "PROXY  TCP4 198.51.100.7 192.0.2.1 1 2",
        "PROXY TCP 198.51.100.7 192.0.2.1 1 2",
        "PROXY tcp4 198.51.100.7 192.0.2.1 1 2",
        "PROXY UDP4 198.51.100.7 192.0.2.1 1 2",
        "PROXY UNKNOWNS",
        "PROXY TCP4",
        "PROXY TCP4 198.51.100.7 192.0.2.1 1",
        "PROXY TCP4 198.51.100.7 192.0.2.1 1 2 3",
        "PROXY TCP4 198.51.100.7  192.0.2.1 1 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 1 2 ",
        "PROXY TCP4 198.51.100.256 192.0.2.1 1 2",
        "PROXY TCP4 198.51.100.07 192.0.2.1 1 2",
        "PROXY TCP4 198.51.100.7 host 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 198.51.100.7 192.0.2.1 1 2",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2",
        "PROXY TCP6 [::1] ::1 1 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 65536 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 1 65536",
        "PROXY TCP4 198.51.100.7 192.0.2.1 -1 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 01 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 +1 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 1\n 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 1_0 2",
        "PROXY TCP4 198.51.100.\N{SUPERSCRIPT SEVEN} 192.0.2.1 1 2",
        "PROXY TCP4 198.51.100.7 192.0.2.1 \N{SUPERSCRIPT TWO} 2",
    ],
)
def test_a_bad_line_is_refused_at_its_end(line: str) -> None:
    data = line.encode()
    assert parse_proxy_header(data) is None
    assert parse_proxy_header(data + b"\r") is None
    with pytest.raises(BadProxyHeader):
        parse_proxy_header(data + b"\r\n")


STARTS = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", V2_START, V2_START + b"\x21\x11\x00"]
)


@given(STARTS, st.binary(max_size=300))
@example(b"", b"")
def test_random_bytes_give_a_header_more_or_the_one_error(start: bytes, rest: bytes) -> None:
    data = start + rest
    try:
        header = parse_proxy_header(data)
    except BadProxyHeader:
        return
    assert header is None or header.size <= len(data)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50), st.booleans())
def test_every_address_comes_through(
    address: object, port: int, behind: bytes, binary: bool
) -> None:
    text = str(address)
    if "%" in text:
        return
    if binary:
        data = v2_of(text, port)
    else:
        family = "TCP6" if ":" in text else "TCP4"
        data = f"PROXY {family} {text} {text} {port} 1\r\n".encode()
    header = parse_proxy_header(data + behind)
    assert header is not None
    assert header.size == len(data)
    mapped = getattr(address, "ipv4_mapped", None)
    assert header.source == (str(mapped or address), port)

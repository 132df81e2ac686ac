"""Which of many networks an address is in, without a look at each of them.

The networks of one prefix length are one dictionary, by the bits of their prefix. An address is
looked up once for each length that is in use: at most 33 times for IPv4 and 129 for IPv6, however
many networks there are. An IPv6 form of an IPv4 address (`::ffff:192.0.2.1`) is that IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET, AF_INET6, inet_pton

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
# Which bits are left when those behind the prefix are shifted out, by the number of the latter.
_ByShift = dict[int, dict[int, int]]


class NetworkTable:
    """A number for each network. Networks as `push.wire.addresses.normal_network` writes them: a
    single address is a network of one."""

    __slots__ = ("_ipv4", "_ipv6")

    def __init__(self) -> None:
        self._ipv4: _ByShift = {}
        self._ipv6: _ByShift = {}

    def __bool__(self) -> bool:
        return bool(self._ipv4 or self._ipv6)

    def set(self, network: str, value: int) -> None:
        """In place of an earlier value of the same network. Raises ValueError."""
        by_shift, shift, prefix = self._place(network)
        by_shift.setdefault(shift, {})[prefix] = value

    def remove(self, network: str) -> None:
        """Does nothing for one that is not there. Raises ValueError."""
        by_shift, shift, prefix = self._place(network)
        prefixes = by_shift.get(shift, {})
        prefixes.pop(prefix, None)
        if not prefixes:
            by_shift.pop(shift, None)

    def matching(self, ip: str) -> Iterator[int]:
        """The values of the networks that an address is in; of what is no address, none."""
        by_shift, address = self._ipv4, _packed(ip)
        if len(address) > 4:
            if address.startswith(MAPPED_PREFIX):
                address = address[len(MAPPED_PREFIX) :]
            else:
                by_shift = self._ipv6
        if not address:
            return
        bits = int.from_bytes(address)
        for shift, prefixes in by_shift.items():
            value = prefixes.get(bits >> shift)
            if value is not None:
                yield value

    def __contains__(self, ip: str) -> bool:
        return any(True for _ in self.matching(ip))

    def _place(self, network: str) -> tuple[_ByShift, int, int]:
        first, slash, length = network.partition("/")
        packed = _packed(first)
        if not packed:
            raise ValueError("not an address or a network")
        by_shift = self._ipv4 if len(packed) == 4 else self._ipv6
        shift = 8 * len(packed) - int(length) if slash else 0
        bits = int.from_bytes(packed)
        if not 0 <= shift <= 8 * len(packed) or bits >> shift << shift != bits:
            raise ValueError("not the prefix of a network")
        return by_shift, shift, bits >> shift


def _packed(ip: str) -> bytes:
    """The bytes of an address, whose zone (`%eth0`) does not count; b"" of another text."""
    try:
        if ":" in ip:
            return inet_pton(AF_INET6, ip.partition("%")[0])
        return inet_pton(AF_INET, ip)
    except (OSError, ValueError):
        return b""

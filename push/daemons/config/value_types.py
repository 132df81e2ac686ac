"""The kinds of value a setting may have, beside numbers and text: each parses what a user wrote.

A kind is a text with `parse(value)`, which raises ValueError with what would have been right.
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

from push.redis.connection.url import parse_store_url
from push.wire.addresses import HostPort, parse_network
from push.wire.websocket.origins import ANY, SAME_HOST, normal_origin

ZOOKEEPER_PORT = 2181

_ZOOKEEPER = re.compile(r"(?:[^\s@:/,]+:[^\s@/,]+@)?(?P<hosts>[^\s@/]*)(?:/\S*)?")
_BYTES_OF_UNIT = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MEMORY = re.compile(
    r"(?P<percent>[1-9][0-9]?|100)%|0|(?P<number>[1-9][0-9]{0,8})(?P<unit>KiB|MiB|GiB)", re.ASCII
)
_VISIBLE = re.compile("[!-~]+")
_LISTEN_FORM = 'expected "host:port", "[ipv6]:port", or "" for off'


class ListenAddress(str):
    """Where to listen: `host:port`, `[ipv6]:port`, "" for off. Port 0: the system chooses."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        if not isinstance(value, str):
            raise ValueError(_LISTEN_FORM)
        if value:
            try:
                HostPort.parse(value)
            except ValueError as error:
                raise ValueError(error if "not a port" in str(error) else _LISTEN_FORM) from None
        return cls(value)

    @property
    def enabled(self) -> bool:
        return bool(self)

    @property
    def host(self) -> str:
        """Without brackets, as the reactor's `interface`; "" when off."""
        return HostPort.parse(self).host if self else ""

    @property
    def port(self) -> int:
        return HostPort.parse(self).port if self else 0


class RedisUrl(str):
    """`embedded`, or the URL of a server, or a list of them. May hold a password: not for logs."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        several = isinstance(value, list)
        expected = "expected a list of URLs" if several else 'expected "embedded" or a URL'
        listed = value if isinstance(value, list) else [value]
        urls = [url for url in listed if isinstance(url, str)]
        if not urls or len(urls) < len(listed):
            raise ValueError(expected)
        if value != "embedded":
            addresses = set()
            for url in urls:
                try:
                    addresses.add(str(parse_store_url(url)))
                except ValueError as error:
                    raise ValueError(f"{expected}; {error}") from None
            if len(addresses) < len(urls):
                raise ValueError("the list names one server twice")
        return cls(" ".join(urls))  # a URL has no spaces

    @property
    def embedded(self) -> bool:
        return self == "embedded"

    @property
    def urls(self) -> list[str]:
        """The servers in their order."""
        return self.split(" ")

    @property
    def tls(self) -> bool:
        return any(url.startswith("rediss") for url in self.urls)


class ZooKeeperHosts(str):
    """`user:password@host:port,host:port/path`. Written as one string or as a list.

    May hold a password: not for logs.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        found = _ZOOKEEPER.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise cls._wrong()
        try:
            for host in found["hosts"].split(",") if text else ():
                HostPort.parse(host, ZOOKEEPER_PORT)
        except ValueError:
            raise cls._wrong() from None
        return cls(text)

    @staticmethod
    def _wrong() -> ValueError:
        return ValueError(
            'expected "host:port,host:port", with an optional user:password@ before and an '
            "optional /path after it"
        )


class PublicUrl(str):
    """`tcp://host:port`, `tls://host:port`, `ws://host:port/ws` or `wss://…`, as clients get it.

    A WebSocket may be behind a reverse proxy: with another path, and on the usual port.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
            raise cls._wrong()
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise cls._wrong() from None
        is_web_socket = parts.scheme in ("ws", "wss")
        if not (is_web_socket or parts.scheme in ("tcp", "tls")):
            raise cls._wrong()
        extra = parts.query or parts.fragment or "@" in parts.netloc
        if not host or extra or bool(parts.path) != is_web_socket or port == 0:
            raise cls._wrong()
        if port is None and not is_web_socket:
            raise cls._wrong()
        return cls(value)

    @staticmethod
    def _wrong() -> ValueError:
        return ValueError(
            'expected "tcp://host:port", "tls://host:port", "ws://host:port/ws" or '
            '"wss://host:port/ws"'
        )


class Origin(str):
    """An origin of web pages, `same-host` or `*`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        if not isinstance(value, str):
            raise ValueError('expected an origin, as "https://example.com", "same-host" or "*"')
        return cls(value if value in (SAME_HOST, ANY) else normal_origin(value))


class MemorySize(str):
    """A share of the machine's memory (`60%`), or a size (`512MiB`, `2GiB`). "0": no limit."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not _MEMORY.fullmatch(text):
            raise ValueError('expected a share of the memory, as "60%", a size, as "512MiB", or 0')
        return cls(text)

    def bytes_of(self, total_bytes: int) -> int:
        """How much that is, on a machine with `total_bytes`."""
        found = _MEMORY.fullmatch(self)
        assert found is not None, "parse has checked it"
        if found["percent"]:
            return total_bytes * int(found["percent"]) // 100
        return int(found["number"] or 0) * _BYTES_OF_UNIT[found["unit"] or ""]


class Sha256(str):
    """A SHA-256 digest in hexadecimal, in lower case."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        if not isinstance(value, str) or not re.fullmatch("[0-9A-Fa-f]{64}", value):
            raise ValueError("expected a SHA-256 digest of 64 hexadecimal digits")
        return cls(value.lower())


class Network(str):
    """An address, or a network in CIDR notation."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        expected = 'expected an address or a network, as "10.0.0.0/8"'
        if not isinstance(value, str):
            raise ValueError(expected)
        try:
            parse_network(value)
        except ValueError as error:
            raise ValueError(f"{expected}: {error}") from None
        return cls(value)

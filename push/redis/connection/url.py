"""Where a Redis server is, or the sentinels that know it, read from a URL."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from push.wire.addresses import HostPort

SCHEMES = ("redis", "rediss", "unix")
SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26379
SENTINEL_FORM = "redis+sentinel://[user:password@]host:port,host:port/master[/database]"


class RedisAddress(NamedTuple):
    """A server and the credentials for it. `path` is set for a unix socket, `host` otherwise."""

    host: str = ""
    port: int = 6379
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        """For people and logs: never with the password."""
        if self.path:
            return f"unix://{self.path}"
        scheme = SCHEMES[self.tls]
        return f"{scheme}://{HostPort(self.host, self.port)}/{self.database}"


class SentinelAddress(NamedTuple):
    """A master by its name, and the sentinels to ask for it, each with the credentials for it."""

    sentinels: tuple[RedisAddress, ...]
    master: str
    database: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        """For people and logs: never with a password."""
        hosts = ",".join(str(HostPort(one.host, one.port)) for one in self.sentinels)
        scheme = SENTINEL_SCHEMES[self.tls]
        return f"{scheme}://{hosts}/{self.master}/{self.database}"

    def at(self, host: str, port: int) -> RedisAddress:
        """The master, where a sentinel says it is."""
        return RedisAddress(
            host=host,
            port=port,
            database=self.database,
            username=self.username,
            password=self.password,
            tls=self.tls,
        )


StoreAddress = RedisAddress | SentinelAddress


def parse_store_url(url: str) -> StoreAddress:
    """What `[redis] url` may be: a server, or a master behind sentinels. Raises ValueError."""
    if url.partition("://")[0] in SENTINEL_SCHEMES:
        return parse_sentinel_url(url)
    return parse_redis_url(url)


def parse_redis_url(url: str) -> RedisAddress:
    """`redis://`, `rediss://` (TLS) or `unix:///path`; raises ValueError with what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(
            "a Redis URL begins with redis://, rediss://, unix:// or redis+sentinel://"
        )
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("a unix:// URL needs a path")
        return RedisAddress(path=parts.path, username=username, password=password)
    if not parts.hostname:
        raise ValueError("a Redis URL needs a host")
    database = parts.path.lstrip("/") or "0"
    if not database.isdigit():
        raise ValueError(f"{database!r} is not a database number")
    return RedisAddress(
        host=parts.hostname,
        port=parts.port or 6379,
        database=int(database),
        username=username,
        password=password,
        tls=parts.scheme == "rediss",
    )


def parse_sentinel_url(url: str) -> SentinelAddress:
    """`SENTINEL_FORM`, or with TLS everywhere `rediss+sentinel://`. Raises ValueError.

    User and password are for the servers, and for the sentinels too unless the query says
    otherwise: `?sentinel_username=…&sentinel_password=…`, an empty password for none.
    """
    # By hand: for `urlsplit` several hosts are none.
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    name, _, password_text = userinfo.partition(":")
    username, password = unquote(name) or None, unquote(password_text) or None
    tls = scheme == SENTINEL_SCHEMES[True]
    asked_as = _sentinel_credentials(query, (username, password))
    sentinels = tuple(_sentinel(text, tls, asked_as) for text in hosts.split(","))
    master, _, database = path.partition("/")
    master = unquote(master)
    if not master:
        raise ValueError(f"the name of the master is missing: expected {SENTINEL_FORM}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", master):
        raise ValueError("a master's name has letters, digits, dots, dashes and underscores")
    if not re.fullmatch(r"\d*", database, re.ASCII):
        raise ValueError("after the master's name comes a database number")
    return SentinelAddress(sentinels, master, int(database or 0), username, password, tls)


def _sentinel(text: str, tls: bool, credentials: tuple[str | None, str | None]) -> RedisAddress:
    try:
        host, port = HostPort.parse(text, SENTINEL_PORT)
    except ValueError:
        port = 0
    if not port:
        # Not quoted in the error: a text that looks like a host may be a part of a password.
        raise ValueError(f"expected {SENTINEL_FORM}, with the user and password percent-encoded")
    username, password = credentials
    return RedisAddress(host=host, port=port, username=username, password=password, tls=tls)


def _sentinel_credentials(
    query: str, default: tuple[str | None, str | None]
) -> tuple[str | None, str | None]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = given.keys() - {"sentinel_username", "sentinel_password"}
    if unknown:
        raise ValueError("after the ? only sentinel_username and sentinel_password are allowed")
    if not given:
        return default
    return given.get("sentinel_username") or None, given.get("sentinel_password") or None

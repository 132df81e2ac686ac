"""Where a Redis server is, read from a URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix")


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
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.database}"


def parse_redis_url(url: str) -> RedisAddress:
    """`redis://`, `rediss://` (TLS) or `unix:///path`; raises ValueError with what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
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

from __future__ import annotations

from typing import Any

import pytest

from push.redis.connection.url import (
    RedisAddress,
    SentinelAddress,
    parse_redis_url,
    parse_store_url,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host", RedisAddress(host="host")),
        ("redis://host:1234/7", RedisAddress(host="host", port=1234, database=7)),
        ("redis://host/", RedisAddress(host="host")),
        ("redis://:p%40ss@host", RedisAddress(host="host", password="p@ss")),
        ("redis://me:word@host", RedisAddress(host="host", username="me", password="word")),
        ("rediss://host:6380", RedisAddress(host="host", port=6380, tls=True)),
        ("redis://[::1]:6380", RedisAddress(host="::1", port=6380)),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        (
            "unix://:word@/run/redis.sock",
            RedisAddress(path="/run/redis.sock", password="word"),
        ),
    ],
)
def test_a_url_is_read(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://host",
        "redis://",
        "redis://host/x",
        "redis://host/-1",
        "redis://host:port",
        "redis://host:70000",
        "unix://",
    ],
)
def test_what_is_no_url_of_a_server_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_redis_url(url)


def sentinel(host: str, port: int = 26379, **more: Any) -> RedisAddress:
    return RedisAddress(host=host, port=port, **more)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis+sentinel://a/m", SentinelAddress((sentinel("a"),), "m")),
        (
            "redis+sentinel://a:1,[::1]:2,c/my.master-1/3",
            SentinelAddress(
                (sentinel("a", 1), sentinel("::1", 2), sentinel("c")), "my.master-1", 3
            ),
        ),
        (
            "redis+sentinel://me:p%40ss@a/m",
            SentinelAddress(
                (sentinel("a", username="me", password="p@ss"),),
                "m",
                username="me",
                password="p@ss",
            ),
        ),
        (
            "redis+sentinel://:word@a/m?sentinel_username=s&sentinel_password=o%26ther",
            SentinelAddress(
                (sentinel("a", username="s", password="o&ther"),), "m", password="word"
            ),
        ),
        (
            "redis+sentinel://me:word@a/m?sentinel_password=",
            SentinelAddress((sentinel("a"),), "m", username="me", password="word"),
        ),
        ("rediss+sentinel://a/m", SentinelAddress((sentinel("a", tls=True),), "m", tls=True)),
    ],
)
def test_a_url_of_sentinels_is_read(url: str, address: SentinelAddress) -> None:
    assert parse_store_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel:///m",
        "redis+sentinel://a,,b/m",
        "redis+sentinel://a:port/m",
        "redis+sentinel://a:70000/m",
        "redis+sentinel://a/m/x",
        "redis+sentinel://a/m/0/1",
        "redis+sentinel://a/m?password=x",
        "redis+sentinel://a/m m",
        "sentinel://a/m",
    ],
)
def test_what_is_no_url_of_sentinels_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_store_url(url)


def test_the_master_has_the_credentials_of_the_url_wherever_it_is() -> None:
    address = parse_store_url("rediss+sentinel://me:word@a/m/2?sentinel_password=")
    assert isinstance(address, SentinelAddress)
    assert address.at("b", 7) == RedisAddress(
        host="b", port=7, database=2, username="me", password="word", tls=True
    )


def test_a_password_is_never_shown() -> None:
    both = "redis+sentinel://me:secret@a/m?sentinel_password=secret"
    assert str(parse_store_url(both)) == "redis+sentinel://a:26379/m/0"
    assert "secret" not in str(parse_redis_url("redis://me:secret@host:1/2"))
    assert "secret" not in str(parse_redis_url("unix://:secret@/run/redis.sock"))

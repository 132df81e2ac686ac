from __future__ import annotations

import pytest

from push.store.address import RedisAddress, parse_redis_url


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


def test_a_password_is_never_shown() -> None:
    assert "secret" not in str(parse_redis_url("redis://me:secret@host:1/2"))
    assert "secret" not in str(parse_redis_url("unix://:secret@/run/redis.sock"))

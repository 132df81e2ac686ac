"""What the first bytes of a connection say about who sends it."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from push.http.edge.early_caller import HEALTH, HEALTH_AT_ONCE, HEALTH_PER_SECOND, EarlyCaller

OWNERS = {"right": "backend"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def look(clock: Clock) -> EarlyCaller:
    return EarlyCaller(clock, lambda key: OWNERS.get(key, ""))


@pytest.mark.parametrize(
    ("data", "owner"),
    [
        (b"POST /v1/push HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer right\r\n\r\n{}", "backend"),
        (b"POST /v1/push HTTP/1.1\r\nauthorization:\tBEARER  right \r\nHost: a\r\n\r\n", "backend"),
        (b"POST /v1/push HTTP/1.1\r\nAuthorization: Bearer wrong\r\n\r\n", ""),
        (b"POST /v1/push HTTP/1.1\r\nAuthorization: Basic right\r\n\r\n", ""),
        (b"POST /v1/push HTTP/1.1\r\nAuthorization: Bearer righ", ""),
        (b"POST /v1/push HTTP/1.1\r\nX-Authorization: Bearer right\r\n\r\n", ""),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", HEALTH),
        (b"HEAD /readyz HTTP/1.1\r\n", HEALTH),
        (b"GET /healthzz HTTP/1.1\r\n\r\n", ""),
        (b"POST /healthz HTTP/1.1\r\n\r\n", ""),
        (b"\x16\x03\x01\x02\x00\x01", ""),
    ],
)
def test_who_sends_it(look: EarlyCaller, data: bytes, owner: str) -> None:
    assert look.owner(data) == owner


def test_many_requests_for_health_are_as_any_of_strangers(look: EarlyCaller, clock: Clock) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    at_once = sum(look.owner(request) == HEALTH for _ in range(1000))
    assert HEALTH_AT_ONCE <= at_once <= HEALTH_AT_ONCE + 1
    clock.advance(1)
    later = sum(look.owner(request) == HEALTH for _ in range(1000))
    assert HEALTH_PER_SECOND - 1 <= later <= HEALTH_PER_SECOND + 1

"""Clients that connect again and again, by a fake time."""

from __future__ import annotations

import pytest

from push.connector.limits.counts import CONNECTS_PER_MINUTE, LimitCounts
from push.connector.limits.reconnects import Reconnects
from push.wire.bodies import ConnectRequest
from push.wire.errors import RequestError

DEVICE = ConnectRequest(token="0123456789ABCD", secret="s" * 22)


def refused(reconnects: Reconnects, now: float, ip: str = "192.0.2.1") -> int | None:
    """For how long the client is to stay away; None: it was let in."""
    try:
        reconnects.take(DEVICE, ip, now)
    except RequestError as error:
        return error.after_seconds if error.code == "rate_limited" else -1
    return None


def test_a_client_that_flaps_stays_away_longer_each_time() -> None:
    counts = LimitCounts()
    reconnects = Reconnects(3, counts)
    assert [refused(reconnects, 10.0) for _ in range(12)] == [
        *[None] * 3,
        *(5, 10, 20, 40, 80, 160, 300, 300, 300),
    ]
    assert counts.acted[CONNECTS_PER_MINUTE] == 9


def test_one_that_waits_is_let_in_again() -> None:
    reconnects = Reconnects(3, LimitCounts())
    for _ in range(5):
        refused(reconnects, 10.0)
    assert refused(reconnects, 31.0) is None
    assert refused(reconnects, 31.0) == 20
    assert refused(reconnects, 200.0) is None
    assert [refused(reconnects, 200.0) for _ in range(3)] == [None, None, 5]


def test_one_that_the_server_sends_away_to_come_again_does_not_flap() -> None:
    reconnects = Reconnects(3, LimitCounts())
    for _ in range(50):
        assert refused(reconnects, 10.0) is None
        reconnects.give_back(DEVICE.token or "", "192.0.2.1")
        reconnects.give_back("another token", "192.0.2.1")
    assert [refused(reconnects, 10.0) for _ in range(4)] == [None, None, None, 5]


def test_a_stranger_who_knows_a_token_keeps_its_device_away_from_nowhere() -> None:
    reconnects = Reconnects(3, LimitCounts())
    for _ in range(100):
        refused(reconnects, 10.0, ip="198.51.100.7")
    assert refused(reconnects, 10.0) is None


@pytest.mark.parametrize("ips", [["2001:db8::1", "2001:db8::ffff"], ["192.0.2.1", "192.0.2.1"]])
def test_addresses_of_one_ipv6_network_are_one(ips: list[str]) -> None:
    reconnects = Reconnects(1, LimitCounts())
    assert [refused(reconnects, 10.0, ip) for ip in ips] == [None, 5]


def test_users_without_a_device_are_known_by_their_jwt() -> None:
    reconnects = Reconnects(1, LimitCounts())
    reconnects.take(ConnectRequest(jwt="a"), "192.0.2.1", 10.0)
    reconnects.take(ConnectRequest(jwt="b"), "192.0.2.1", 10.0)
    with pytest.raises(RequestError, match="rate_limited"):
        reconnects.take(ConnectRequest(jwt="a"), "192.0.2.1", 10.0)


def test_0_is_no_limit_and_the_quiet_are_forgotten() -> None:
    without = Reconnects(0, LimitCounts())
    assert {refused(without, 10.0) for _ in range(1000)} == {None}
    reconnects = Reconnects(3, LimitCounts())
    for n in range(100):
        refused(reconnects, 10.0, f"192.0.2.{n}")
    refused(reconnects, 75.0)
    refused(reconnects, 140.0)
    assert len(reconnects) == 1

"""Orders that are heard come from Redis, where others can write: what is none is not obeyed."""

from __future__ import annotations

import pytest

from push.cluster.commands import DrainCommand, EndSessionCommand, read_command


def test_orders_are_read() -> None:
    assert read_command(b'{"type":"end","session":"s","code":"kicked"}') == EndSessionCommand(
        "s", "kicked"
    )
    assert read_command(b'{"type":"drain","rate_per_second":5}') == DrainCommand(5)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"type":"end","session":"s","code":"nonsense"}',
        b'{"type":"end","session":5,"code":"kicked"}',
        b'{"type":"drain","rate_per_second":NaN}',
        b'{"type":"other"}',
        b'{"type":"drain","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_what_is_no_order_is_none(payload: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_command(payload)

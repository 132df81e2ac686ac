"""A refusal by a rate holds until it would be another: Redis is not asked meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from push.chat import actions
from push.chat.actions import HeldRefusals
from push.chat.settings import UserRate

MICROSECONDS = 2_500_000


def rate(user: str = "anna", kind: str = "messages_per_minute") -> UserRate:
    return UserRate(user, kind, 60, "messages")


def refusal(microseconds: int = MICROSECONDS) -> list[bytes]:
    after = b"%d" % -(-microseconds // 1_000_000)
    code = [b"no", b"rate_limited", b"too many", b"", after, b"messages_per_minute", b"60"]
    return [*code, b"%d" % microseconds]


def test_it_holds_until_another_would_be_allowed_and_says_how_long_that_is() -> None:
    held = HeldRefusals()
    held.note(rate(), refusal(), 10.0)
    for now, after in ((10.0, b"3"), (11.0, b"2"), (12.4, b"1")):
        reply = held.of(rate(), now)
        assert reply is not None
        assert reply[4] == after
        assert reply[:4] + reply[5:7] == refusal()[:4] + refusal()[5:7]
    assert held.of(rate(), 12.5) is None


def test_it_is_of_one_user_and_one_rate() -> None:
    held = HeldRefusals()
    held.note(rate(), refusal(), 0.0)
    assert held.of(rate(user="bob"), 0.0) is None
    assert held.of(rate(kind="typing_per_minute"), 0.0) is None


@pytest.mark.parametrize(
    "reply", [[b"ok", []], [b"no", b"not_member", b"no member", b""]], ids=["done", "not allowed"]
)
def test_nothing_else_is_held(reply: list[Any]) -> None:
    held = HeldRefusals()
    held.note(rate(), reply, 0.0)
    assert held.of(rate(), 0.0) is None


def test_they_are_not_more_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MAX_HELD", 3)
    held = HeldRefusals()
    for number in range(5):
        held.note(rate(f"u{number}"), refusal(), 0.0)
    assert users_of(held) == [2, 3, 4]


def test_one_that_is_told_again_takes_the_room_of_no_other_and_is_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "MAX_HELD", 3)
    held = HeldRefusals()
    for number in (0, 1, 2, 1):
        held.note(rate(f"u{number}"), refusal(), 0.0)
    assert users_of(held) == [0, 1, 2]
    for number in (0, 3):
        held.note(rate(f"u{number}"), refusal(), 0.0)
    assert users_of(held) == [0, 1, 3]


def users_of(held: HeldRefusals) -> list[int]:
    return [number for number in range(5) if held.of(rate(f"u{number}"), 0.0)]

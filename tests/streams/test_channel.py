"""What a connector knows of a stream without asking Redis."""

from __future__ import annotations

import pytest

from push.streams.channel import Channel


@pytest.fixture
def channel() -> Channel:
    channel = Channel("all")
    channel.advance(100)
    return channel


def test_a_log_is_clear_from_where_a_read_found_nothing(channel: Channel) -> None:
    assert channel.is_clear_after(100)
    assert not channel.is_clear_after(99)
    channel.note_clear(40, 100)
    channel.note_clear(60, 120)  # less than is known already
    assert channel.is_clear_after(40)
    assert not channel.is_clear_after(39)


def test_what_comes_on_the_channel_is_to_be_read_by_those_before_it(channel: Channel) -> None:
    channel.note_clear(40, 100)
    channel.advance(130)
    assert not channel.is_clear_after(129)
    assert channel.is_clear_after(130)


def test_a_read_that_ended_before_the_known_part_says_nothing_of_what_is_between(
    channel: Channel,
) -> None:
    channel.note_clear(40, 99)
    assert not channel.is_clear_after(40)


def test_nothing_is_clear_while_a_gap_is_repaired_or_nothing_is_known(channel: Channel) -> None:
    channel.note_clear(40, 100)
    channel.repairing = True
    assert not channel.is_clear_after(100)
    channel.repairing = False
    channel.known = False
    assert not channel.is_clear_after(100)
    assert not Channel("topic:t").is_clear_after(0)

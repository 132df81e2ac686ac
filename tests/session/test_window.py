"""The window: counted from the cursor, numbers and their copies, due times."""

from __future__ import annotations

import pytest

from push.session.entry import FIRST_OWN_NUMBER, LAST_OWN_NUMBER, Entry
from push.session.window import Delivery, Follow, Window


def add(window: Window, follow: Follow, offset: int, size_bytes: int = 1, due: float = 30.0) -> int:
    number = window.own_number()
    window.add(follow, Entry("i", 0, offset, b"x" * size_bytes), number, due)
    return number


@pytest.fixture
def window() -> Window:
    return Window(4, 100)


@pytest.fixture
def follow() -> Follow:
    return Follow("all", 10)


# --- The cursor ----------------------------------------------------------------------------------


def test_acknowledgements_in_order_move_the_cursor_one_by_one(window: Window, follow: Follow):
    numbers = [add(window, follow, offset) for offset in (11, 12, 13)]
    cursors = []
    for number in numbers:
        assert window.acknowledge(number) is follow
        cursors.append(follow.cursor)
    assert cursors == [11, 12, 13]
    assert (window.used, window.used_bytes, follow.pending) == (0, 0, None)


def test_the_cursor_moves_over_the_contiguous_prefix_only(window: Window, follow: Follow):
    first, second, third, fourth = (add(window, follow, offset) for offset in (11, 12, 13, 14))
    assert window.acknowledge(third) is None
    assert window.acknowledge(second) is None
    assert follow.cursor == 10
    assert window.acknowledge(first) is follow
    assert follow.cursor == 13
    assert window.acknowledge(fourth) is follow
    assert follow.cursor == 14


def test_what_was_acknowledged_out_of_order_still_takes_its_place(window: Window, follow: Follow):
    first, *others = (add(window, follow, offset, 5) for offset in (11, 12, 13, 14))
    for number in others:
        window.acknowledge(number)
    assert (window.used, window.used_bytes) == (4, 20)
    assert not window.has_room(1, 1)
    window.acknowledge(first)
    assert (window.used, window.used_bytes) == (0, 0)


def test_streams_have_cursors_of_their_own_in_one_window(window: Window, follow: Follow):
    other = Follow("dev:T", 0)
    add(window, follow, 11)
    number = add(window, other, 5)
    assert window.acknowledge(number) is other
    assert (follow.cursor, other.cursor, window.used) == (10, 5, 1)


def test_an_entry_that_needs_no_acknowledgement_passes_with_the_one_before_it(
    window: Window, follow: Follow
):
    assert window.add_done(follow, 11)
    assert follow.cursor == follow.position == 11
    number = add(window, follow, 12)
    assert not window.add_done(follow, 13)
    assert (follow.cursor, follow.position) == (11, 13)
    later = add(window, follow, 14)
    window.acknowledge(later)
    window.acknowledge(number)
    assert follow.cursor == 14


def test_an_entry_behind_an_unfinished_one_is_not_passed(window: Window, follow: Follow):
    first = add(window, follow, 11)
    window.add_done(follow, 12)
    add(window, follow, 13)
    window.acknowledge(first)
    assert follow.cursor == 12


def test_what_is_read_complete_moves_the_cursor_with_the_last_acknowledgement(
    window: Window, follow: Follow
):
    number = add(window, follow, 11)
    follow.position = 500  # the clock of a read that found no more
    window.acknowledge(number)
    assert follow.cursor == 500


def test_neither_cursor_nor_position_goes_back(window: Window, follow: Follow):
    assert not window.add_done(follow, 3)
    assert (follow.cursor, follow.position) == (10, 10)
    add(window, follow, 11)
    assert not window.add_done(follow, 3)
    assert (follow.cursor, follow.position) == (10, 11)


# --- Room ----------------------------------------------------------------------------------------


def test_the_window_is_bounded_in_messages(window: Window, follow: Follow):
    assert window.has_room(4, 4)
    assert not window.has_room(5, 5)
    for offset in range(11, 14):
        add(window, follow, offset)
    assert window.has_room(1, 1)
    assert not window.has_room(2, 2)


def test_the_window_is_bounded_in_bytes(window: Window, follow: Follow):
    add(window, follow, 11, 60)
    assert window.has_room(1, 40)
    assert not window.has_room(1, 41)


def test_one_message_is_let_through_however_large(window: Window, follow: Follow):
    assert window.has_room(1, 10_000)
    assert not window.has_room(2, 10_000)
    add(window, follow, 11, 10_000)
    assert not window.has_room(1, 0)
    assert not window.half_free


def test_a_window_is_half_free_at_the_half_of_both_bounds(window: Window, follow: Follow):
    assert window.half_free
    add(window, follow, 11, 25)
    add(window, follow, 12, 25)
    assert window.half_free
    add(window, follow, 13, 0)
    assert not window.half_free


def test_a_window_of_one_is_half_free_only_when_empty(follow: Follow):
    window = Window(1, 100)
    assert window.half_free
    number = add(window, follow, 11)
    assert not window.half_free
    window.acknowledge(number)
    assert window.half_free


# --- Numbers -------------------------------------------------------------------------------------


def test_own_numbers_go_round_from_c000_to_ffff(window: Window):
    count = LAST_OWN_NUMBER - FIRST_OWN_NUMBER + 1
    numbers = [window.own_number() for _ in range(count + 1)]
    assert numbers == [*range(0xC000, 0x10000), 0xC000]


def test_a_number_that_is_taken_is_passed_over(follow: Follow):
    window = Window(100_000, 100_000)
    held = add(window, follow, 11)
    for _ in range(LAST_OWN_NUMBER - FIRST_OWN_NUMBER):
        window.own_number()
    assert held == FIRST_OWN_NUMBER
    assert window.own_number() == held + 1


def test_when_all_numbers_are_taken_there_is_none_until_one_is_free(follow: Follow):
    window = Window(100_000, 100_000)
    numbers = [add(window, follow, 11 + i) for i in range(0x4000)]
    assert window.own_number() == 0
    window.acknowledge(numbers[77])
    assert window.own_number() == numbers[77]


def only(window: Window) -> Delivery:
    [delivery] = window.outstanding.values()
    return delivery


def test_a_number_stays_taken_until_every_copy_was_acknowledged(window: Window, follow: Follow):
    number = add(window, follow, 11)
    window.again(only(window), 60.0)
    window.again(only(window), 90.0)
    assert window.acknowledge(number) is follow  # done at the first
    assert follow.cursor == 11
    assert window.acknowledge(number) is None
    assert number in window.outstanding
    assert window.acknowledge(number) is None
    assert number not in window.outstanding
    assert window.acknowledge(number) is None


def test_a_message_that_was_given_up_keeps_its_number_until_acknowledged(
    window: Window, follow: Follow
):
    number = add(window, follow, 11)
    assert window.finish(only(window)) is follow
    assert (follow.cursor, window.used) == (11, 0)
    assert number in window.outstanding
    assert window.acknowledge(number) is None
    assert number not in window.outstanding


# --- Due -----------------------------------------------------------------------------------------


def test_the_next_due_is_the_oldest_that_was_not_put_off(window: Window, follow: Follow):
    assert window.next_due() is None
    for offset, due in ((11, 30.0), (12, 31.0), (13, 32.0)):
        add(window, follow, offset, due=due)
    first, second, _ = window.outstanding.values()
    window.again(first, 60.0)
    assert window.next_due() == 31.0
    window.postpone(second, 61.0)
    assert window.next_due() == 32.0
    assert [delivery.offset for delivery in window.outstanding.values()] == [13, 11, 12]


def test_copies_and_attempts_are_counted(window: Window, follow: Follow):
    window.add(follow, Entry("i", 0, 11, b"x"), 7, 30.0, attempts=4)
    window.again(only(window), 60.0)
    window.postpone(only(window), 90.0)
    assert (only(window).copies_due, only(window).attempts, only(window).due) == (2, 5, 90.0)


# --- Following no longer -------------------------------------------------------------------------


def test_a_stream_that_is_no_longer_followed_takes_no_room_but_keeps_its_numbers(
    window: Window, follow: Follow
):
    other = Follow("dev:T", 0)
    mine, theirs = add(window, follow, 11, 5), add(window, other, 1, 7)
    add(window, follow, 12, 5)
    window.acknowledge(mine + 2)
    window.forget(follow)
    assert (window.used, window.used_bytes) == (1, 7)
    assert window.acknowledge(mine) is None
    assert follow.cursor == 10
    assert window.acknowledge(theirs) is other
    assert (window.used, window.outstanding) == (0, {})

"""The window: counted from the cursor, numbers and their copies, due times."""

from __future__ import annotations

import pytest

from push.session.entry import FIRST_PRIVATE_ID, LAST_PRIVATE_ID, Entry
from push.session.subscription import (
    EXPIRED,
    GONE,
    UNACKNOWLEDGED,
    FailedAttempts,
    LateAcknowledgement,
    OutstandingMessage,
    Subscription,
)
from push.session.window import Window

AFTER = 30.0


def add(
    window: Window, subscription: Subscription, offset: int, size_bytes: int = 1, now: float = 0.0
) -> int:
    message_id = window.next_private_id()
    window.add(subscription, Entry("i", 0, offset, b"x" * size_bytes), message_id, now)
    return message_id


def due(window: Window, now: float) -> list[int]:
    """The offsets of what is to be sent again."""
    return [delivery.offset for delivery in window.take_due(now, AFTER)]


@pytest.fixture
def window() -> Window:
    return Window(4, 100)


@pytest.fixture
def subscription() -> Subscription:
    return Subscription("all", 10)


# --- The cursor ----------------------------------------------------------------------------------


def test_acknowledgements_in_order_move_the_cursor_one_by_one(
    window: Window, subscription: Subscription
):
    message_ids = [add(window, subscription, offset) for offset in (11, 12, 13)]
    cursors = []
    for message_id in message_ids:
        assert window.acknowledge(message_id, 1.0) is subscription
        cursors.append(subscription.cursor)
    assert cursors == [11, 12, 13]
    assert (window.used, window.used_bytes, subscription.pending) == (0, 0, None)


def test_the_cursor_moves_over_the_contiguous_prefix_only(
    window: Window, subscription: Subscription
):
    first, second, third, fourth = (
        add(window, subscription, offset) for offset in (11, 12, 13, 14)
    )
    assert window.acknowledge(third, 1.0) is None
    assert window.acknowledge(second, 1.0) is None
    assert subscription.cursor == 10
    assert window.acknowledge(first, 1.0) is subscription
    assert subscription.cursor == 13
    assert window.acknowledge(fourth, 1.0) is subscription
    assert subscription.cursor == 14


def test_what_was_acknowledged_out_of_order_still_takes_its_place(
    window: Window, subscription: Subscription
):
    first, *others = (add(window, subscription, offset, 5) for offset in (11, 12, 13, 14))
    for message_id in others:
        window.acknowledge(message_id, 1.0)
    assert (window.used, window.used_bytes) == (4, 20)
    assert not window.has_room(1, 1)
    window.acknowledge(first, 1.0)
    assert (window.used, window.used_bytes) == (0, 0)


def test_streams_have_cursors_of_their_own_in_one_window(
    window: Window, subscription: Subscription
):
    other = Subscription("dev:T", 0)
    add(window, subscription, 11)
    message_id = add(window, other, 5)
    assert window.acknowledge(message_id, 1.0) is other
    assert (subscription.cursor, other.cursor, window.used) == (10, 5, 1)


def test_an_entry_that_needs_no_acknowledgement_passes_with_the_one_before_it(
    window: Window, subscription: Subscription
):
    assert window.add_done(subscription, 11)
    assert subscription.cursor == subscription.position == 11
    message_id = add(window, subscription, 12)
    assert not window.add_done(subscription, 13)
    assert (subscription.cursor, subscription.position) == (11, 13)
    later = add(window, subscription, 14)
    window.acknowledge(later, 1.0)
    window.acknowledge(message_id, 1.0)
    assert subscription.cursor == 14


def test_an_entry_behind_an_unfinished_one_is_not_passed(
    window: Window, subscription: Subscription
):
    first = add(window, subscription, 11)
    window.add_done(subscription, 12)
    add(window, subscription, 13)
    window.acknowledge(first, 1.0)
    assert subscription.cursor == 12


def test_what_is_read_complete_moves_the_cursor_with_the_last_acknowledgement(
    window: Window, subscription: Subscription
):
    message_id = add(window, subscription, 11)
    subscription.position = 500  # the clock of a read that found no more
    window.acknowledge(message_id, 1.0)
    assert subscription.cursor == 500


def test_neither_cursor_nor_position_goes_back(window: Window, subscription: Subscription):
    assert not window.add_done(subscription, 3)
    assert (subscription.cursor, subscription.position) == (10, 10)
    add(window, subscription, 11)
    assert not window.add_done(subscription, 3)
    assert (subscription.cursor, subscription.position) == (10, 11)


# --- Room ----------------------------------------------------------------------------------------


def test_the_window_is_bounded_in_messages(window: Window, subscription: Subscription):
    assert window.has_room(4, 4)
    assert not window.has_room(5, 5)
    for offset in range(11, 14):
        add(window, subscription, offset)
    assert window.has_room(1, 1)
    assert not window.has_room(2, 2)


def test_the_window_is_bounded_in_bytes(window: Window, subscription: Subscription):
    add(window, subscription, 11, 60)
    assert window.has_room(1, 40)
    assert not window.has_room(1, 41)


def test_one_message_is_let_through_however_large(window: Window, subscription: Subscription):
    assert window.has_room(1, 10_000)
    assert not window.has_room(2, 10_000)
    add(window, subscription, 11, 10_000)
    assert not window.has_room(1, 0)
    assert not window.half_free


def test_a_window_is_half_free_at_the_half_of_both_bounds(
    window: Window, subscription: Subscription
):
    assert window.half_free
    add(window, subscription, 11, 25)
    add(window, subscription, 12, 25)
    assert window.half_free
    add(window, subscription, 13, 0)
    assert not window.half_free


def test_a_window_of_one_is_half_free_only_when_empty(subscription: Subscription):
    window = Window(1, 100)
    assert window.half_free
    message_id = add(window, subscription, 11)
    assert not window.half_free
    window.acknowledge(message_id, 1.0)
    assert window.half_free


# --- Numbers -------------------------------------------------------------------------------------


def test_own_numbers_go_round_from_c000_to_ffff(window: Window):
    count = LAST_PRIVATE_ID - FIRST_PRIVATE_ID + 1
    message_ids = [window.next_private_id() for _ in range(count + 1)]
    assert message_ids == [*range(0xC000, 0x10000), 0xC000]


def test_a_number_that_is_taken_is_passed_over(subscription: Subscription):
    window = Window(100_000, 100_000)
    held = add(window, subscription, 11)
    for _ in range(LAST_PRIVATE_ID - FIRST_PRIVATE_ID):
        window.next_private_id()
    assert held == FIRST_PRIVATE_ID
    assert window.next_private_id() == held + 1


def test_when_all_numbers_are_taken_there_is_none_until_one_is_free(subscription: Subscription):
    window = Window(100_000, 100_000)
    message_ids = [add(window, subscription, 11 + i) for i in range(0x4000)]
    assert window.next_private_id() == 0
    window.acknowledge(message_ids[77], 1.0)
    assert window.next_private_id() == message_ids[77]


def only(window: Window) -> OutstandingMessage:
    [delivery] = window.outstanding.values()
    return delivery


def test_a_number_stays_taken_until_every_copy_was_acknowledged(
    window: Window, subscription: Subscription
):
    message_id = add(window, subscription, 11)
    window.redeliver(only(window), 60.0, counts=True)
    window.redeliver(only(window), 90.0, counts=False)
    assert window.acknowledge(message_id, 1.0) is subscription  # done at the first
    assert subscription.cursor == 11
    assert window.acknowledge(message_id, 1.0) is None
    assert message_id in window.outstanding
    assert window.acknowledge(message_id, 1.0) is None
    assert message_id not in window.outstanding
    assert window.acknowledge(message_id, 1.0) is None


def test_a_message_that_was_given_up_keeps_its_number_until_acknowledged(
    window: Window, subscription: Subscription
):
    message_id = add(window, subscription, 11)
    assert window.finish(only(window), 1.0) is subscription
    assert (subscription.cursor, window.used) == (11, 0)
    assert message_id in window.outstanding
    assert window.acknowledge(message_id, 1.0) is None
    assert message_id not in window.outstanding


# --- Due -----------------------------------------------------------------------------------------


def test_the_first_is_due_after_its_hand_out_and_again_after_its_copy(
    window: Window, subscription: Subscription
):
    assert window.waiting_since() is None
    add(window, subscription, 11, now=1.0)
    assert window.waiting_since() == 1.0
    assert due(window, 30.9) == []
    assert due(window, 31.0) == [11]
    assert due(window, 60.9) == []  # it is being looked up
    window.redeliver(only(window), 40.0, counts=True)
    assert due(window, 69.9) == []
    assert due(window, 70.0) == [11]


def test_what_stands_behind_the_first_is_not_due_however_long_it_waits(
    window: Window, subscription: Subscription
):
    for offset in (11, 12, 13):
        add(window, subscription, offset)
    window.acknowledge(FIRST_PRIVATE_ID + 1, 1.0)
    assert due(window, 1000.0) == [11]


def test_what_comes_to_the_front_waits_from_then_on(window: Window, subscription: Subscription):
    first, second, third = (add(window, subscription, offset) for offset in (11, 12, 13))
    window.acknowledge(first, 25.0)
    assert window.waiting_since() == 25.0
    assert due(window, 54.9) == []
    assert due(window, 55.0) == [12]
    window.acknowledge(third, 56.0)  # moves no cursor
    assert window.waiting_since() == 55.0
    window.acknowledge(second, 57.0)
    assert window.waiting_since() is None


def test_what_was_handed_out_later_than_the_cursor_moved_waits_from_its_hand_out(
    window: Window, subscription: Subscription
):
    first = add(window, subscription, 11)
    window.acknowledge(first, 5.0)
    add(window, subscription, 12, now=9.0)
    assert due(window, 38.9) == []
    assert due(window, 39.0) == [12]


@pytest.mark.parametrize("outcome", [GONE, EXPIRED, UNACKNOWLEDGED])
def test_a_cursor_that_moves_for_another_reason_moves_the_time_as_well(
    window: Window, subscription: Subscription, outcome: str
):
    add(window, subscription, 11)
    add(window, subscription, 12)
    first, _ = window.outstanding.values()
    assert window.finish(first, 20.0, outcome) is subscription
    assert due(window, 49.9) == []
    assert due(window, 50.0) == [12]


def test_a_message_that_ended_behind_the_first_moves_no_time(
    window: Window, subscription: Subscription
):
    add(window, subscription, 11)
    add(window, subscription, 12)
    _, second = window.outstanding.values()
    assert window.finish(second, 20.0, GONE) is None
    assert due(window, 30.0) == [11]


def test_each_stream_has_a_first_of_its_own(window: Window, subscription: Subscription):
    other = Subscription("dev:T", 0)
    mine = add(window, subscription, 11, now=1.0)
    add(window, subscription, 12, now=1.0)
    add(window, other, 5, now=2.0)
    assert window.waiting_since() == 1.0
    assert due(window, 40.0) == [11, 5]
    window.acknowledge(mine, 50.0)
    assert due(window, 70.0) == [5]
    assert due(window, 80.0) == [12]


def test_copies_and_attempts_are_counted(window: Window, subscription: Subscription):
    window.add(subscription, Entry("i", 0, 11, b"x"), 7, 30.0, attempts=4)
    window.redeliver(only(window), 60.0, counts=True)
    assert (only(window).copies_due, only(window).attempts, only(window).since) == (2, 5, 60.0)
    window.redeliver(only(window), 90.0, counts=False)
    assert (only(window).copies_due, only(window).attempts, only(window).since) == (3, 5, 90.0)


# --- Progress before a message -------------------------------------------------------------------


def test_what_the_device_got_before_a_message_and_works_off_is_progress(
    window: Window, subscription: Subscription
):
    other = Subscription("dev:T", 0)
    first, second = add(window, subscription, 11), add(window, subscription, 12)
    add(window, other, 5)
    [_, _, behind] = window.outstanding.values()
    assert not window.progress_before(behind)
    window.acknowledge(first, 1.0)
    assert window.progress_before(behind)
    window.redeliver(behind, 30.0, counts=False)
    assert not window.progress_before(behind)
    window.acknowledge(second, 31.0)
    assert window.progress_before(behind)


def test_what_the_device_got_later_is_no_progress(window: Window, subscription: Subscription):
    other = Subscription("dev:T", 0)
    add(window, other, 5)
    stuck = only(window)
    for message_id in [add(window, subscription, offset) for offset in (11, 12)]:
        window.acknowledge(message_id, 1.0)
    assert not window.progress_before(stuck)


def test_so_is_what_is_in_no_log_but_only_if_it_came_before(
    window: Window, subscription: Subscription
):
    ephemeral = Entry("i", 0, 0, b"x", online=True)
    window.add_online(subscription, ephemeral, 1, 0.0)
    window.add_online(subscription, ephemeral, 2, 0.0)
    message_id = add(window, subscription, 11, now=5.0)
    window.add_online(subscription, ephemeral, 3, 9.0)
    stuck = only(window)
    assert window.failed_attempts([subscription], 10.0) == [FailedAttempts("all", 0, 11, 0, 5.0)]
    window.acknowledge_online(3)
    assert not window.progress_before(stuck)
    window.acknowledge_online(1)
    assert window.progress_before(stuck)
    window.redeliver(stuck, 35.0, counts=False)
    assert not window.progress_before(stuck)
    window.acknowledge_online(2)
    assert window.progress_before(stuck)
    assert window.failed_attempts([subscription], 40.0) == [FailedAttempts("all", 0, 11, 1, 5.0)]
    window.acknowledge(message_id, 41.0)


def test_what_has_just_come_to_the_front_behind_others_is_not_to_blame(
    window: Window, subscription: Subscription
):
    other = Subscription("dev:T", 0)
    add(window, subscription, 11)
    before = add(window, other, 5)
    add(window, other, 6)
    window.acknowledge(before, 1.0)
    [_, first] = window.outstanding.values()
    assert window.progress_before(first)
    window.redeliver(first, 31.0, counts=False)
    assert not window.progress_before(first)


# --- What a session leaves -----------------------------------------------------------------------


def test_a_session_leaves_the_first_of_each_stream_with_its_copies(
    window: Window, subscription: Subscription
):
    done, other = Subscription("user:u", 0, 1), Subscription("dev:T", 0, 2)
    first = add(window, subscription, 11)
    add(window, subscription, 12, now=3.0)
    window.acknowledge(first, 20.0)
    window.redeliver(only(window), 50.0, counts=True)
    assert window.failed_attempts([done, other, subscription], 57.0) == [
        FailedAttempts("user:u", 1),
        FailedAttempts("dev:T", 2),
        FailedAttempts("all", 0, 12, 2, 7.0),
    ]


def test_a_session_that_did_not_get_to_what_was_tried_before_leaves_that_as_it_is(window: Window):
    subscription = Subscription("dev:T", 0)
    subscription.failed_offset, subscription.failed_attempts = 5, 2
    assert window.failed_attempts([subscription], 9.0) == []


def test_what_only_waited_behind_others_when_the_session_ended_counts_as_nothing(
    window: Window, subscription: Subscription
):
    other = Subscription("dev:T", 0)
    first = add(window, subscription, 11)
    add(window, other, 5)
    assert window.failed_attempts([other], 9.0) == [FailedAttempts("dev:T", 0, 5, 0, 9.0)]
    window.acknowledge(first, 9.0)
    assert window.failed_attempts([other], 9.0) == [FailedAttempts("dev:T", 0, 5, 1, 9.0)]


# --- Late ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [GONE, EXPIRED, UNACKNOWLEDGED])
def test_the_first_acknowledgement_after_another_end_is_told_once(
    window: Window, subscription: Subscription, outcome: str
):
    message_id = add(window, subscription, 11)
    delivery = only(window)
    window.redeliver(delivery, 30.0, counts=True)
    window.finish(delivery, 60.0, outcome)
    assert window.acknowledge(message_id, 61.0) == LateAcknowledgement(delivery, outcome)
    assert window.acknowledge(message_id, 62.0) is None
    assert window.outstanding == {}


def test_what_is_acknowledged_after_its_stream_was_left_is_not_told(
    window: Window, subscription: Subscription
):
    message_id = add(window, subscription, 11)
    window.forget(subscription)
    assert window.acknowledge(message_id, 1.0) is None


# --- Following no longer -------------------------------------------------------------------------


def test_a_stream_that_is_no_longer_followed_takes_no_room_but_keeps_its_numbers(
    window: Window, subscription: Subscription
):
    other = Subscription("dev:T", 0)
    mine, theirs = add(window, subscription, 11, 5), add(window, other, 1, 7)
    add(window, subscription, 12, 5)
    window.acknowledge(mine + 2, 1.0)
    window.forget(subscription)
    assert (window.used, window.used_bytes) == (1, 7)
    assert window.acknowledge(mine, 1.0) is None
    assert subscription.cursor == 10
    assert window.acknowledge(theirs, 1.0) is other
    assert (window.used, window.outstanding) == (0, {})

"""The rules of hand-out, in each form of frames: gap, repeat, next; room; numbers; drops."""

from __future__ import annotations

import re

import pytest

from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Batch, Entry
from push.session.events import ConnectRequested
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.subscription import TOO_LARGE, UNACKNOWLEDGED, OutstandingMessage, Subscription
from push.session.transitions import State
from push.session.window import Window
from push.wire.bodies import ConnectAccepted, ConnectRequest, encode_body
from push.wire.codecs.binary import BINARY
from push.wire.codecs.codec import Codec
from push.wire.codecs.text import TEXT, encode_text
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import DisconnectCode, Signal

# Bodies here need not be JSON.
_PUSH = re.compile(rb'\{"signal":"PUSH","messageId": *(\d+),"content":(.*)\}', re.DOTALL)
LIMITS = SessionLimits(window_messages=4, window_bytes=1000, max_deliveries=3)


@pytest.fixture(autouse=True, params=[BINARY, TEXT], ids=["binary", "text"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Codec:
    """The form of frames of every session of a test."""
    chosen: Codec = request.param
    monkeypatch.setattr(Rig, "codec", chosen)
    return chosen


class Rig:
    """A session that follows one stream, what it was handed, and what it will never get."""

    codec: Codec = BINARY

    def __init__(
        self, limits: SessionLimits = LIMITS, position: int = 10, max_frame: int | None = None
    ) -> None:
        self.dropped: list[tuple[int, str]] = []
        self.delivery_policy = DeliveryPolicy(
            limits, lambda _s, _f, entry, why: self.dropped.append((entry.offset, why))
        )
        self.session = ServerSession(limits, 0.0, self.codec)
        if max_frame is not None:
            max_frame += self.codec.push_envelope_bytes
        asked = ConnectRequest(token="T", secret="S", max_frame=max_frame)
        connect = self.sent_by_device(Signal.CONNECT, 1, encode_body(asked))
        [event] = self.session.receive_data(connect, 0.0)
        assert isinstance(event, ConnectRequested)
        accepted = ConnectAccepted(session="s")
        self.session.accept(1, accepted, event.body, expires_at=None, now=0.0)
        self.session.data_to_send()
        self.subscription = Subscription("all", position)
        self.subscription.live = True

    @property
    def window(self) -> Window:
        assert self.session.window is not None
        return self.session.window

    def live(self, *entries: Entry, now: float = 0.0) -> list[Frame]:
        return frames(self.live_bytes(Batch(entries), now))

    def live_bytes(self, batch: Batch, now: float = 0.0) -> bytes:
        policy = self.delivery_policy
        if policy.hand_out_whole(self.session, self.subscription, batch, now):
            return batch.encoded(self.codec)
        return policy.hand_out_singly(self.session, self.subscription, batch, now)

    def log(self, entry: Entry, now: float = 0.0) -> list[Frame] | None:
        data = self.delivery_policy.from_log(self.session, self.subscription, entry, now)
        return None if data is None else frames(data)

    def acknowledge(self, message_id: int) -> None:
        self.session.receive_data(self.sent_by_device(Signal.PUB_ACK, message_id), 0.0)

    def sent_by_device(self, signal: Signal, message_id: int, body: bytes = b"") -> bytes:
        if self.codec is BINARY:
            return encode_frame(signal, 0, message_id, body)
        return encode_text(signal, 0, message_id, body)

    def outstanding(self) -> list[OutstandingMessage]:
        return list(self.window.outstanding.values())


@pytest.fixture
def rig() -> Rig:
    return Rig()


def frames(data: bytes) -> list[Frame]:
    if Rig.codec is BINARY:
        return list(FrameDecoder(1 << 20).feed(data))
    found = []
    while data:
        size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
        pushed = _PUSH.fullmatch(data[start : start + size])
        assert pushed is not None
        found.append(Frame(Signal.PUSH, 0, int(pushed[1]), pushed[2]))
        data = data[start + size :]
    return found


def stored(offset: int, previous: int, message_id: int = 0, body: bytes = b"") -> Entry:
    return Entry(
        f"id{offset}", previous, offset, body or b'{"o":%d}' % offset, message_id=message_id
    )


def run(first: int, count: int, previous: int, message_id: int = 0) -> list[Entry]:
    """Entries at `first`, `first` + 1, … behind `previous`; shared numbers from `message_id`."""
    return [
        stored(first + i, first + i - 1 if i else previous, message_id + i if message_id else 0)
        for i in range(count)
    ]


def unstored(text: bytes = b'{"q":0}') -> Entry:
    return Entry("q", 0, 0, text)


def control(offset: int, previous: int) -> Entry:
    return Entry("c", previous, offset, b"", control={"kind": "bound"})


def offsets(got: list[Frame]) -> list[bytes]:
    return [frame.body for frame in got]


# --- Gap, repeat, next ---------------------------------------------------------------------------


def test_the_next_message_is_handed_out_with_its_shared_number(rig: Rig):
    assert rig.live(stored(20, 10, 5)) == [Frame(Signal.PUSH, 0, 5, b'{"o":20}')]
    assert (rig.subscription.position, rig.subscription.cursor, rig.subscription.live) == (
        20,
        10,
        True,
    )


def test_the_position_may_be_between_previous_and_offset(rig: Rig):
    """It is a clock after a read that was complete."""
    rig.subscription.position = rig.subscription.cursor = 15
    assert rig.live(stored(20, 10, 5))
    assert rig.subscription.position == 20


def test_a_gap_hands_out_nothing_and_ends_being_live(rig: Rig):
    assert rig.live(stored(20, 11, 5)) == []
    assert (rig.subscription.position, rig.subscription.live, rig.window.used) == (10, False, 0)


def test_a_repeat_hands_out_nothing_and_stays_live(rig: Rig):
    for offset in (9, 10):
        assert rig.live(stored(offset, offset - 1, 5)) == []
    assert rig.subscription.live


def test_a_batch_that_overlaps_is_handed_out_from_its_new_part(rig: Rig):
    got = rig.live(*run(9, 4, 8, message_id=1))
    assert [frame.message_id for frame in got] == [3, 4]
    assert (rig.subscription.position, rig.subscription.live) == (12, True)


def test_a_batch_with_a_gap_inside_is_handed_out_up_to_it(rig: Rig):
    got = rig.live(stored(11, 10, 1), stored(13, 12, 2), stored(14, 13, 3))
    assert [frame.message_id for frame in got] == [1]
    assert (rig.subscription.position, rig.subscription.live) == (11, False)


def test_a_session_that_is_not_live_gets_nothing_from_the_channel(rig: Rig):
    rig.subscription.live = False
    assert rig.live(stored(20, 10, 5)) == []
    assert (rig.subscription.position, rig.window.used) == (10, 0)


def test_the_log_is_believed_about_gaps_and_repeats_are_passed_over(rig: Rig):
    assert rig.log(stored(20, 15)) == [Frame(Signal.PUSH, 0, 0xC000, b'{"o":20}')]
    assert rig.log(stored(20, 15)) == []
    assert rig.log(stored(19, 15)) == []
    assert rig.window.used == 1


def test_a_session_that_is_not_open_gets_nothing(rig: Rig):
    rig.session.disconnect(DisconnectCode.KICKED, "go")
    assert rig.live(stored(20, 10, 5), unstored()) == []
    assert rig.log(stored(20, 10)) is None
    assert rig.delivery_policy.written == 0
    fresh = ServerSession(LIMITS, 0.0)
    rig.session = fresh
    assert rig.live(stored(20, 10, 5), unstored()) == []
    assert fresh.state is State.OPENING


# --- The same bytes for all ----------------------------------------------------------------------


def test_sessions_in_step_get_the_very_same_bytes():
    batch = Batch([*run(11, 3, 10, message_id=1), unstored()])
    first, second = Rig(), Rig()
    data = first.live_bytes(batch)
    assert data is second.live_bytes(batch)
    assert data is batch.encoded(Rig.codec)
    assert first.delivery_policy.written == 4
    assert [delivery.offset for delivery in first.outstanding()] == [11, 12, 13]


def test_messages_of_qos_0_and_1_keep_their_order_on_both_paths(rig: Rig):
    one, two = run(11, 2, 10, message_id=1)
    mixed = [unstored(b"1"), one, unstored(b"2"), two, unstored(b"3")]
    expected = [b"1", b'{"o":11}', b"2", b'{"o":12}', b"3"]
    assert offsets(rig.live(*mixed)) == expected
    slow = Rig()
    slow.subscription.failed_offset = 5  # takes it one by one
    assert offsets(slow.live(*mixed)) == expected
    assert slow.delivery_policy.written == rig.delivery_policy.written == 5


def test_qos_0_goes_to_a_session_that_is_behind_and_takes_no_room(rig: Rig):
    rig.subscription.live = False
    got = rig.live(unstored(b"1"), stored(20, 10, 5), unstored(b"2"))
    assert offsets(got) == [b"1", b"2"]
    assert all(frame.message_id == 0 for frame in got)
    assert (rig.window.used, rig.subscription.position) == (0, 10)


# --- Room ----------------------------------------------------------------------------------------


def test_a_full_window_ends_being_live_and_keeps_the_position(rig: Rig):
    got = rig.live(*run(11, 6, 10, message_id=1))
    assert [frame.message_id for frame in got] == [1, 2, 3, 4]
    assert (rig.subscription.position, rig.subscription.live, rig.window.used) == (14, False, 4)
    assert rig.log(stored(15, 14)) is None
    assert rig.subscription.position == 14
    rig.acknowledge(1)
    assert rig.log(stored(15, 14)) == [Frame(Signal.PUSH, 0, 0xC000, b'{"o":15}')]


def test_a_window_full_of_bytes_is_full(rig: Rig):
    rig.live(stored(11, 10, 1, b"x" * 900))
    assert rig.live(stored(12, 11, 2, b"x" * 101)) == []
    assert not rig.subscription.live
    rig.acknowledge(1)
    assert rig.log(stored(12, 11, 0, b"x" * 5000)) is not None


def test_acknowledgements_out_of_order_make_no_room(rig: Rig):
    rig.live(*run(11, 4, 10, message_id=1))
    for message_id in (2, 3, 4):
        rig.acknowledge(message_id)
    assert rig.log(stored(15, 14)) is None
    rig.acknowledge(1)
    assert rig.subscription.cursor == 14
    assert rig.log(stored(15, 14))


# --- Entries for the connector -------------------------------------------------------------------


def test_an_entry_for_the_connector_moves_the_cursor_and_sends_nothing(rig: Rig):
    assert rig.live(control(11, 10)) == []
    assert (rig.subscription.cursor, rig.subscription.position, rig.subscription.live) == (
        11,
        11,
        True,
    )
    assert rig.log(control(12, 11)) == []
    assert rig.subscription.cursor == 12


def test_an_entry_for_the_connector_waits_for_the_messages_before_it(rig: Rig):
    got = rig.live(stored(11, 10, 1), control(12, 11), stored(13, 12, 2))
    assert [frame.message_id for frame in got] == [1, 2]
    assert rig.subscription.cursor == 10
    rig.acknowledge(1)
    assert rig.subscription.cursor == 12
    rig.acknowledge(2)
    assert rig.subscription.cursor == 13


def test_an_entry_for_the_connector_is_never_sent_even_if_it_is_not_stored(rig: Rig):
    assert rig.live(control(0, 0)) == []
    assert rig.live(unstored(b"1"), control(0, 0)) == [Frame(Signal.PUSH, 0, 0, b"1")]
    mixed = rig.live(control(0, 0), stored(11, 10, 1), unstored(b"2"))
    assert offsets(mixed) == [b'{"o":11}', b"2"]


# --- Numbers -------------------------------------------------------------------------------------


def test_without_a_shared_number_a_session_uses_its_own(rig: Rig):
    got = rig.live(*run(11, 2, 10))
    assert [frame.message_id for frame in got] == [0xC000, 0xC001]


def test_a_shared_number_that_is_taken_here_is_replaced_by_an_own_one(rig: Rig):
    rig.live(stored(11, 10, 7))
    got = rig.live(stored(12, 11, 7), stored(13, 12, 8))
    assert [frame.message_id for frame in got] == [0xC000, 8]
    rig.acknowledge(7)
    assert rig.subscription.cursor == 11
    rig.acknowledge(0xC000)
    assert rig.subscription.cursor == 12


def test_a_shared_number_twice_in_one_batch_is_used_once(rig: Rig):
    got = rig.live(stored(11, 10, 7), stored(12, 11, 7))
    assert [frame.message_id for frame in got] == [7, 0xC000]


def test_a_number_of_a_message_that_is_done_stays_taken_while_a_copy_is_out(rig: Rig):
    rig.live(stored(11, 10, 7))
    [delivery] = rig.outstanding()
    rig.delivery_policy.redeliver(rig.session, delivery, stored(11, 10), 30.0)
    rig.acknowledge(7)
    assert rig.subscription.cursor == 11
    assert [f.message_id for f in rig.live(stored(12, 11, 7))] == [0xC000]
    rig.acknowledge(7)
    assert [f.message_id for f in rig.live(stored(13, 12, 7))] == [7]


def test_without_any_number_a_session_falls_behind_and_loses_nothing():
    rig = Rig(SessionLimits(window_messages=0x10000, window_bytes=1 << 30))
    for offset in range(11, 11 + 0x4000):
        assert rig.log(stored(offset, offset - 1))
    last = rig.subscription.position
    assert rig.live(stored(last + 1, last)) == []
    assert (rig.subscription.live, rig.subscription.position) == (False, last)
    assert rig.log(stored(last + 1, last)) is None
    rig.acknowledge(0xC000)
    assert rig.log(stored(last + 1, last)) is not None


# --- Too large -----------------------------------------------------------------------------------


def test_a_message_above_the_clients_max_frame_is_dropped_and_the_cursor_passes_it():
    rig = Rig(max_frame=4096)
    rig.live(stored(11, 10, 1))
    rig.acknowledge(1)
    assert rig.live(stored(12, 11, 2, b"x" * 4097)) == []
    assert rig.dropped == [(12, TOO_LARGE)]
    assert (rig.subscription.cursor, rig.subscription.position, rig.subscription.live) == (
        12,
        12,
        True,
    )
    assert rig.log(stored(13, 12, 0, b"x" * 4097)) == []
    assert rig.dropped[1:] == [(13, TOO_LARGE)]


def test_only_the_large_one_of_a_batch_is_dropped():
    rig = Rig(SessionLimits(), max_frame=4096)
    large = b"x" * 4097
    got = rig.live(unstored(large), stored(11, 10, 1), stored(12, 11, 2, large), stored(13, 12, 3))
    assert [frame.message_id for frame in got] == [1, 3]
    assert rig.dropped == [(12, TOO_LARGE)]
    rig.acknowledge(1)
    assert rig.subscription.cursor == 12
    assert rig.live(unstored(large)) == []


def test_a_message_exactly_as_large_as_allowed_is_sent():
    rig = Rig(SessionLimits(), max_frame=4096)
    assert len(rig.live(stored(11, 10, 1, b"x" * 4096))) == 1
    assert rig.dropped == []


# --- Redelivery ----------------------------------------------------------------------------------


def test_a_copy_has_the_same_number_and_what_the_log_has_now(rig: Rig):
    rig.live(stored(11, 10, 7))
    [delivery] = rig.outstanding()
    now_in_log = stored(11, 10, 0, b'{"o":"new"}')
    data, moved = rig.delivery_policy.redeliver(rig.session, delivery, now_in_log, 30.0)
    assert frames(data) == [Frame(Signal.PUSH, 0, 7, b'{"o":"new"}')]
    assert moved is None
    assert (delivery.since, delivery.attempts) == (30.0, 2)


def test_what_is_gone_from_the_log_counts_as_done(rig: Rig):
    rig.live(stored(11, 10, 7))
    [delivery] = rig.outstanding()
    assert rig.delivery_policy.redeliver(rig.session, delivery, None, 30.0) == (
        b"",
        rig.subscription,
    )
    assert (rig.subscription.cursor, rig.window.used, rig.dropped) == (11, 0, [])


def test_what_was_acknowledged_meanwhile_is_not_sent_again(rig: Rig):
    rig.live(stored(11, 10, 7))
    [delivery] = rig.outstanding()
    rig.acknowledge(7)
    assert rig.delivery_policy.redeliver(rig.session, delivery, stored(11, 10), 30.0) == (b"", None)
    assert rig.window.outstanding == {}


def test_what_is_no_longer_followed_is_not_sent_again(rig: Rig):
    rig.live(stored(11, 10, 7))
    [delivery] = rig.outstanding()
    rig.window.forget(rig.subscription)
    assert rig.delivery_policy.redeliver(rig.session, delivery, stored(11, 10), 30.0) == (b"", None)


def test_after_max_deliveries_a_message_is_dropped_and_the_next_go_on(rig: Rig):
    rig.live(stored(11, 10, 7), stored(12, 11, 8))
    first, second = rig.outstanding()
    for now in (30.0, 60.0):
        assert rig.delivery_policy.redeliver(rig.session, first, stored(11, 10), now)[0]
    rig.acknowledge(8)
    assert rig.subscription.cursor == 10
    assert rig.delivery_policy.redeliver(rig.session, first, stored(11, 10), 90.0) == (
        b"",
        rig.subscription,
    )
    assert rig.dropped == [(11, UNACKNOWLEDGED)]
    assert rig.subscription.cursor == 12
    assert second.done


def test_deliveries_of_earlier_connections_count(rig: Rig):
    rig.subscription.failed_offset, rig.subscription.failed_attempts = 11, 2
    assert len(rig.live(*run(11, 2, 10, message_id=1))) == 2
    first, second = rig.outstanding()
    assert (first.attempts, second.attempts) == (3, 1)
    assert rig.subscription.failed_offset == 0
    assert rig.delivery_policy.redeliver(rig.session, first, stored(11, 10), 30.0) == (
        b"",
        rig.subscription,
    )
    assert rig.dropped == [(11, UNACKNOWLEDGED)]


@pytest.mark.parametrize("way", ["live", "log"])
def test_a_message_that_was_tried_often_enough_is_dropped_on_the_next_connection(
    rig: Rig, way: str
):
    rig.subscription.failed_offset, rig.subscription.failed_attempts = 11, 3
    entry = stored(11, 10, 1)
    assert (rig.live(entry) if way == "live" else rig.log(entry)) == []
    assert rig.dropped == [(11, UNACKNOWLEDGED)]
    assert (rig.subscription.cursor, rig.subscription.position) == (11, 11)
    assert len(rig.live(stored(12, 11, 2))) == 1


def test_what_was_tried_and_is_gone_burdens_no_other_message(rig: Rig):
    rig.subscription.failed_offset, rig.subscription.failed_attempts = 11, 3
    assert len(rig.live(stored(12, 10, 2))) == 1
    assert (rig.subscription.failed_offset, rig.outstanding()[0].attempts) == (0, 1)


def test_messages_before_the_tried_one_do_not_use_it_up(rig: Rig):
    rig.subscription.failed_offset, rig.subscription.failed_attempts = 13, 3
    assert len(rig.live(*run(11, 3, 10, message_id=1))) == 2
    assert rig.dropped == [(13, UNACKNOWLEDGED)]


# --- Batches -------------------------------------------------------------------------------------


def test_a_batch_knows_its_ends_and_sizes():
    batch = Batch([unstored(b"12345678901"), *run(11, 3, 10, message_id=1)])
    assert (batch.first_previous, batch.first_offset) == (10, 11)
    assert (batch.stored_bytes, batch.largest_bytes) == (24, 11)
    assert batch.uniform


@pytest.mark.parametrize(
    "entries",
    [
        [stored(11, 10)],  # no shared number
        [stored(11, 10, 1), stored(12, 11, 1)],  # one twice
        [stored(11, 10, 1), control(12, 11)],
        [stored(11, 10, 1), stored(13, 12, 2)],  # a gap inside
        [stored(12, 11, 1), stored(11, 10, 2)],  # out of order
    ],
)
def test_a_batch_that_is_not_the_same_for_all_is_not_uniform(entries: list[Entry]):
    assert not Batch(entries).uniform


def test_a_batch_says_what_is_in_it():
    stored_ones = [stored(11, 10, 1), stored(12, 11, 2)]
    for_the_connector, online = control(13, 12), Entry("o", 0, 0, b"1" * 700, online=True)
    entries = [stored_ones[0], unstored(), stored_ones[1], for_the_connector, online]
    batch = Batch(entries)
    assert (batch.entries, batch.stored) == (entries, [*stored_ones, for_the_connector])
    assert (batch.controls, batch.online) == ([for_the_connector], True)
    assert batch.stored_bytes == sum(len(entry.body) for entry in stored_ones)
    assert batch.largest_bytes == 700
    assert (batch.first_previous, batch.first_offset) == (10, 11)
    assert not Batch(entries[:3]).online
    assert Batch([unstored()]).stored == []

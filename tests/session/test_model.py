"""Window, Follow and Handout against a simple oracle: nothing is skipped, nothing is forgotten.

The machine publishes to two streams, loses messages of their channels, hands out live batches or
pages of the log, acknowledges in any order, lets messages expire, lets time pass, and connects
anew. The oracle knows only the log, what was sent, and what was acknowledged.
"""

from __future__ import annotations

import json
import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import FIRST_PRIVATE_ID, Batch, Entry
from push.session.events import ConnectRequested, RedeliveryDue
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.subscription import TOO_LARGE, UNACKNOWLEDGED, Subscription
from push.session.window import Window
from push.wire.bodies import ConnectAccepted, ConnectRequest, encode_body
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import Signal
from tests.amounts import amount

LIMITS = SessionLimits(
    window_messages=4,
    window_bytes=500,
    max_deliveries=3,
    redeliver_after_seconds=30,
    heartbeat_max_seconds=10**6,
    heartbeat_seconds=10**6,
)
MAX_FRAME = 4096
SIZES = st.sampled_from([20, 20, 20, 90, 240, 600, 5000])
STREAMS = st.sampled_from([0, 1])


class Stream:
    """The log of one stream, its channel, and what the oracle knows of one session's place."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.log: list[Entry] = []
        self.channel: list[Entry] = []
        self.expired: set[int] = set()
        self.dropped: set[int] = set()
        self.connect(0, None)

    def connect(self, cursor: int, head: tuple[int, int] | None) -> None:
        """A new session begins at the cursor; what was handed out behind it comes again."""
        self.subscription = Subscription(f"s{self.place}", cursor)
        if head is not None:
            self.subscription.failed_offset, self.subscription.failed_attempts = head
        self.start = self.cursor = cursor
        self.moved_at = 0.0
        self.handed: dict[int, int] = {}  # offset: bytes
        self.done: set[int] = set()

    def passed(self, entry: Entry) -> bool:
        """Whether nothing of this entry is left to do, once the position is beyond it."""
        return (
            entry.offset in self.done
            or entry.offset in self.dropped
            or entry.offset not in self.handed
        )


# A rule that hands out live messages is worth little while the session reads the log; so most
# examples begin live, and a session that connects anew reads on at once.
class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.clock = 0
        self.message_id = 0
        self.streams = [Stream(0), Stream(1)]
        self.delivery_policy = DeliveryPolicy(LIMITS, self.drop)
        for stream in self.streams:
            stream.subscription.live = True

    @initialize(looks_inside=st.booleans())
    def begin(self, looks_inside: bool) -> None:
        # To look at a message is to make it the session's own: what all share is to be tried, too.
        self.looks_inside = looks_inside
        self.connect()

    def connect(self) -> None:
        self.copies: Counter[int] = Counter()  # by message id: sent and not acknowledged
        self.meaning: dict[int, tuple[Stream, int]] = {}
        self.session = ServerSession(LIMITS, self.now)
        asked = ConnectRequest(token="T", secret="S", max_frame=MAX_FRAME)
        connect = encode_frame(Signal.CONNECT, 0, 1, encode_body(asked))
        [event] = self.session.receive_data(connect, self.now)
        assert isinstance(event, ConnectRequested)
        accepted = ConnectAccepted(session="s")
        self.session.accept(1, accepted, event.body, expires_at=None, now=self.now)

    @property
    def window(self) -> Window:
        assert self.session.window is not None
        return self.session.window

    def drop(
        self, _session: ServerSession, subscription: Subscription, entry: Entry, reason: str
    ) -> None:
        [stream] = [stream for stream in self.streams if stream.subscription is subscription]
        if reason == TOO_LARGE:
            assert len(entry.body) > MAX_FRAME
        else:
            assert reason == UNACKNOWLEDGED
        stream.dropped.add(entry.offset)

    def take(self, data: bytes, *, again: bool = False) -> None:
        """What a device would see; first hand-outs ascend, copies repeat their number."""
        for frame in FrameDecoder(1 << 20).feed(data):
            body = json.loads(frame.body)
            assert len(frame.body) <= MAX_FRAME
            if "qos0" in body:
                assert frame.message_id == 0
                continue
            stream, offset = self.streams[body["s"]], body["o"]
            message_id = frame.message_id
            if again:
                assert self.meaning[message_id] == (stream, offset)
                assert offset not in stream.done
            else:
                assert not self.copies[message_id], "the number of an outstanding copy"
                assert all(offset > earlier for earlier in stream.handed)
                assert offset > stream.cursor
                self.meaning.pop(message_id, None)
                self.meaning[message_id] = (stream, offset)  # the last that was handed out
                stream.handed[offset] = len(frame.body)
            self.copies[message_id] += 1

    # What happens

    @rule(
        place=STREAMS,
        size=SIZES,
        shared=st.booleans(),
        count=st.integers(1, 3),
        at_once=st.booleans(),
    )
    def publish(self, place: int, size: int, shared: bool, count: int, at_once: bool) -> None:
        for _ in range(count):
            self.append(place, size, shared)
        if at_once:
            self.deliver(place, 10)

    def append(self, place: int, size: int, shared: bool, control: bool = False) -> None:
        stream = self.streams[place]
        self.clock += 3
        previous = stream.log[-1].offset if stream.log else 0
        self.message_id = self.message_id % 3 + 1  # few, so that they are taken often
        body = b'{"s":%d,"o":%d}' % (place, self.clock)
        entry = Entry(
            "i",
            previous,
            self.clock,
            b"" if control else body.ljust(size),
            message_id=self.message_id if shared and not control else 0,
            control={"kind": "bound"} if control else None,
        )
        stream.log.append(entry)
        stream.channel.append(entry)

    @rule(place=STREAMS)
    def publish_for_the_connector(self, place: int) -> None:
        self.append(place, 0, False, control=True)

    @rule(place=STREAMS)
    def publish_at_qos_0(self, place: int) -> None:
        self.streams[place].channel.append(Entry("q", 0, 0, b'{"qos0":1}'))

    @precondition(lambda self: any(stream.channel for stream in self.streams))
    @rule(place=STREAMS, which=st.integers(0, 5))
    def lose_one_of_the_channel(self, place: int, which: int) -> None:
        channel = self.streams[place].channel
        if channel:
            del channel[which % len(channel)]

    @rule(place=STREAMS, count=st.integers(1, 5))
    def deliver(self, place: int, count: int) -> None:
        stream = self.streams[place]
        batch, stream.channel = stream.channel[:count], stream.channel[count:]
        if batch:
            self.take(self.live_bytes(stream.subscription, Batch(batch)))

    def live_bytes(self, subscription: Subscription, batch: Batch) -> bytes:
        policy = self.delivery_policy
        if policy.hand_out_whole(self.session, subscription, batch, self.now):
            return batch.encoded(self.session.codec)
        return policy.hand_out_singly(self.session, subscription, batch, self.now)

    @rule(place=STREAMS, limit=st.integers(1, 6))
    def read_on(self, place: int, limit: int) -> None:
        """What a connector does for a session that is behind and has room."""
        stream = self.streams[place]
        subscription = stream.subscription
        if subscription.live or not self.window.half_free:
            return
        unread = [entry for entry in stream.log if entry.offset > subscription.position]
        for entry in unread[:limit]:
            if entry.offset in stream.expired:
                self.window.add_done(subscription, entry.offset)
                continue
            data = self.delivery_policy.from_log(self.session, subscription, entry, self.now)
            if data is None:
                return
            self.take(data)
        if len(unread) <= limit:
            subscription.position = max(subscription.position, self.clock)
            subscription.live = True

    @rule()
    def read_everything(self) -> None:
        for place in (0, 1):
            self.read_on(place, 100)

    @precondition(lambda self: +self.copies)
    @rule(which=st.integers(0, 20), times=st.sampled_from([1, 1, 1, 2]))
    def acknowledge(self, which: int, times: int) -> None:
        message_ids = sorted(+self.copies)
        self.acknowledge_number(message_ids[which % len(message_ids)], times)

    @rule(message_id=st.sampled_from([1, 2, 3, FIRST_PRIVATE_ID, FIRST_PRIVATE_ID + 2]))
    def acknowledge_anything(self, message_id: int) -> None:
        self.acknowledge_number(message_id, 1)

    @precondition(lambda self: +self.copies)
    @rule(first=st.integers(0, 20), count=st.integers(2, 6), backwards=st.booleans())
    def acknowledge_together(self, first: int, count: int, backwards: bool) -> None:
        """In one piece: in the order of hand-out, or not."""
        numbers = [each for each in self.meaning if self.copies[each]]
        numbers = numbers[first % len(numbers) :][:count]
        if backwards:
            numbers.reverse()
        for number in numbers:
            self.copies[number] -= 1
            stream, offset = self.meaning[number]
            stream.done.add(offset)
        frames = b"".join(encode_frame(Signal.PUB_ACK, 0, number) for number in numbers)
        events = self.session.receive_data(frames, self.now)
        assert not self.session.closing
        assert len(events) <= len(numbers)

    def acknowledge_number(self, message_id: int, times: int) -> None:
        for _ in range(times):
            if self.copies[message_id]:
                self.copies[message_id] -= 1
                stream, offset = self.meaning[message_id]
                stream.done.add(offset)
            frame = encode_frame(Signal.PUB_ACK, 0, message_id)
            events = self.session.receive_data(frame, self.now)
            assert not self.session.closing
            assert len(events) <= 1

    @rule(place=STREAMS, which=st.integers(0, 30))
    def expire(self, place: int, which: int) -> None:
        stream = self.streams[place]
        if stream.log:
            stream.expired.add(stream.log[which % len(stream.log)].offset)

    @rule(seconds=st.sampled_from([1.0, 15.0, 30.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for event in self.session.tick(self.now):
            assert isinstance(event, RedeliveryDue)
            for delivery in event.deliveries:
                assert delivery.since == self.now, "put off, so that it is asked once"
                assert delivery.subscription.pending[0] is delivery, "what stands behind it waits"
                [stream] = [s for s in self.streams if s.subscription is delivery.subscription]
                gone = delivery.offset in stream.expired
                [entry] = [e for e in stream.log if e.offset == delivery.offset]
                data, _ = self.delivery_policy.redeliver(
                    self.session, delivery, None if gone else entry, self.now
                )
                if gone:
                    assert data == b""
                    stream.done.add(delivery.offset)
                self.take(data, again=True)

    @rule(really=st.integers(0, 4))
    def connect_anew(self, really: int) -> None:
        if really:
            return  # often enough without
        for stream in self.streams:
            pending = stream.subscription.pending
            head = pending[0] if pending else None
            failed_attempts = (
                (head.offset, head.attempts) if head is not None and not head.done else None
            )
            stream.connect(stream.subscription.cursor, failed_attempts)
        self.connect()
        self.read_everything()

    # What always holds

    @invariant()
    def nothing_is_skipped(self) -> None:
        for stream in self.streams:
            for entry in stream.log:
                if stream.start < entry.offset <= stream.subscription.position:
                    assert (
                        entry.offset in stream.handed
                        or entry.offset in stream.dropped
                        or entry.offset in stream.expired
                        or entry.control is not None
                    ), f"{entry.offset} was never handed out"

    @invariant()
    def the_cursor_is_at_the_end_of_what_is_done(self) -> None:
        for stream in self.streams:
            subscription = stream.subscription
            assert stream.cursor <= subscription.cursor <= subscription.position, (
                "it only moves forward"
            )
            if subscription.cursor > stream.cursor:
                stream.cursor, stream.moved_at = subscription.cursor, self.now
            if subscription.pending:
                assert stream.moved_at <= subscription.front_since <= self.now
            seen = [entry for entry in stream.log if entry.offset <= subscription.position]
            open_ = [entry.offset for entry in seen if not stream.passed(entry)]
            first_open = min(open_, default=subscription.position + 1)
            assert subscription.cursor < first_open
            behind = [e.offset for e in seen if subscription.cursor < e.offset < first_open]
            assert not behind, "done, but the cursor is behind it"

    @invariant()
    def the_window_counts_from_the_cursors(self) -> None:
        held = [
            size
            for stream in self.streams
            for offset, size in stream.handed.items()
            if offset > stream.subscription.cursor
        ]
        window = self.window
        assert (window.used, window.used_bytes) == (len(held), sum(held))
        assert window.used <= LIMITS.window_messages
        assert window.used_bytes <= LIMITS.window_bytes or window.used == 1

    @invariant()
    def numbers_are_taken_while_copies_are_out(self) -> None:
        out = dict(+self.copies)
        assert self.window.outstanding_count == len(out)
        assert not any(self.window.is_free(message_id) for message_id in out)
        if not self.looks_inside:
            return
        taken = {message_id: d.copies_due for message_id, d in self.window.outstanding.items()}
        assert taken == dict(+self.copies)
        for message_id, delivery in self.window.outstanding.items():
            stream, offset = self.meaning[message_id]
            assert (delivery.subscription, delivery.offset) == (stream.subscription, offset)
            assert 1 <= delivery.attempts <= LIMITS.max_deliveries

    @invariant()
    def only_the_first_of_a_stream_comes_again(self) -> None:
        waiting = [s.subscription for s in self.streams if s.subscription.pending]
        since = min((subscription.front_since for subscription in waiting), default=None)
        assert self.window.waiting_since() == since
        if self.looks_inside:
            firsts = {s.pending[0] for s in waiting if s.pending}
            assert {d for d in self.window.outstanding.values() if d.first} == firsts
            assert {d.since for d in firsts} == {s.front_since for s in waiting}

    def teardown(self) -> None:
        """Whatever happened: a device that reads and acknowledges comes to the end of its logs."""
        if not hasattr(self, "session"):
            return
        for stream in self.streams:
            stream.channel.clear()
            stream.subscription.live = False
        for _ in range(500):
            for message_id in sorted(+self.copies):
                self.acknowledge_number(message_id, self.copies[message_id])
            if not any(stream.subscription.position < self.clock for stream in self.streams):
                break
            for place in (0, 1):
                self.streams[place].subscription.live &= (
                    self.streams[place].subscription.position >= self.clock
                )
                self.read_on(place, 3)
        for stream in self.streams:
            assert all(entry.offset <= stream.subscription.cursor for entry in stream.log)
        self.nothing_is_skipped()
        self.the_window_counts_from_the_cursors()


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=80, stateful_step_count=50)


def walk(seed: int, steps: int) -> None:
    """One long history. hypothesis tries short ones, and makes a failure small; these go deep."""
    chance = random.Random(seed)
    machine = Machine()
    machine.begin(looks_inside=seed % 2 == 0)

    def step() -> None:
        place, message_id = chance.randrange(2), chance.randrange(30)
        what = chance.random()
        if what < 0.3:
            size = chance.choice([20, 20, 20, 90, 240, 600, 5000])
            count = chance.randint(1, 3)
            machine.publish(place, size, chance.random() < 0.6, count, chance.random() < 0.5)
        elif what < 0.38:
            machine.publish_for_the_connector(place)
        elif what < 0.42:
            machine.publish_at_qos_0(place)
        elif what < 0.52:
            machine.deliver(place, chance.randint(1, 5))
        elif what < 0.54:
            machine.lose_one_of_the_channel(place, message_id)
        elif what < 0.64:
            machine.read_on(place, chance.randint(1, 6))
        elif what < 0.9:
            if +machine.copies and chance.random() < 0.2:
                machine.acknowledge_together(message_id, chance.randint(2, 6), what < 0.7)
            elif +machine.copies:
                machine.acknowledge(message_id if chance.random() < 0.3 else 0, 1)
        elif what < 0.93:
            machine.expire(place, message_id)
        elif what < 0.98:
            machine.wait(chance.choice([1.0, 15.0, 30.0, 31.0]))
        else:
            machine.connect_anew(0)

    for _ in range(steps):
        step()
        machine.nothing_is_skipped()
        machine.the_cursor_is_at_the_end_of_what_is_done()
        machine.the_window_counts_from_the_cursors()
        machine.numbers_are_taken_while_copies_are_out()
        machine.only_the_first_of_a_stream_comes_again()
    machine.teardown()


def test_long_histories_skip_and_forget_nothing_either():
    for seed in range(amount(60, 200)):
        walk(seed, 120)

"""The adaptive heartbeat: the state machine alone, and in a session with a clock of the test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from push.session.client import ClientSession
from push.session.client.events import ConnectionDead
from push.session.client.heartbeat import (
    ANSWERS_TO_FORGET,
    ANSWERS_TO_GROW,
    FIRST_SECONDS,
    LEAST_SECONDS,
    MOST_SECONDS,
    SMALLEST_STEP_SECONDS,
    AdaptiveHeartbeat,
)
from push.session.client.liveness import CHECK_SECONDS, heartbeat_grace_seconds
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal


def answer(heartbeat: AdaptiveHeartbeat, times: int = 1) -> list[int]:
    """The intervals after so many heartbeats that were answered after a whole silence."""
    intervals = []
    for _ in range(times):
        heartbeat.answered(heartbeat.interval_seconds)
        intervals.append(heartbeat.interval_seconds)
    return intervals


def grow(heartbeat: AdaptiveHeartbeat) -> int:
    return answer(heartbeat, ANSWERS_TO_GROW)[-1]


# --- Alone ---------------------------------------------------------------------------------------


def test_it_starts_low_and_grows_by_a_quarter_of_what_is_left_after_enough_answers() -> None:
    heartbeat = AdaptiveHeartbeat()
    assert heartbeat.interval_seconds == FIRST_SECONDS
    longer = FIRST_SECONDS + (MOST_SECONDS - FIRST_SECONDS) // 4
    before = [FIRST_SECONDS] * (ANSWERS_TO_GROW - 1)
    assert answer(heartbeat, ANSWERS_TO_GROW) == [*before, longer]
    assert grow(heartbeat) == longer + (MOST_SECONDS - longer) // 4


def test_it_never_passes_the_longest_interval() -> None:
    heartbeat = AdaptiveHeartbeat()
    intervals = answer(heartbeat, 200)
    assert intervals == sorted(intervals)
    assert MOST_SECONDS - 4 * SMALLEST_STEP_SECONDS < intervals[-1] <= MOST_SECONDS


def test_an_answer_after_less_silence_proves_nothing() -> None:
    heartbeat = AdaptiveHeartbeat()
    for _ in range(10 * ANSWERS_TO_GROW):
        assert not heartbeat.answered(FIRST_SECONDS - 2)
    assert heartbeat.interval_seconds == FIRST_SECONDS
    assert heartbeat.remembered == {}


def test_a_miss_goes_back_to_what_was_proven_and_never_up_to_what_failed() -> None:
    heartbeat = AdaptiveHeartbeat()
    failed = grow(heartbeat)
    heartbeat.missed(failed)
    assert heartbeat.interval_seconds == FIRST_SECONDS
    assert grow(heartbeat) == FIRST_SECONDS + (failed - FIRST_SECONDS) // 4
    assert max(answer(heartbeat, ANSWERS_TO_FORGET - 1)) < failed


def test_a_miss_of_what_was_proven_halves_it_down_to_the_least() -> None:
    heartbeat = AdaptiveHeartbeat({"home": 600}, "home")
    intervals = []
    for _ in range(8):
        heartbeat.missed(heartbeat.interval_seconds)
        intervals.append(heartbeat.interval_seconds)
    assert intervals[:3] == [300, 150, 75]
    assert intervals[-1] == LEAST_SECONDS
    assert heartbeat.remembered == {"home": LEAST_SECONDS}


def test_a_miss_after_less_silence_is_not_the_intervals_fault() -> None:
    heartbeat = AdaptiveHeartbeat({"home": 600}, "home")
    heartbeat.missed(500)
    assert heartbeat.interval_seconds == 600


def test_a_ceiling_is_forgotten_after_many_answers() -> None:
    """The network may only have been out of reach."""
    heartbeat = AdaptiveHeartbeat({"": 300})
    heartbeat.missed(300)
    answer(heartbeat, 20)
    assert heartbeat.interval_seconds < 300
    answer(heartbeat, 2 * ANSWERS_TO_FORGET)
    assert heartbeat.interval_seconds > 300


def test_each_network_has_its_own_interval() -> None:
    heartbeat = AdaptiveHeartbeat(network="home")
    at_home = grow(heartbeat)
    answer(heartbeat)
    heartbeat.network = "train"
    assert heartbeat.interval_seconds == FIRST_SECONDS
    answer(heartbeat)
    heartbeat.network = "home"
    assert heartbeat.interval_seconds == at_home
    assert heartbeat.remembered == {"home": at_home, "train": FIRST_SECONDS}
    kept = json.loads(json.dumps(dict(heartbeat.remembered)))
    assert AdaptiveHeartbeat(kept, "home").interval_seconds == at_home


def test_the_same_network_again_changes_nothing() -> None:
    heartbeat = AdaptiveHeartbeat(network="home")
    longer = grow(heartbeat)
    heartbeat.network = "home"
    assert heartbeat.interval_seconds == longer


@pytest.mark.parametrize("remembered", [None, True, "60", 0, -5, 10**9, 61.5, [60]])
def test_what_cannot_be_an_interval_is_not_taken_from_the_memory(remembered: Any) -> None:
    assert AdaptiveHeartbeat({"home": remembered}, "home").interval_seconds == FIRST_SECONDS


def test_the_servers_bounds_are_those_of_the_interval() -> None:
    heartbeat = AdaptiveHeartbeat()
    heartbeat.granted(FIRST_SECONDS, 60)  # its least
    assert heartbeat.interval_seconds == 60
    grow(heartbeat)
    heartbeat.granted(heartbeat.interval_seconds, 200)  # its most
    assert heartbeat.interval_seconds == 200
    assert set(answer(heartbeat, 100)) == {200}
    for _ in range(3):
        heartbeat.missed(heartbeat.interval_seconds)
    assert heartbeat.interval_seconds == 60


# --- In a session --------------------------------------------------------------------------------


class Server:
    """The other end of a session: takes frames, answers, and clamps the heartbeat."""

    def __init__(self, session: ClientSession, least: int = 10, most: int = 1800) -> None:
        self.session = session
        self._decoder = FrameDecoder(1 << 20)
        self._least, self._most = least, most
        self.asked: list[int | None] = []
        self.now = 0.0

    def connect(self) -> None:
        self.session.connect(self.now, token="T", secret="S")
        [frame] = self._decoder.feed(self.session.data_to_send())
        held = self._clamped(json.loads(frame.body)["heartbeat"])
        accepted = {"session": "s", "heartbeat": held, "window": 1, "max_frame": 9000, "node": "n"}
        body = json.dumps({**accepted, "time": 1}).encode()
        ack = encode_frame(Signal.CONNECT_ACK, ConnectStatus.ACCEPTED, frame.message_id, body)
        self.session.receive_data(ack, self.now)

    def take_pings(self, *, answers: bool = True) -> int:
        """How many came; with `answers` the session gets what holds."""
        frames = list(self._decoder.feed(self.session.data_to_send()))
        for frame in frames:
            assert frame.signal == Signal.PING
            wish = json.loads(frame.body or b"{}").get("interval")
            self.asked.append(wish)
            held = {"interval": self._clamped(wish)} if wish else {}
            body = json.dumps({**held, "time": 1}).encode()
            if answers:
                pong = encode_frame(Signal.PING, 0, frame.message_id, body)
                self.session.receive_data(pong, self.now)
        return len(frames)

    def pass_time(self, *, answers: bool = True) -> list[Any]:
        """Until the next deadline."""
        deadline = self.session.next_deadline()
        assert deadline is not None
        self.now = deadline
        events = self.session.tick(self.now)
        while self.take_pings(answers=answers):
            pass
        return events

    def _clamped(self, wish: int) -> int:
        return min(max(wish, self._least), self._most)


def connected(heartbeat: AdaptiveHeartbeat, **bounds: int) -> Server:
    server = Server(ClientSession(heartbeat=heartbeat), **bounds)
    server.connect()
    return server


def test_a_silent_session_asks_for_longer_and_longer_intervals_and_keeps_to_them() -> None:
    heartbeat = AdaptiveHeartbeat()
    server = connected(heartbeat)
    silences = []
    for _ in range(2 * ANSWERS_TO_GROW):
        before = server.now
        assert server.pass_time() == []
        silences.append(server.now - before)
    longer = FIRST_SECONDS + (MOST_SECONDS - FIRST_SECONDS) // 4
    assert silences == [FIRST_SECONDS] * ANSWERS_TO_GROW + [longer] * ANSWERS_TO_GROW
    assert [wish for wish in server.asked if wish] == [longer, heartbeat.interval_seconds]


def test_a_session_stays_within_the_bounds_of_its_server() -> None:
    heartbeat = AdaptiveHeartbeat()
    server = connected(heartbeat, least=40, most=100)
    assert heartbeat.interval_seconds == 40
    for _ in range(20):
        before = server.now
        server.pass_time()
        assert 40 <= server.now - before <= 100
    assert heartbeat.interval_seconds == 100


def test_a_heartbeat_that_is_not_answered_makes_the_next_sessions_shorter() -> None:
    heartbeat = AdaptiveHeartbeat({"": 400})
    server = connected(heartbeat)
    assert server.pass_time(answers=False) == []
    [dead] = server.pass_time(answers=False)
    assert isinstance(dead, ConnectionDead)
    assert server.now == 400 + heartbeat_grace_seconds(400)
    assert heartbeat.interval_seconds == 200
    server = connected(heartbeat)
    server.pass_time()
    assert server.now == 200


def test_a_connection_that_breaks_at_a_heartbeat_is_a_miss_too() -> None:
    """A router that has forgotten the connection may answer with a reset."""
    heartbeat = AdaptiveHeartbeat({"": 400})
    server = connected(heartbeat)
    server.pass_time(answers=False)
    server.session.lost()
    assert heartbeat.interval_seconds == 200


def test_a_connection_that_breaks_at_another_time_is_no_miss() -> None:
    heartbeat = AdaptiveHeartbeat({"": 400})
    server = connected(heartbeat)
    server.pass_time()
    server.session.lost()
    assert heartbeat.interval_seconds == 400


def test_traffic_in_between_proves_nothing() -> None:
    heartbeat = AdaptiveHeartbeat()
    server = connected(heartbeat)
    for _ in range(5 * ANSWERS_TO_GROW):
        server.now += FIRST_SECONDS - 5
        push = json.dumps({"id": "m", "stream": "all", "data": 1}).encode()
        server.session.receive_data(encode_frame(Signal.PUSH, 0, 0, push), server.now)
        server.pass_time()
    assert heartbeat.interval_seconds == FIRST_SECONDS


def test_another_network_is_asked_for_at_once() -> None:
    heartbeat = AdaptiveHeartbeat({"train": 90})
    server = connected(heartbeat)
    heartbeat.network = "train"
    server.session.change_network(server.now)
    server.take_pings()
    assert server.asked == [90]
    server.pass_time()
    assert server.now == 90


def test_an_application_that_doubts_gets_its_answer_within_three_seconds() -> None:
    server = connected(AdaptiveHeartbeat({"": 400}))
    server.session.check(server.now)
    assert server.session.next_deadline() == server.now + CHECK_SECONDS
    server.take_pings()
    assert server.session.next_deadline() == server.now + 400


def test_a_check_without_an_answer_ends_the_connection_also_when_a_ping_was_on_its_way() -> None:
    heartbeat = AdaptiveHeartbeat({"": 400})
    server = connected(heartbeat)
    server.pass_time(answers=False)
    server.session.check(server.now + 1)
    assert server.take_pings(answers=False) == 0
    [dead] = server.pass_time(answers=False)
    assert isinstance(dead, ConnectionDead)
    assert server.now == 400 + 1 + CHECK_SECONDS

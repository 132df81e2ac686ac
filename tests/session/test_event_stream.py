"""The response to `GET /v1/stream` as a state machine: time, and ends before and after its head."""

from __future__ import annotations

import json

import pytest

from push.session.event_stream import HOLD_SECONDS, StreamSession
from push.session.events import ConnectRequested, Ended, Event, PositionsReached
from push.session.server_answers import SessionLimits
from push.session.transitions import State
from push.wire.bodies import ConnectAccepted
from push.wire.codecs.events import COMMENT, pieces
from push.wire.event_stream.request import StreamConnect
from push.wire.signals import DisconnectCode

LIMITS = SessionLimits()


def begun(*, by_id: bool = False) -> StreamSession:
    session = StreamSession(LIMITS, 0.0, lambda: None)
    asked = StreamConnect(token="t", secret="s", by_id=by_id)
    assert session.begin(asked) == [ConnectRequested(0, asked)]
    return session


def opened(*, by_id: bool = False) -> StreamSession:
    session = begun(by_id=by_id)
    asked = StreamConnect(token="t", secret="s")
    session.accept(0, ConnectAccepted(session="s1"), asked, expires_at=None, now=0.0)
    assert text_of(session).startswith(b"HTTP/1.1 200 OK\r\n")
    return session


def text_of(session: StreamSession) -> bytes:
    return b"".join(text for text, _ in pieces(session.data_to_send()))


@pytest.mark.parametrize(
    ("code", "servers", "status", "said"),
    [
        (DisconnectCode.HANDSHAKE_TIMEOUT, None, 503, "unavailable"),
        (DisconnectCode.DRAINING, None, 503, "unavailable"),
        (DisconnectCode.DRAINING, ["http://b/v1/stream"], 307, "unavailable"),
        (DisconnectCode.TAKEN_OVER, None, 503, "unavailable"),
        (DisconnectCode.KICKED, None, 403, "banned"),
        (DisconnectCode.INTERNAL, None, 500, "internal"),
    ],
)
def test_an_end_before_the_head_is_an_answer_of_http(
    code: DisconnectCode, servers: list[str] | None, status: int, said: str
) -> None:
    session = begun()
    [ended] = session.disconnect(code, "why", after_seconds=5, servers=servers)
    assert isinstance(ended, Ended)
    assert session.state is State.CLOSING
    head, body = text_of(session).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nRetry-After: 5" in head
    assert json.loads(body)["code"] == said


def test_a_request_that_is_not_answered_in_time_is_refused() -> None:
    session = begun()
    assert session.tick(LIMITS.handshake_timeout_seconds)
    assert text_of(session).startswith(b"HTTP/1.1 503 ")


def test_an_end_after_the_head_is_an_event() -> None:
    session = opened()
    session.disconnect(DisconnectCode.KICKED, "why")
    assert b"event: disconnect\n" in text_of(session)


def test_comments_come_in_time_and_silence_of_the_client_means_nothing() -> None:
    session, now = opened(), 0.0
    while now < 10 * LIMITS.heartbeat_max_seconds:
        deadline = session.next_deadline()
        assert deadline == now + LIMITS.comment_seconds
        now = deadline
        events = session.tick(now)
        assert set(map(type, events)) <= {PositionsReached}
        assert text_of(session) == COMMENT


def test_positions_are_kept_on_while_it_is_open() -> None:
    session = opened()
    times = []
    for turn in range(1, 100):
        now = turn * LIMITS.comment_seconds
        if session.tick(now) == [PositionsReached()]:
            times.append(now)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert all(gap < HOLD_SECONDS + LIMITS.comment_seconds for gap in gaps)
    assert len(gaps) > 5


def test_one_that_takes_nothing_is_ended() -> None:
    session, events, now = opened(), list[Event](), 0.0
    session.is_blocked = True
    while not events:
        now += LIMITS.comment_seconds
        events = session.tick(now)
    [ended] = events
    assert isinstance(ended, Ended)
    assert ended.code == DisconnectCode.HEARTBEAT_TIMEOUT
    grace = LIMITS.heartbeat_grace_seconds
    assert grace < now <= grace + LIMITS.comment_seconds


def test_one_that_takes_something_now_and_then_is_not() -> None:
    session = opened()
    for turn in range(1, 40):
        session.is_blocked = turn % 3 > 0
        assert not [e for e in session.tick(turn * LIMITS.comment_seconds) if isinstance(e, Ended)]


def test_bytes_of_the_client_mean_nothing() -> None:
    session = opened()
    assert session.receive_data(b"GET / HTTP/1.1\r\n\r\n", 1.0) == []
    assert session.state is State.OPEN

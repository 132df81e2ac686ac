"""The client role: whole, byte by byte, trailing data, cell by cell, and with random bytes."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.session.client import (
    ANSWER_SECONDS,
    KNOWN_KINDS,
    ClientSession,
    RequestNotPossible,
    TooManyRequests,
)
from push.session.client.events import (
    AuthAnswer,
    Connected,
    ConnectionDead,
    ConnectionRefused,
    DeviceRegistered,
    Disconnected,
    Duplicate,
    Event,
    Ignored,
    MessageReceived,
    Pong,
    ProtocolViolated,
    RegistrationRefused,
    RequestAnswered,
    StreamFollowed,
    Unfollowed,
)
from push.session.client.liveness import (
    REQUEST_MEMORY_SECONDS,
    REQUEST_SILENCE_SECONDS,
    heartbeat_grace_seconds,
)
from push.session.client.memory import ClientCursors, Deliveries, MessageArrival
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.transitions import CLIENT, State
from push.wire.bodies import ConnectAccepted
from push.wire.errors import ProtocolError
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import DisconnectCode, Signal

ACCEPTED = {
    "session": "s1",
    "user": None,
    "heartbeat": 30,
    "window": 64,
    "max_frame": 1 << 20,
    "node": "n1",
    "time": 1_700_000_000_000,
    "truncated": [],
}


def frame(signal: int, body: Any = None, sub: int = 0, number: int = 0) -> bytes:
    raw = b"" if body is None else json.dumps(body).encode()
    return encode_frame(signal, sub, number, raw)


def sent(session: ClientSession) -> list[Frame]:
    return list(FrameDecoder(1 << 20).feed(session.data_to_send()))


def push(number: int, message_id: str, **members: Any) -> bytes:
    body = {"id": message_id, "stream": "dev:T", "offset": "7", "data": 1, "ts": 5, **members}
    return frame(Signal.PUSH, body, number=number)


def opened(
    deliveries: Deliveries | None = None, cursors: ClientCursors | None = None, **accepted: Any
) -> ClientSession:
    """A session that is open at time 0 and has sent everything."""
    session = ClientSession(deliveries, cursors)
    session.connect(0.0, token="T", secret="S")
    [event] = session.receive_data(frame(Signal.CONNECT_ACK, ACCEPTED | accepted, number=1), 0.0)
    assert isinstance(event, Connected)
    session.data_to_send()
    return session


def in_state(state: State) -> ClientSession:
    if state is State.OPEN:
        return opened()
    session = ClientSession()
    if state is State.CONNECTING:
        session.connect(0.0, token="T", secret="S")
    elif state is State.CLOSING:
        session.disconnect()
    return session


# --- Requests on the wire ------------------------------------------------------------------------


def test_register_sends_sub_and_its_answer_is_the_pair():
    session = ClientSession()
    number = session.register(0.0, platform="linux", app="a", key="k", device="d")
    [request] = sent(session)
    assert (request.signal, request.message_id) == (Signal.SUB, number)
    assert json.loads(request.body) == {
        "platform": "linux",
        "app": "a",
        "key": "k",
        "device": "d",
    }
    answer = frame(Signal.SUB, {"token": "T", "secret": "S"}, number=number)
    assert session.receive_data(answer, 0.1) == [DeviceRegistered("T", "S")]
    assert session.next_deadline() is None


def test_a_refused_registration_leaves_the_connection_open_for_two_more():
    session = ClientSession()
    refusal = {"ok": False, "code": "rate_limited", "detail": "slow", "after": 6}
    for _ in range(3):
        number = session.register(0.0, platform="p", app="a")
        events = session.receive_data(frame(Signal.SUB, refusal, number=number), 0.0)
        assert events == [RegistrationRefused("rate_limited", "slow", 6)]
    with pytest.raises(RequestNotPossible):
        session.register(0.0, platform="p", app="a")
    session.connect(0.0, token="T", secret="S")


def test_registrations_go_one_at_a_time():
    session = ClientSession()
    session.register(0.0, platform="p", app="a")
    with pytest.raises(RequestNotPossible):
        session.register(0.0, platform="p", app="a")


def test_connect_sends_only_what_was_given():
    session = ClientSession()
    session.connect(
        0.0, jwt="j", heartbeat_seconds=40, window_messages=8, max_frame_bytes=5000, sdk="x/1"
    )
    [request] = sent(session)
    assert request.signal == Signal.CONNECT
    assert json.loads(request.body) == {
        "jwt": "j",
        "heartbeat": 40,
        "window": 8,
        "max_frame": 5000,
        "sdk": "x/1",
    }


def test_acceptance_tells_what_the_server_granted():
    session = ClientSession()
    session.connect(0.0, token="T", secret="S")
    body = ACCEPTED | {"user": "ada", "truncated": ["all"], "streams": {"all": "9"}, "new": 1}
    events = session.receive_data(frame(Signal.CONNECT_ACK, body, number=1), 0.0)
    assert events == [
        Connected("s1", "ada", 30, 64, 1 << 20, "n1", 1_700_000_000_000, ("all",), {"all": "9"})
    ]


def test_nothing_but_a_disconnect_may_be_sent_between_connect_and_its_answer():
    session = in_state(State.CONNECTING)
    session.data_to_send()
    for request in (
        lambda: session.ping(0.0),
        lambda: session.publish(16, {}),
        lambda: session.renew("j"),
        lambda: session.connect(0.0, jwt="j"),
        lambda: session.register(0.0, platform="p", app="a"),
    ):
        with pytest.raises(RequestNotPossible):
            request()
    assert session.data_to_send() == b""
    session.disconnect()
    assert [f.signal for f in sent(session)] == [Signal.DISCONNECT]


def test_a_refusal_ends_the_session_and_what_follows_is_ignored():
    session = in_state(State.CONNECTING)
    body = {"code": "x", "detail": "y", "servers": ["tls://b:1"], "after": 4}
    data = frame(Signal.CONNECT_ACK, body, sub=6) + b"trailing garbage"
    assert session.receive_data(data, 0.0) == [ConnectionRefused(6, "x", "y", 4, ("tls://b:1",))]
    assert session.closed
    assert session.receive_data(b"\0\0\0", 0.0) == []


def test_an_unknown_version_is_refused_before_connect_too():
    session = ClientSession()
    data = frame(Signal.CONNECT_ACK, {"versions": [3]}, sub=1)
    assert session.receive_data(data, 0.0) == [ConnectionRefused(1, "", "", versions=(3,))]


def test_an_acceptance_nobody_asked_for_breaks_the_protocol():
    [event] = ClientSession().receive_data(frame(Signal.CONNECT_ACK, ACCEPTED), 0.0)
    assert isinstance(event, ProtocolViolated)


def test_a_request_is_paired_with_its_answer_and_its_id_is_free_again():
    session = opened()
    first, second = session.publish(16, {"topic": "a"}), session.publish(16, {"topic": "b"})
    assert [(f.signal, f.sub_signal, f.message_id, f.body) for f in sent(session)] == [
        (Signal.PUBLISH, 16, first, b'{"topic":"a"}'),
        (Signal.PUBLISH, 16, second, b'{"topic":"b"}'),
    ]
    bad = {"ok": False, "code": "invalid", "detail": "no", "field": "topic", "extra": [1]}
    data = frame(Signal.PUB_ACK, bad, 16, second) + frame(Signal.PUB_ACK, {"ok": True}, 16, first)
    assert session.receive_data(data, 0.0) == [
        RequestAnswered(second, 16, False, "invalid", "no", "topic", None, bad),
        RequestAnswered(first, 16, True, "", "", None, None, {"ok": True}),
    ]
    assert session.unanswered == 0
    assert session.receive_data(frame(Signal.PUB_ACK, {}, 16, first), 0.0) == []


def test_ids_go_round_and_skip_those_that_wait():
    session = opened()
    waiting = session.publish(16, {})
    seen = set()
    for _ in range(0xFFFF + 10):
        number = session.publish(16, {})
        seen.add(number)
        session.receive_data(frame(Signal.PUB_ACK, {"ok": True}, 16, number), 0.0)
    assert waiting not in seen
    assert (min(seen), max(seen), len(seen)) == (1, 0xFFFF, 0xFFFE)


def test_at_most_64_requests_wait():
    session = opened()
    message_ids = [session.publish(16, {}) for _ in range(64)]
    with pytest.raises(TooManyRequests):
        session.publish(16, {})
    assert session.publish(18, {}, answered=False) == 0
    session.receive_data(frame(Signal.PUB_ACK, {"ok": True}, 16, message_ids[5]), 0.0)
    assert session.publish(16, {}) not in message_ids


def test_a_request_larger_than_the_server_takes_is_not_sent():
    session = opened(max_frame=100)
    with pytest.raises(RequestNotPossible):
        session.publish(1, {"data": "x" * 100})
    assert (session.data_to_send(), session.unanswered) == (b"", 0)


def test_a_jwt_is_renewed():
    session = opened()
    number = session.renew("new")
    [request] = sent(session)
    assert (request.signal, request.body) == (Signal.AUTH, b'{"jwt":"new"}')
    answer = frame(Signal.AUTH, {"ok": True, "expires": 99}, number=number)
    assert session.receive_data(answer, 0.0) == [AuthAnswer(number, True, 99, "", "")]
    number = session.renew("bad")
    answer = frame(Signal.AUTH, {"ok": False, "code": "c", "detail": "d"}, number=number)
    assert session.receive_data(answer, 0.0) == [AuthAnswer(number, False, None, "c", "d")]


def test_after_disconnect_nothing_more_is_sent_or_taken():
    session = opened()
    [message] = session.receive_data(push(1, "m"), 0.0)
    assert isinstance(message, MessageReceived)
    session.disconnect("bye", "done")
    session.disconnect("internal")
    session.acknowledge(message)
    [goodbye] = sent(session)
    assert goodbye.signal == Signal.DISCONNECT
    assert json.loads(goodbye.body) == {"code": "bye", "reason": "done"}
    assert session.receive_data(push(2, "n"), 0.0) == []
    assert session.next_deadline() is None
    assert session.tick(1e9) == []


def test_the_servers_disconnect_is_not_answered():
    session = opened()
    body = {"code": "draining", "reason": "r", "servers": ["tls://b:1"], "after": 9, "new": 1}
    data = frame(Signal.DISCONNECT, body) + push(1, "m")
    assert session.receive_data(data, 0.0) == [Disconnected("draining", "r", ("tls://b:1",), 9)]
    assert session.data_to_send() == b""


# --- Messages ------------------------------------------------------------------------------------


def test_a_message_is_acknowledged_when_the_application_is_done():
    session = opened()
    [message] = session.receive_data(push(7, "m", title="t", later="x"), 0.0)
    assert isinstance(message, MessageReceived)
    assert (message.number, message.id, message.stream, message.offset) == (7, "m", "dev:T", "7")
    assert message.body["later"] == "x"
    assert session.data_to_send() == b""
    session.acknowledge(message)
    session.acknowledge(message)
    assert sent(session) == [Frame(Signal.PUB_ACK, 0, 7, b"")]


def test_every_copy_is_acknowledged_and_the_application_has_one():
    session = opened()
    [message] = session.receive_data(push(7, "m"), 0.0)
    assert session.receive_data(push(7, "m") + push(7, "m"), 0.0) == [Duplicate("m", False)] * 2
    assert session.data_to_send() == b""
    session.acknowledge(message)
    assert [f.message_id for f in sent(session)] == [7, 7, 7]
    assert session.receive_data(push(7, "m"), 0.0) == [Duplicate("m", True)]
    assert [f.message_id for f in sent(session)] == [7]


def test_a_copy_on_the_next_connection_is_known_and_old_numbers_are_forgotten():
    deliveries = Deliveries()
    first = opened(deliveries)
    [held] = first.receive_data(push(7, "held"), 0.0)
    [done] = first.receive_data(push(8, "done"), 0.0)
    first.acknowledge(done)
    second = opened(deliveries)
    events = second.receive_data(push(1, "held") + push(2, "done") + push(3, "new"), 0.0)
    assert events[:2] == [Duplicate("held", False), Duplicate("done", True)]
    assert isinstance(events[2], MessageReceived)
    assert [f.message_id for f in sent(second)] == [2]
    second.acknowledge(held)
    assert [f.message_id for f in sent(second)] == [1]


def test_an_acknowledgement_without_a_connection_holds_for_the_next_copy():
    deliveries = Deliveries()
    first = opened(deliveries)
    [message] = first.receive_data(push(7, "m"), 0.0)
    first.receive_data(frame(Signal.DISCONNECT, {"code": "internal"}), 0.0)
    first.acknowledge(message)
    assert first.data_to_send() == b""
    second = opened(deliveries)
    assert second.receive_data(push(1, "m"), 0.0) == [Duplicate("m", True)]
    assert [f.message_id for f in sent(second)] == [1]


def test_a_released_message_comes_again_as_new_and_all_its_copies_are_acknowledged():
    session = opened()
    [message] = session.receive_data(push(7, "m"), 0.0)
    session.release(message)
    [again] = session.receive_data(push(7, "m"), 0.0)
    assert isinstance(again, MessageReceived)
    session.acknowledge(again)
    assert [f.message_id for f in sent(session)] == [7, 7]


def test_qos_0_is_neither_remembered_nor_acknowledged():
    session = opened()
    events = session.receive_data(push(0, "m") + push(0, "m"), 0.0)
    assert [type(event) for event in events] == [MessageReceived, MessageReceived]
    session.acknowledge(events[0])
    assert session.data_to_send() == b""


@pytest.mark.parametrize("kind", sorted(KNOWN_KINDS))
def test_known_kinds_reach_the_application(kind: str):
    [message] = opened().receive_data(push(1, "m", kind=kind), 0.0)
    assert isinstance(message, MessageReceived)
    assert message.kind == kind


def test_an_unknown_kind_is_acknowledged_each_time_and_kept_from_the_application():
    session = opened()
    assert session.receive_data(push(7, "m", kind="future"), 0.0) == [Ignored("m", "future")]
    assert [f.message_id for f in sent(session)] == [7]
    session.receive_data(push(7, "m", kind="future"), 0.0)
    assert [f.message_id for f in sent(session)] == [7]
    assert session.receive_data(push(0, "n", kind="future"), 0.0) == [Ignored("n", "future")]
    assert session.data_to_send() == b""


def test_the_newest_ids_are_remembered():
    deliveries = Deliveries(capacity=3)
    for name in "abcd":
        assert deliveries.arrived(name, 1) is MessageArrival.NEW
        deliveries.finished(name)
    assert deliveries.arrived("d", 1) is MessageArrival.DONE
    assert deliveries.arrived("a", 1) is MessageArrival.NEW
    for number in range(10):
        deliveries.arrived(f"held{number}", 1)
    assert deliveries.held_messages == 3


# --- Cursors -------------------------------------------------------------------------------------


def test_cursors_move_over_the_contiguous_acknowledged_prefix():
    cursors = ClientCursors()
    session = opened(cursors=cursors, streams={"all": "10"})
    messages = []
    for offset in ("11", "12", "13"):
        messages += session.receive_data(push(1, f"m{offset}", stream="all", offset=offset), 0.0)
    session.acknowledge(messages[1])
    assert cursors.positions() == {"all": "10"}
    session.acknowledge(messages[0])
    assert cursors.positions() == {"all": "12"}
    session.acknowledge(messages[2])
    assert cursors.positions() == {"all": "13"}


def test_the_next_connect_carries_the_cursors():
    cursors = ClientCursors()
    opened(cursors=cursors, streams={"all": "10"})
    session = ClientSession(cursors=cursors)
    session.connect(0.0, jwt="j")
    assert json.loads(sent(session)[0].body)["cursors"] == {"all": "10"}


def test_a_reconnect_does_not_forget_what_is_still_open():
    deliveries, cursors = Deliveries(), ClientCursors()
    session = opened(deliveries, cursors, streams={"all": "10", "gone": "1"})
    [first] = session.receive_data(push(1, "a", stream="all", offset="11"), 0.0)
    [second] = session.receive_data(push(2, "b", stream="all", offset="12"), 0.0)
    session.acknowledge(second)
    session = opened(deliveries, cursors, streams={"all": "10"})
    again = push(1, "a", stream="all", offset="11") + push(2, "b", stream="all", offset="12")
    assert session.receive_data(again, 0.0) == [Duplicate("a", False), Duplicate("b", True)]
    assert cursors.positions() == {"all": "10"}
    session.acknowledge(first)
    assert cursors.positions() == {"all": "12"}


def test_a_late_copy_does_not_move_a_cursor_back():
    cursors = ClientCursors()
    session = opened(cursors=cursors, streams={"all": "10"})
    for offset in ("11", "12"):
        [message] = session.receive_data(push(1, offset, stream="all", offset=offset), 0.0)
        session.acknowledge(message)
    session.receive_data(push(1, "11", stream="all", offset="11"), 0.0)
    assert cursors.positions() == {"all": "12"}


def test_messages_without_offset_move_nothing():
    cursors = ClientCursors()
    session = opened(cursors=cursors, streams={"all": "10"})
    [message] = session.receive_data(push(1, "a", stream="all", offset=None), 0.0)
    session.acknowledge(message)
    assert cursors.positions() == {"all": "10"}


def test_with_a_token_the_server_keeps_the_cursors():
    cursors = ClientCursors()
    session = opened(cursors=cursors)
    [message] = session.receive_data(push(1, "a", stream="all"), 0.0)
    session.acknowledge(message)
    session.receive_data(push(0, "f", kind="follow", stream="topic:x", offset="3"), 0.0)
    assert cursors.positions() == {}


def test_follow_and_unfollow_change_the_cursors():
    cursors = ClientCursors()
    session = opened(cursors=cursors, streams={})
    data = push(0, "f", kind="follow", stream="topic:x", offset="3")
    assert session.receive_data(data, 0.0) == [StreamFollowed("topic:x", "3")]
    assert cursors.positions() == {"topic:x": "3"}
    data = push(0, "u", kind="unfollow", stream="topic:x")
    assert session.receive_data(data, 0.0) == [Unfollowed("topic:x")]
    assert cursors.positions() == {}


def test_cursors_that_do_not_fit_into_a_connect_are_left_out():
    cursors = ClientCursors()
    streams = {f"topic:{number:0>100}": "1234567890123456" for number in range(1000)}
    opened(cursors=cursors, streams=streams)
    session = ClientSession(cursors=cursors)
    session.connect(0.0, jwt="j" * 8192)
    [request] = sent(session)
    assert 0 < len(json.loads(request.body)["cursors"]) < 1000
    assert len(request.body) <= 64 * 1024


# --- Time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["register", "connect"])
def test_no_answer_in_time_is_a_dead_connection(ask: str):
    session = ClientSession()
    if ask == "register":
        session.register(100.0, platform="p", app="a")
    else:
        session.connect(100.0, token="T", secret="S")
    assert session.next_deadline() == 100.0 + ANSWER_SECONDS
    assert session.tick(100.0) == []
    [event] = session.tick(100.0 + ANSWER_SECONDS)
    assert isinstance(event, ConnectionDead)
    assert session.closed


def test_silence_is_broken_by_a_ping_after_the_heartbeat():
    session = opened(heartbeat=30)
    assert session.next_deadline() == 30.0
    assert session.tick(29.9) == []
    assert session.data_to_send() == b""
    assert session.tick(30.0) == []
    [ping] = sent(session)
    assert (ping.signal, ping.body) == (Signal.PING, b"{}")
    assert session.next_deadline() == 30.0 + heartbeat_grace_seconds(30)
    data = frame(Signal.PING, {"interval": 50, "time": 3}, number=ping.message_id)
    assert session.receive_data(data, 31.0) == [Pong(50, 3)]
    assert session.next_deadline() == 30.0 + 50


def test_the_heartbeat_begins_with_the_connection_whatever_the_clock_shows():
    session = ClientSession()
    session.connect(5000.0, token="T", secret="S")
    session.receive_data(frame(Signal.CONNECT_ACK, ACCEPTED, number=1), 5001.0)
    assert session.next_deadline() == 5030.0


def test_sending_puts_the_ping_off_only_while_something_comes_back():
    session = opened(heartbeat=30)
    [message] = session.receive_data(push(1, "m"), 20.0)
    session.acknowledge(message)
    assert session.next_deadline() == 50.0
    session.receive_data(push(0, "n"), 40.0)  # comes, but we have sent nothing since 20
    assert session.next_deadline() == 50.0


def test_an_unanswered_ping_is_a_dead_connection():
    session = opened(heartbeat=30)
    session.tick(30.0)
    [event] = session.tick(30.0 + heartbeat_grace_seconds(30))
    assert isinstance(event, ConnectionDead)
    assert session.next_deadline() is None


def test_anything_that_comes_proves_life():
    session = opened(heartbeat=30)
    session.tick(30.0)
    session.receive_data(push(0, "m")[:3], 35.0)  # not even a whole frame
    assert session.next_deadline() == 60.0


def test_a_server_that_never_answers_pings_is_dead_after_another_interval():
    session = opened(heartbeat=30)
    session.tick(30.0)
    session.receive_data(push(0, "m"), 35.0)
    [event] = session.tick(60.0)
    assert isinstance(event, ConnectionDead)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000])
def test_a_number_that_is_too_large_is_the_publishers_and_breaks_no_session(number: str):
    session = opened()
    body = f'{{"id": "m", "stream": "all", "offset": "1", "data": {{"a": [{number}]}}}}'
    [message] = session.receive_data(encode_frame(Signal.PUSH, 0, 7, body.encode()), 1.0)
    assert isinstance(message, MessageReceived)
    assert math.isinf(message.body["data"]["a"][0])
    session.acknowledge(message)
    assert [ack.message_id for ack in sent(session)] == [7]


@pytest.mark.parametrize(
    "body", [b"[1e400]", b'{"id": 1e400', b"\xff", b'{"data": "\\ud83d"}', b"[" * 100_000]
)
def test_what_is_no_object_is_a_broken_frame_still(body: bytes):
    [event] = opened().receive_data(encode_frame(Signal.PUSH, 0, 7, body), 1.0)
    assert isinstance(event, ProtocolViolated)


@pytest.mark.parametrize("ask", ["publish", "renew"])
def test_a_request_without_an_answer_is_followed_by_a_ping_and_then_the_end(ask: str):
    session = opened(heartbeat=300)
    if ask == "publish":
        session.publish(16, {}, now=100.0)
    else:
        session.renew("jwt", now=100.0)
    session.data_to_send()
    assert session.next_deadline() == 100.0 + REQUEST_SILENCE_SECONDS
    assert session.tick(100.0 + REQUEST_SILENCE_SECONDS) == []
    assert [ping.signal for ping in sent(session)] == [Signal.PING]
    assert session.next_deadline() == 100.0 + 2 * REQUEST_SILENCE_SECONDS
    [event] = session.tick(100.0 + 2 * REQUEST_SILENCE_SECONDS)
    assert isinstance(event, ConnectionDead)
    assert "10 s of a PING" in event.reason


def test_more_requests_do_not_put_the_doubt_off():
    session = opened(heartbeat=300)
    for second in range(9):
        session.publish(16, {}, now=100.0 + second)
    assert session.next_deadline() == 110.0


def test_a_ping_on_its_way_is_not_sent_twice_and_answers_the_doubt_too():
    session = opened(heartbeat=300)
    ping = session.ping(95.0)
    session.receive_data(push(0, "m"), 96.0)
    session.publish(16, {}, now=100.0)
    session.data_to_send()
    assert session.tick(110.0) == []
    assert session.data_to_send() == b""
    session.receive_data(frame(Signal.PING, {"time": 3}, number=ping), 111.0)
    assert session.next_deadline() == 121.0, "the request still waits"


def test_what_comes_while_a_request_waits_proves_life_for_as_long_again():
    session = opened(heartbeat=300)
    number = session.publish(16, {}, now=100.0)
    session.receive_data(push(0, "m"), 105.0)
    assert session.next_deadline() == 115.0
    answer = frame(Signal.PUB_ACK, {"ok": True}, sub=16, number=number)
    session.receive_data(answer, 106.0)
    assert session.next_deadline() == 400.0, "an answered request raises no doubt"


def test_a_request_that_was_given_up_raises_no_doubt_for_ever():
    session = opened(heartbeat=300)
    session.publish(16, {}, now=100.0)
    session.receive_data(push(0, "m"), 100.0 + REQUEST_MEMORY_SECONDS)
    assert session.next_deadline() == 400.0


@pytest.mark.parametrize(("heartbeat", "grace"), [(10, 10), (40, 10), (120, 30), (1800, 60)])
def test_the_grace_is_a_quarter_of_the_heartbeat_within_bounds(heartbeat: int, grace: int):
    assert heartbeat_grace_seconds(heartbeat) == grace


# --- Both roles ----------------------------------------------------------------------------------


def test_the_servers_session_and_the_clients_understand_each_other():
    client, server = ClientSession(), ServerSession(SessionLimits(), 0.0)

    def exchange(now: float) -> list[Any]:
        """Everything the server's owner is told for what the client has queued."""
        return server.receive_data(client.data_to_send(), now)

    client.register(0.0, platform="p", app="a")
    [wanted] = exchange(0.0)
    server.registered(wanted.message_id, "T", "S")
    assert client.receive_data(server.data_to_send(), 0.0) == [DeviceRegistered("T", "S")]
    client.connect(1.0, token="T", secret="S", heartbeat_seconds=20, window_messages=5)
    [wanted] = exchange(1.0)
    accepted = ConnectAccepted(session="s1", user=None, node="n1", time=7, truncated=[])
    server.accept(wanted.message_id, accepted, wanted.body, expires_at=None, now=1.0)
    [connected] = client.receive_data(server.data_to_send(), 1.0)
    assert isinstance(connected, Connected)
    assert (connected.heartbeat_seconds, connected.window_messages) == (20, 5)
    number = client.publish(16, {"topic": "t"})
    assert client.tick(21.0) == []
    wanted, beat = exchange(21.0)
    server.answer(wanted.message_id, wanted.sub_signal, b'{"ok": true}')
    server.pong(beat.message_id, beat.sub_signal, 8)
    answer, pong = client.receive_data(server.data_to_send(), 21.0)
    assert answer == RequestAnswered(number, 16, True, "", "", None, None, {"ok": True})
    assert pong == Pong(20, 8)
    server.disconnect(DisconnectCode.KICKED, "out", after_seconds=9)
    events = client.receive_data(server.data_to_send(), 22.0)
    assert events == [Disconnected("kicked", "out", (), 9)]


# --- Segmentation, the table, and garbage --------------------------------------------------------

CONVERSATION = (
    frame(Signal.SUB, {"token": "T", "secret": "S"}, number=1)
    + frame(Signal.CONNECT_ACK, ACCEPTED, number=2)
    + push(1, "a")
    + frame(Signal.PING, {"interval": 20, "time": 1}, number=9)
    + frame(99, {"from": "the future"})
    + push(2, "b", data={"deep": [[["ö"]]]})
    + push(1, "a")
    + frame(Signal.DISCONNECT, {"code": "bye", "reason": ""})
)


def converse(pieces: list[bytes]) -> list[Event]:
    session = ClientSession()
    session.register(0.0, platform="p", app="a")
    events: list[Event] = []
    for piece in pieces:
        for event in session.receive_data(piece, 0.0):
            events.append(event)
            if isinstance(event, DeviceRegistered):
                session.connect(0.0, token=event.token, secret=event.secret)
    return events


def whole_conversation() -> list[Event]:
    """SUB's answer alone first: CONNECT is sent after it."""
    first = len(frame(Signal.SUB, {"token": "T", "secret": "S"}, number=1))
    return converse([CONVERSATION[:first], CONVERSATION[first:]])


def test_byte_by_byte_gives_the_same_events():
    expected = whole_conversation()
    assert [type(event) for event in expected] == [
        DeviceRegistered,
        Connected,
        MessageReceived,
        Pong,
        MessageReceived,
        Duplicate,
        Disconnected,
    ]
    assert converse([bytes([byte]) for byte in CONVERSATION]) == expected


@given(st.lists(st.integers(1, len(CONVERSATION) - 1), max_size=12))
def test_any_segmentation_gives_the_same_events(cuts: list[int]):
    first = len(frame(Signal.SUB, {"token": "T", "secret": "S"}, number=1))
    borders = sorted({0, first, len(CONVERSATION), *cuts})
    pieces = [CONVERSATION[a:b] for a, b in pairwise(borders)]
    assert converse(pieces) == whole_conversation()


def test_trailing_data_waits_for_the_rest_of_its_frame():
    session = opened()
    second = push(2, "b")
    events = session.receive_data(push(1, "a") + second[:15], 0.0)
    assert [type(event) for event in events] == [MessageReceived]
    [event] = session.receive_data(second[15:], 0.0)
    assert isinstance(event, MessageReceived)


def test_events_before_a_broken_frame_are_not_lost():
    session = opened()
    message, broken = session.receive_data(push(1, "a") + b"\x00", 0.0)
    assert isinstance(message, MessageReceived)
    assert isinstance(broken, ProtocolViolated)
    [goodbye] = sent(session)
    assert json.loads(goodbye.body)["code"] == "bad_frame"
    assert session.closed


GOOD_BODIES = {
    Signal.SUB: {"token": "T", "secret": "S"},
    Signal.CONNECT_ACK: ACCEPTED,
    Signal.PUSH: {"id": "m", "stream": "all", "offset": "1", "data": 0, "ts": 1},
    Signal.DISCONNECT: {"code": "internal", "reason": ""},
}


@pytest.mark.parametrize("signal", [*Signal, 0, 77])
@pytest.mark.parametrize("state", CLIENT)
def test_each_cell_of_the_table(state: State, signal: int):
    """A signal with a cell has its effect; one without is ignored, whatever its body."""
    session = in_state(state)
    number = 0
    if state is State.OPENING and signal == Signal.SUB:
        number = session.register(0.0, platform="p", app="a")
    elif state is State.OPEN and signal == Signal.AUTH:
        number = session.renew("j")
    elif state is State.OPEN and signal == Signal.PUB_ACK:
        number = session.publish(16, {})
    expected = CLIENT[state].get(signal)
    body = GOOD_BODIES.get(Signal(signal), {}) if signal in set(Signal) else ["not an object"]
    events = session.receive_data(frame(signal, body, number=number), 0.0)
    quiet = {(State.CONNECTING, Signal.SUB)}  # a cell, but nobody has asked
    if expected is None or (state, signal) in quiet:
        assert events == []
        assert session.state is state
    else:
        assert len(events) == 1
        assert isinstance(events[0], ProtocolViolated) == (
            (state, signal) == (State.OPENING, Signal.CONNECT_ACK)
        )


def test_a_registration_may_be_answered_after_connect():
    session = ClientSession()
    number = session.register(0.0, platform="p", app="a")
    session.connect(0.0, token="T", secret="S")
    data = frame(Signal.SUB, {"token": "U", "secret": "V"}, number=number)
    assert session.receive_data(data, 0.0) == [DeviceRegistered("U", "V")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\xf8\x03",
        encode_frame(Signal.PUSH, 0, 1, b"["),
        encode_frame(Signal.PUSH, 0, 1, b"[]"),
        encode_frame(Signal.PUSH, 0, 1, b'"x"'),
        encode_frame(Signal.PUSH, 0, 1, b'{"id": "\xff"}'),
        encode_frame(Signal.PUSH, 0, 1, b'{"id": ' + b"[" * 100_000),
        encode_frame(Signal.PUSH, 0, 1, b'{"id": 5}'),
        encode_frame(Signal.PUSH, 0, 1, b"{}"),
        encode_frame(Signal.PUSH, 0, 1, b'{"id": "a", "ts": "now"}'),
        encode_frame(Signal.PING, 0, 1, b'{"interval": -1}'),
        encode_frame(Signal.DISCONNECT, 0, 0, b'{"code": 3}'),
        b"\xf8\x02\x84\x00\x00\x00\x00\x00\x00\x00",
        b"\xf8\x02\x04\xff\xff\xff\xff\x00\x00\x00",
    ],
)
def test_what_breaks_the_protocol_is_one_event_and_ends_the_session(data: bytes):
    session = opened()
    [event] = session.receive_data(data, 0.0)
    assert isinstance(event, ProtocolViolated)
    assert isinstance(event.error, ProtocolError)
    assert event.error.code in (DisconnectCode.BAD_FRAME, DisconnectCode.FRAME_TOO_LARGE)
    assert session.closed
    assert session.next_deadline() is None


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(data: bytes):
    for state in CLIENT:
        in_state(state).receive_data(data, 0.0)


@given(
    st.sampled_from(list(CLIENT)),
    st.integers(0, 127),
    st.integers(0, 127),
    st.integers(0, 0xFFFF),
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "stream", "offset", "kind", "ok", "token", "session", "code", "after"]
                )
                | st.text(max_size=5),
                inner,
                max_size=5,
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_random_frames_never_raise(state: State, signal: int, sub: int, number: int, body: bytes):
    session = in_state(state)
    session.receive_data(encode_frame(signal, sub, number, body), 0.0)
    session.data_to_send()
    deadline = session.next_deadline()
    if deadline is not None:
        session.tick(deadline)

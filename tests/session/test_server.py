"""The server role: every cell of the table, bytes cut anyhow, requests, ends and deadlines."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Entry
from push.session.events import (
    ConnectRequested,
    Ended,
    Event,
    GoodbyeSaid,
    HeartbeatRequested,
    Progress,
    PublishRequested,
    RedeliveryDue,
    RegisterRequested,
    RenewRequested,
)
from push.session.server import ENDING_SECONDS, ServerSession
from push.session.server_answers import MAX_UNANSWERED_REQUESTS, SessionLimits
from push.session.subscription import Subscription
from push.session.transitions import SERVER, SERVER_ACCEPTS, Action, State
from push.wire.bodies import (
    ConnectAccepted,
    ConnectRefused,
    ConnectRequest,
    RequestAnswer,
    encode_body,
)
from push.wire.errors import RequestError
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, DisconnectCode, Signal

LIMITS = SessionLimits()
CREDENTIALS = {"token": "T", "secret": "S"}
REGISTRATION = {"platform": "linux", "app": "a", "key": "k"}
BODIES: dict[int, Any] = {
    Signal.SUB: REGISTRATION,
    Signal.CONNECT: CREDENTIALS,
    Signal.AUTH: {"jwt": "j"},
    Signal.DISCONNECT: {"code": "bye", "reason": ""},
}


def frame(signal: int, body: Any = None, sub: int = 0, number: int = 0) -> bytes:
    raw = b"" if body is None else json.dumps(body).encode()
    return encode_frame(signal, sub, number, raw)


def valid(signal: int, number: int = 1) -> bytes:
    return frame(signal, BODIES.get(signal), number=number)


def sent(session: ServerSession) -> list[Frame]:
    decoder = FrameDecoder(1 << 20)
    frames = list(decoder.feed(session.data_to_send()))
    assert decoder.buffered_bytes == 0, "the session sent half a frame"
    return frames


def said(session: ServerSession) -> tuple[int, int, int, Any]:
    """The only frame that was sent, its body parsed."""
    [only] = sent(session)
    return only.signal, only.sub_signal, only.message_id, json.loads(only.body or b"{}")


def connecting(limits: SessionLimits = LIMITS, asked: dict[str, Any] | None = None):
    session = ServerSession(limits, 0.0)
    [event] = session.receive_data(frame(Signal.CONNECT, asked or CREDENTIALS, number=1), 0.0)
    assert isinstance(event, ConnectRequested)
    return session, event


def opened(
    limits: SessionLimits = LIMITS,
    now: float = 0.0,
    expires_at: float | None = None,
    **asked: Any,
) -> ServerSession:
    """A session that is open since `now`, what it said taken."""
    session, event = connecting(limits, CREDENTIALS | asked)
    body = ConnectAccepted(session="s", user=None, node="n", time=5, truncated=[])
    session.accept(event.message_id, body, event.body, expires_at=expires_at, now=now)
    session.data_to_send()
    return session


def ending(requests: int, **options: Any) -> tuple[ServerSession, list[Event]]:
    """A session whose peer sent so many requests and a DISCONNECT in one write."""
    session = opened(**options)
    data = b"".join(frame(Signal.PUBLISH, {}, number=n) for n in range(1, requests + 1))
    events = session.receive_data(data + frame(Signal.DISCONNECT, {"code": "closed"}), 1.0)
    return session, events


def in_state(state: State) -> ServerSession:
    if state is State.OPEN:
        return opened()
    if state is State.CONNECTING:
        return connecting()[0]
    if state is State.ENDING:
        return ending(1)[0]
    session = ServerSession(LIMITS, 0.0)
    if state is State.CLOSING:
        session.disconnect(DisconnectCode.KICKED, "go")
        session.data_to_send()
    return session


def assert_ended(
    session: ServerSession, events: list[Event], code: DisconnectCode, *naming: str
) -> None:
    """The last event is the end with `code`; the last frame says so; nothing more comes."""
    end = events[-1]
    assert isinstance(end, Ended)
    assert (end.code, end.by_peer) == (code.value, False)
    last = sent(session)[-1]
    assert (last.signal, last.sub_signal, last.message_id) == (Signal.DISCONNECT, 0, 0)
    assert json.loads(last.body) == {"code": code.value, "reason": end.reason}
    for part in naming:
        assert part in end.reason
    assert session.closing
    assert session.receive_data(valid(Signal.PING), 1.0) == []
    assert session.disconnect(DisconnectCode.INTERNAL, "again") == []
    session.notify(b"{}")
    session.pong(1, 0, 0)
    assert session.data_to_send() == b""
    assert session.next_deadline() is None
    assert session.tick(1e9) == []


# --- The table -----------------------------------------------------------------------------------

EXPECTED_EVENT = {
    Action.REGISTER: RegisterRequested,
    Action.CONNECT: ConnectRequested,
    Action.RENEW: RenewRequested,
    Action.HEARTBEAT: HeartbeatRequested,
    Action.REQUEST: PublishRequested,
    Action.ACKNOWLEDGE: None,
    Action.CLOSE: Ended,
}

# protocol.md, "Order of things", written out once more.
ALLOWED = {
    State.OPENING: {Signal.SUB, Signal.CONNECT, Signal.DISCONNECT},
    State.CONNECTING: {Signal.DISCONNECT},
    State.OPEN: {Signal.AUTH, Signal.PING, Signal.PUB_ACK, Signal.PUBLISH, Signal.DISCONNECT},
    State.ENDING: set(),
    State.CLOSING: set(),
}


def test_the_table_is_the_contracts():
    assert {state: set(cells) for state, cells in SERVER.items()} == ALLOWED
    assert {state: set(cells) for state, cells in SERVER_ACCEPTS.items()} == ALLOWED


@pytest.mark.parametrize("state", State)
def test_every_signal_in_every_state_does_what_its_cell_says(state: State):
    for signal in range(128):
        session = in_state(state)
        events = session.receive_data(valid(signal), 1.0)
        action = SERVER[state].get(signal)
        if state in (State.ENDING, State.CLOSING):
            assert (events, session.data_to_send()) == ([], b"")
            assert session.state is state
        elif action is None:
            assert len(events) == 1
            assert_ended(session, events, DisconnectCode.BAD_FRAME, "signal")
        else:
            expected = EXPECTED_EVENT[action]
            assert [type(event) for event in events] == ([expected] if expected else [])
            assert session.data_to_send() == b""
            after = {Action.CONNECT: State.CONNECTING, Action.CLOSE: State.CLOSING}
            assert session.state is after.get(action, state)


@pytest.mark.parametrize("state", [State.OPENING, State.CONNECTING, State.OPEN])
def test_a_reserved_high_bit_ends_the_connection_in_every_state(state: State):
    for data in (frame(Signal.DISCONNECT | 0x80), frame(Signal.DISCONNECT, sub=0x80)):
        session = in_state(state)
        events = session.receive_data(data, 1.0)
        assert_ended(session, events, DisconnectCode.BAD_FRAME, "reserved bits")


def test_a_signal_that_may_not_come_is_refused_before_its_body_came():
    session = opened()
    header = frame(Signal.CONNECT, CREDENTIALS)[:10]
    assert_ended(session, session.receive_data(header, 1.0), DisconnectCode.BAD_FRAME, "CONNECT")


def test_a_disconnect_is_not_answered():
    session = opened()
    events = session.receive_data(frame(Signal.DISCONNECT, {"code": "bye", "reason": "off"}), 1.0)
    assert events == [Ended("bye", "off", by_peer=True)]
    assert session.data_to_send() == b""
    assert session.closing


def test_an_empty_disconnect_means_bye():
    session = ServerSession(LIMITS, 0.0)
    assert session.receive_data(frame(Signal.DISCONNECT), 1.0) == [Ended("bye", "", True)]


# --- Bytes cut anyhow ----------------------------------------------------------------------------

CONVERSATION = (
    frame(Signal.PING, {"interval": 20}, number=1)
    + frame(Signal.PUB_ACK, number=0xC000)
    + frame(Signal.PUBLISH, {"é": [1]}, sub=19, number=2)
    + frame(Signal.PUB_ACK, {}, number=0xC000)
    + frame(Signal.AUTH, {"jwt": "j"}, number=3)
    + frame(Signal.PUB_ACK, number=77)
)


def heard(parts: list[bytes]) -> tuple[list[Event], bytes]:
    session = opened()
    give(session, Subscription("all", 0))
    events = [event for part in parts for event in session.receive_data(part, 1.0)]
    return [e if not isinstance(e, Progress) else "progress" for e in events], (
        session.data_to_send()
    )


def give(
    session: ServerSession, subscription: Subscription, offset: int = 7, now: float = 0.0
) -> bytes:
    delivery_policy = DeliveryPolicy(LIMITS, lambda *_: None)
    data = delivery_policy.from_log(
        session, subscription, Entry("i", 0, offset, b'{"id":"i"}'), now
    )
    assert data
    return data


def test_a_conversation_means_the_same_whole_and_byte_by_byte():
    whole = heard([CONVERSATION])
    assert [e if e == "progress" else type(e) for e in whole[0]] == [
        HeartbeatRequested,
        "progress",
        PublishRequested,
        RenewRequested,
    ]
    assert heard([CONVERSATION[i : i + 1] for i in range(len(CONVERSATION))]) == whole


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=10))
def test_a_conversation_means_the_same_however_it_is_cut(places: list[int]):
    ends = sorted({0, len(CONVERSATION), *places})
    assert heard([CONVERSATION[a:b] for a, b in pairwise(ends)]) == heard([CONVERSATION])


def test_what_came_before_a_bad_frame_counts():
    session = opened()
    give(session, Subscription("all", 0))
    events = session.receive_data(
        frame(Signal.PUB_ACK, number=0xC000) + b"GET / HTTP/1.1\r\n" + valid(Signal.PING), 1.0
    )
    assert [type(event) for event in events] == [Progress, Ended]
    assert_ended(session, events, DisconnectCode.BAD_FRAME, "magic", "0x47")


def test_nothing_behind_the_peers_disconnect_is_read():
    session = opened()
    data = valid(Signal.DISCONNECT) + valid(Signal.PING) + b"rubbish"
    assert session.receive_data(data, 1.0) == [Ended("bye", "", True)]


near_frames = st.one_of(
    st.binary(max_size=40),
    st.builds(
        encode_frame,
        st.integers(0, 255),
        st.integers(0, 255),
        st.sampled_from([0, 1, 2, 0xC000, 0xFFFF]),
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([json.dumps(body).encode() for body in BODIES.values()]),
            st.sampled_from([b"", b"{}", b"[]", b'{"interval":1}', b'{"jwt":"\\udc00"}']),
        ),
    ),
    st.sampled_from(sorted(SERVER_ACCEPTS[State.OPEN] | SERVER_ACCEPTS[State.OPENING])).map(valid),
)


@given(st.sampled_from(State), st.lists(near_frames, max_size=6), st.booleans())
def test_random_bytes_raise_nothing_and_are_answered_by_whole_frames(
    state: State, parts: list[bytes], joined: bool
):
    session = in_state(state)
    ends = 0
    for part in [b"".join(parts)] if joined else parts:
        for event in session.receive_data(part, 1.0):
            assert not ends, "an event came after the end"
            ends += isinstance(event, Ended)
    for answer in sent(session):
        assert answer.signal in (Signal.DISCONNECT, Signal.CONNECT_ACK)
        assert isinstance(json.loads(answer.body), dict)
    assert session.closing == (bool(ends) or state is State.CLOSING)


# --- The first frame -----------------------------------------------------------------------------


def test_a_first_frame_of_another_version_is_told_the_versions():
    for data in (b"\xf8\x01", b"\xf8\x03" + bytes(90), frame(Signal.CONNECT).replace(b"\2", b"\1")):
        session = ServerSession(LIMITS, 0.0)
        [event] = session.receive_data(data, 1.0)
        assert isinstance(event, Ended)
        assert event.code == "UNACCEPTABLE_PROTOCOL_VERSION"
        assert said(session) == (Signal.CONNECT_ACK, 1, 0, {"versions": [2]})
        assert session.closing


def test_a_later_frame_of_another_version_is_a_bad_frame():
    for data in (valid(Signal.SUB) + b"\xf8\x03", valid(Signal.CONNECT) + b"\xf8\x01"):
        session = ServerSession(LIMITS, 0.0)
        assert_ended(session, session.receive_data(data, 1.0), DisconnectCode.BAD_FRAME, "version")


def test_before_a_session_a_body_may_have_64_kib():
    session = ServerSession(LIMITS, 0.0)
    header = encode_frame(Signal.CONNECT)[:3] + (65537).to_bytes(4, "big") + bytes(3)
    events = session.receive_data(header, 1.0)
    assert_ended(session, events, DisconnectCode.FRAME_TOO_LARGE, "65537", "65536")
    body = json.dumps(CREDENTIALS).encode().ljust(65536)
    [event] = ServerSession(LIMITS, 0.0).receive_data(encode_frame(Signal.CONNECT, body=body), 1.0)
    assert isinstance(event, ConnectRequested)


def test_in_a_session_a_body_may_be_as_long_as_connect_ack_says():
    session = opened(SessionLimits(max_frame_bytes=100_000))
    body = b'"'.join([b'{"x":', b"x" * 99_992, b"}"])
    assert len(body) == 100_000
    [event] = session.receive_data(encode_frame(Signal.PUBLISH, 1, 1, body), 1.0)
    assert isinstance(event, PublishRequested)
    events = session.receive_data(encode_frame(Signal.PUBLISH, 1, 2, body + b" "), 1.0)
    assert_ended(session, events, DisconnectCode.FRAME_TOO_LARGE, "100001")


def test_a_length_of_4_gib_ends_the_connection_at_the_header():
    session = opened()
    data = encode_frame(Signal.PING)[:3] + b"\xff\xff\xff\xff" + bytes(3)
    events = session.receive_data(data, 1.0)
    assert_ended(session, events, DisconnectCode.FRAME_TOO_LARGE, "4294967295")


@pytest.mark.parametrize(
    ("state", "signal", "body", "field"),
    [
        (State.OPENING, Signal.SUB, b'{"app":"a"}', "platform"),
        (State.OPENING, Signal.SUB, b"[]", "SUB"),
        (State.OPENING, Signal.CONNECT, b"{}", "token"),
        (State.OPENING, Signal.CONNECT, b'{"token":"\xff"}', "UTF-8"),
        (State.OPENING, Signal.DISCONNECT, b'{"code":5}', "code"),
        (State.OPEN, Signal.AUTH, b'{"jwt":5}', "jwt"),
        (State.OPEN, Signal.PING, b'{"interval":"5"}', "interval"),
        (State.OPEN, Signal.PING, b"nonsense", "PING"),
        (State.OPEN, Signal.PUB_ACK, b"7", "PUB_ACK"),
        (State.OPEN, Signal.PUB_ACK, b'{"x":' * 33 + b"1" + b"}" * 33, "32"),
    ],
)
def test_a_wrong_field_ends_the_connection_and_is_named(
    state: State, signal: int, body: bytes, field: str
):
    session = in_state(state)
    events = session.receive_data(encode_frame(signal, 0, 1, body), 1.0)
    assert_ended(session, events, DisconnectCode.BAD_FRAME, signal_of(signal), field)


def signal_of(signal: int) -> str:
    return Signal(signal).name


def test_the_body_of_a_publish_is_not_judged_here():
    """A wrong field in it is answered with `invalid`, not with the end."""
    session = opened()
    [event] = session.receive_data(encode_frame(Signal.PUBLISH, 1, 1, b"nonsense"), 1.0)
    assert event == PublishRequested(1, 1, b"nonsense")


# --- SUB -----------------------------------------------------------------------------------------


def test_a_registration_is_answered_with_its_id_and_the_pair():
    session = ServerSession(LIMITS, 0.0)
    [event] = session.receive_data(frame(Signal.SUB, REGISTRATION, number=9), 1.0)
    assert isinstance(event, RegisterRequested)
    assert (event.message_id, event.body.platform, event.body.key) == (9, "linux", "k")
    session.registered(9, "T", "S")
    assert said(session) == (Signal.SUB, 0, 9, {"token": "T", "secret": "S"})
    assert session.state is State.OPENING


def test_a_refused_registration_leaves_the_connection_and_a_fourth_one_ends_it():
    session = ServerSession(LIMITS, 0.0)
    for number in (1, 2, 3):
        assert session.receive_data(valid(Signal.SUB, number), 1.0)
        session.refuse_registration(number, RequestError("rate_limited", "slow", after_seconds=6))
        refusal = {"ok": False, "code": "rate_limited", "detail": "slow", "after": 6}
        assert said(session) == (Signal.SUB, 0, number, refusal)
    events = session.receive_data(valid(Signal.SUB, 4), 1.0)
    assert_ended(session, events, DisconnectCode.BAD_FRAME, "SUB", "at most 3")


def test_registrations_go_one_at_a_time():
    session = ServerSession(LIMITS, 0.0)
    events = session.receive_data(valid(Signal.SUB, 1) + valid(Signal.SUB, 2), 1.0)
    assert_ended(session, events, DisconnectCode.BAD_FRAME, "SUB", "one at a time")


def test_sub_and_connect_share_a_connection():
    session = ServerSession(LIMITS, 0.0)
    session.receive_data(valid(Signal.SUB, 1), 1.0)
    session.registered(1, "T", "S")
    [event] = session.receive_data(valid(Signal.CONNECT, 1), 2.0)
    assert isinstance(event, ConnectRequested)


# --- Message ids ---------------------------------------------------------------------------------

TAKEN = [
    (State.OPENING, Signal.SUB, Signal.CONNECT),
    (State.OPEN, Signal.PUBLISH, Signal.PUBLISH),
    (State.OPEN, Signal.PUBLISH, Signal.AUTH),
    (State.OPEN, Signal.PUBLISH, Signal.PING),
    (State.OPEN, Signal.AUTH, Signal.AUTH),
    (State.OPEN, Signal.AUTH, Signal.PUBLISH),
]


@pytest.mark.parametrize(("state", "first", "second"), TAKEN)
def test_an_id_that_is_not_answered_yet_may_not_be_used_again(
    state: State, first: int, second: int
):
    session = in_state(state)
    events = session.receive_data(valid(first, 5) + valid(second, 5), 1.0)
    assert_ended(session, events, DisconnectCode.BAD_FRAME, "message id", "5")


def test_an_id_is_free_once_it_was_answered():
    session = opened()
    for number in (1, 65535):
        for _ in range(3):
            session.receive_data(valid(Signal.PUBLISH, number), 1.0)
            session.answer(number, 0, encode_body(RequestAnswer(ok=True)))
            session.receive_data(valid(Signal.AUTH, number), 1.0)
            session.renewed(number, 5000, 5.0)
            session.receive_data(valid(Signal.AUTH, number), 1.0)
            session.refuse_renewal(number, RequestError("unauthenticated", "no"))
            session.receive_data(valid(Signal.PING, number), 1.0)
            session.pong(number, 0, 5)
    assert session.state is State.OPEN


def test_the_id_of_connect_is_free_in_the_session():
    session = opened()
    assert session.receive_data(valid(Signal.PUBLISH, 1), 1.0)
    assert not session.closing


def test_acknowledgements_and_requests_have_ids_of_their_own():
    session = opened()
    give(session, Subscription("all", 0))
    session.receive_data(valid(Signal.PUBLISH, 0xC000), 1.0)
    assert len(session.receive_data(valid(Signal.PUB_ACK, 0xC000), 1.0)) == 1
    session.answer(0xC000, 0, b"{}")
    assert said(session)[0] == Signal.PUB_ACK


def test_a_request_with_id_0_gets_no_answer_and_takes_no_id():
    session = opened()
    for _ in range(MAX_UNANSWERED_REQUESTS + 1):
        [event] = session.receive_data(frame(Signal.PUBLISH, sub=18), 1.0)
        assert event == PublishRequested(0, 18, b"")
        session.answer(0, 18, b"{}")
    assert session.data_to_send() == b""


def test_64_requests_may_be_unanswered_and_not_one_more():
    session = opened()
    for number in range(1, MAX_UNANSWERED_REQUESTS + 1):
        session.receive_data(valid(Signal.PUBLISH, number), 1.0)
    session.answer(7, 0, b"{}")
    session.receive_data(valid(Signal.PUBLISH, 7), 1.0)
    assert not session.closing
    events = session.receive_data(valid(Signal.PUBLISH, 1000), 1.0)
    assert_ended(session, events, DisconnectCode.RATE_LIMITED, "64")


def test_answers_may_come_in_any_order_and_echo_id_and_sub_signal():
    session = opened()
    session.receive_data(frame(Signal.PUBLISH, sub=1, number=1), 1.0)
    session.receive_data(frame(Signal.PUBLISH, sub=19, number=2), 1.0)
    session.answer(2, 19, b'{"ok":true}')
    session.answer(1, 1, b'{"ok":false}')
    assert [(f.signal, f.sub_signal, f.message_id) for f in sent(session)] == [
        (Signal.PUB_ACK, 19, 2),
        (Signal.PUB_ACK, 1, 1),
    ]


# --- CONNECT -------------------------------------------------------------------------------------


def accepted(limits: SessionLimits = LIMITS, **asked: Any) -> tuple[ServerSession, Any]:
    session, event = connecting(limits, CREDENTIALS | asked)
    body = ConnectAccepted(session="s", user=None, node="n", time=5, truncated=[])
    session.accept(event.message_id, body, event.body, expires_at=None, now=0.0)
    return session, said(session)


def test_connect_ack_echoes_the_id_and_says_what_holds():
    _, answer = accepted()
    assert answer == (
        Signal.CONNECT_ACK,
        ConnectStatus.ACCEPTED,
        1,
        {
            "session": "s",
            "user": None,
            "heartbeat": 300,
            "window": 64,
            "max_frame": 1048576,
            "node": "n",
            "time": 5,
            "truncated": [],
        },
    )


@pytest.mark.parametrize(
    ("asked", "holds"), [(1, 10), (10, 10), (77, 77), (1800, 1800), (1801, 1800)]
)
def test_the_heartbeat_is_clamped_in_connect_and_in_ping(asked: int, holds: int):
    session, answer = accepted(heartbeat=asked)
    assert answer[3]["heartbeat"] == session.heartbeat_seconds == holds
    session = opened()
    events = session.receive_data(frame(Signal.PING, {"interval": asked}, number=4), 1.0)
    assert events == [HeartbeatRequested(4, 0)]
    session.pong(4, 0, 123)
    assert said(session) == (Signal.PING, 0, 4, {"interval": holds, "time": 123})


def test_a_ping_without_an_interval_keeps_it():
    session = opened(heartbeat=40)
    session.receive_data(frame(Signal.PING, sub=3, number=4), 1.0)
    session.pong(4, 3, 9)
    assert said(session) == (Signal.PING, 3, 4, {"interval": 40, "time": 9})


@pytest.mark.parametrize(("asked", "holds"), [(1, 1), (64, 64), (65, 64), (2**31 - 1, 64)])
def test_the_window_is_at_most_the_servers(asked: int, holds: int):
    session, answer = accepted(window=asked)
    assert answer[3]["window"] == holds
    assert session.window is not None
    assert session.window.messages_max == holds


def test_a_clients_max_frame_limits_what_is_sent_to_it():
    session, answer = accepted(max_frame=5000)
    assert session.max_frame_bytes == 5000
    assert answer[3]["max_frame"] == LIMITS.max_frame_bytes
    assert accepted(max_frame=2**31 - 1)[0].max_frame_bytes == LIMITS.max_frame_bytes


def test_a_refused_connect_closes():
    session, event = connecting()
    body = ConnectRefused(code="unknown_token", detail="no such device")
    events = session.refuse_connect(event.message_id, ConnectStatus.IDENTIFIER_REJECTED, body)
    assert events == [Ended("IDENTIFIER_REJECTED", "no such device", by_peer=False)]
    refusal = {"code": "unknown_token", "detail": "no such device"}
    assert said(session) == (Signal.CONNECT_ACK, 2, 1, refusal)
    assert session.refuse_connect(1, ConnectStatus.IDENTIFIER_REJECTED, body) == []
    assert session.data_to_send() == b""


def test_nothing_may_come_between_connect_and_its_answer():
    session = ServerSession(LIMITS, 0.0)
    events = session.receive_data(valid(Signal.CONNECT) + valid(Signal.PING, 2), 1.0)
    assert [type(event) for event in events] == [ConnectRequested, Ended]
    assert_ended(session, events, DisconnectCode.BAD_FRAME, "PING")


def test_a_connection_that_ended_meanwhile_is_not_opened():
    session, event = connecting()
    session.tick(LIMITS.handshake_timeout_seconds)
    session.data_to_send()
    body = ConnectAccepted(session="s")
    session.accept(1, body, event.body, expires_at=None, now=11.0)
    assert session.state is State.CLOSING
    assert session.data_to_send() == b""


# --- AUTH ----------------------------------------------------------------------------------------


def test_renewed_credentials_hold_until_their_own_end():
    session = opened(expires_at=50.0)
    session.receive_data(frame(Signal.AUTH, {"jwt": "j"}, number=3), 1.0)
    session.renewed(3, 99_000, 99.0)
    assert said(session) == (Signal.AUTH, 0, 3, {"ok": True, "expires": 99_000})
    assert session.tick(98.9) == []
    assert_ended(session, session.tick(99.0), DisconnectCode.CREDENTIALS_EXPIRED)


def test_a_refused_renewal_leaves_the_old_end():
    session = opened(expires_at=50.0)
    session.receive_data(frame(Signal.AUTH, {"jwt": "j"}, number=3), 1.0)
    session.refuse_renewal(3, RequestError("unauthenticated", "expired"))
    refusal = {"ok": False, "code": "unauthenticated", "detail": "expired"}
    assert said(session) == (Signal.AUTH, 0, 3, refusal)
    assert session.tick(49.9) == []
    assert_ended(session, session.tick(50.0), DisconnectCode.CREDENTIALS_EXPIRED)


# --- Deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.OPENING, State.CONNECTING])
def test_the_handshake_has_ten_seconds_from_accept_whatever_comes(state: State):
    session = in_state(state)
    assert session.next_deadline() == 10.0
    session.receive_data(frame(Signal.SUB)[:9], 9.0)
    assert session.next_deadline() == 10.0
    assert session.tick(9.99) == []
    assert_ended(session, session.tick(10.0), DisconnectCode.HANDSHAKE_TIMEOUT)


def test_a_silent_session_ends_after_the_heartbeat_and_its_grace():
    session = opened(heartbeat=30, now=5.0)
    assert session.next_deadline() == 95.0
    assert session.tick(94.9) == []
    assert_ended(session, session.tick(95.0), DisconnectCode.HEARTBEAT_TIMEOUT, "90 s")


def test_any_bytes_from_the_device_count_as_activity():
    session = opened(heartbeat=30)
    session.receive_data(frame(Signal.PING)[:3], 50.0)
    assert session.next_deadline() == 140.0
    assert session.tick(100.0) == []


def test_what_the_server_sends_does_not_count_as_activity():
    session = opened(heartbeat=30)
    session.notify(b"{}")
    assert [f.signal for f in sent(session)] == [Signal.PUSH]
    assert session.next_deadline() == 90.0


def test_the_next_deadline_is_the_earliest_of_silence_expiry_and_redelivery():
    session = opened(heartbeat=30, expires_at=80.0)
    assert session.next_deadline() == 80.0
    give(session, Subscription("all", 0), now=1.0)
    assert session.next_deadline() == 31.0


def due(session: ServerSession, now: float) -> list[int]:
    """The offsets of what is to be looked up and sent again."""
    events = session.tick(now)
    if not events:
        return []
    [event] = events
    assert isinstance(event, RedeliveryDue)
    return [delivery.offset for delivery in event.deliveries]


def test_the_first_unacknowledged_message_of_each_stream_is_due_again_after_thirty_seconds():
    session = opened()
    subscription, other = Subscription("all", 0), Subscription("dev:T", 0)
    for offset in (1, 2, 3):
        give(session, subscription, offset, 0.0)
    give(session, other, 7, 5.0)
    assert due(session, 29.9) == []
    assert due(session, 30.0) == [1]
    assert session.next_deadline() == 35.0
    assert due(session, 35.0) == [7]
    # They were only looked up: after as long again they are due again.
    assert session.next_deadline() == 60.0
    assert due(session, 60.0) == [1]


def test_an_acknowledgement_puts_the_next_redelivery_off():
    session = opened()
    subscription = Subscription("all", 0)
    for offset in (1, 2, 3):
        give(session, subscription, offset, 0.0)
    for number, now in ((0xC000, 20.0), (0xC001, 45.0)):
        assert due(session, now) == []
        session.receive_data(frame(Signal.PUB_ACK, {}, number=number), now)
    assert session.next_deadline() == 75.0
    assert due(session, 74.9) == []
    assert due(session, 75.0) == [3]


def test_what_was_acknowledged_is_not_due():
    session = opened()
    give(session, Subscription("all", 0))
    session.receive_data(frame(Signal.PUB_ACK, number=0xC000), 1.0)
    assert session.tick(40.0) == []
    assert session.next_deadline() == 361.0


# --- Acknowledgements ----------------------------------------------------------------------------


def test_an_acknowledgement_moves_the_cursor_with_or_without_a_body():
    for body in (None, {}, {"later": 1}):
        session = opened()
        subscription = Subscription("all", 0)
        give(session, subscription)
        assert session.window is not None
        message = session.window.outstanding[0xC000]
        events = session.receive_data(frame(Signal.PUB_ACK, body, number=0xC000), 1.0)
        assert events == [Progress(subscription, (message,))]
        assert subscription.cursor == 7


def test_an_acknowledgement_of_what_is_not_outstanding_is_ignored():
    session = opened()
    give(session, Subscription("all", 0))
    for number in (0, 1, 0xC001, 0xFFFF):
        assert session.receive_data(frame(Signal.PUB_ACK, number=number), 1.0) == []
    session.receive_data(frame(Signal.PUB_ACK, number=0xC000), 1.0)
    assert session.receive_data(frame(Signal.PUB_ACK, number=0xC000), 1.0) == []
    assert not session.closing


def test_an_acknowledgement_is_the_same_alone_and_behind_the_half_of_another_frame():
    """A lone one takes a short cut, which must not overtake what is buffered."""
    session = opened()
    subscription = Subscription("all", 0)
    give(session, subscription)
    assert session.window is not None
    message = session.window.outstanding[0xC000]
    ping = frame(Signal.PING, {"interval": 20}, number=3)
    assert session.receive_data(ping[:12], 1.0) == []
    events = session.receive_data(ping[12:22], 1.0)
    events += session.receive_data(ping[22:] + frame(Signal.PUB_ACK, number=0xC000), 1.0)
    assert events == [HeartbeatRequested(3, 0), Progress(subscription, (message,))]


def test_an_acknowledgement_inside_a_body_is_a_body():
    session = opened()
    give(session, Subscription("all", 0))
    ack = frame(Signal.PUB_ACK, number=0xC000)
    header = encode_frame(Signal.PUBLISH, 1, 1, ack)[:10]
    assert session.receive_data(header, 1.0) == []
    assert session.receive_data(ack, 1.0) == [PublishRequested(1, 1, ack)]


def test_before_the_session_an_acknowledgement_is_a_bad_frame():
    session = ServerSession(LIMITS, 0.0)
    events = session.receive_data(frame(Signal.PUB_ACK, number=0xC000), 1.0)
    assert_ended(session, events, DisconnectCode.BAD_FRAME, "PUB_ACK")


# --- The owner's own end -------------------------------------------------------------------------


def test_a_disconnect_says_when_to_come_back():
    session = opened()
    events = session.disconnect(DisconnectCode.DRAINING, "the server stops", after_seconds=5)
    assert events == [Ended("draining", "the server stops", by_peer=False)]
    body = {"code": "draining", "reason": "the server stops", "after": 5}
    assert said(session) == (Signal.DISCONNECT, 0, 0, body)


def test_answers_said_before_the_end_are_still_sent():
    session = opened()
    session.receive_data(valid(Signal.PING, 4), 1.0)
    session.pong(4, 0, 1)
    session.disconnect(DisconnectCode.KICKED, "go")
    assert [f.signal for f in sent(session)] == [Signal.PING, Signal.DISCONNECT]


def test_a_message_at_qos_0_has_no_id_and_waits_for_no_acknowledgement():
    session = opened()
    session.notify(b'{"kind":"follow"}')
    assert said(session) == (Signal.PUSH, 0, 0, {"kind": "follow"})
    assert session.next_deadline() == 360.0


def test_asked_limits_do_not_leak_into_another_session():
    """The default of `cursors` is one object for all requests only if nobody may change it."""
    first, second = ConnectRequest(jwt="j"), ConnectRequest(jwt="j")
    first.cursors["all"] = "1"
    assert second.cursors == {}


# --- A DISCONNECT behind requests ----------------------------------------------------------------


def test_requests_before_a_disconnect_are_carried_out_before_the_session_ends():
    session, events = ending(3)
    assert [type(event) for event in events] == [*[PublishRequested] * 3, GoodbyeSaid]
    assert session.is_established
    assert session.answer(1, 1, b"{}") == []
    assert session.answer(3, 1, b"{}") == []
    assert session.answer(2, 1, b"{}") == [Ended("closed", "", by_peer=True)]
    assert session.closing
    assert session.data_to_send() == b"", "the peer said that it listens no more"


def test_a_request_without_an_answer_is_carried_out_before_the_end_too():
    session = opened()
    request = frame(Signal.PUBLISH, {})
    session.receive_data(request + frame(Signal.DISCONNECT, {"code": "bye"}), 1.0)
    assert session.state is State.ENDING
    assert session.answer(0, 0, b"{}") == [Ended("bye", "", by_peer=True)]


def test_with_all_requests_answered_a_disconnect_ends_at_once():
    session = opened()
    session.receive_data(frame(Signal.PUBLISH, {}, number=1), 1.0)
    session.answer(1, 0, b"{}")
    events = session.receive_data(frame(Signal.DISCONNECT, {"code": "bye"}), 1.0)
    assert events == [Ended("bye", "", by_peer=True)]
    assert session.closing


def test_the_time_for_requests_before_a_disconnect_is_bounded():
    session, _ = ending(2)
    assert session.next_deadline() == 1.0 + ENDING_SECONDS
    assert session.tick(0.9 + ENDING_SECONDS) == []
    assert session.tick(1.0 + ENDING_SECONDS) == [Ended("closed", "", by_peer=True)]
    assert session.answer(1, 0, b"{}") == []
    assert session.next_deadline() is None


def test_a_jwt_that_ends_drops_what_waits():
    session, _ = ending(2, expires_at=5.0)
    assert session.next_deadline() == 5.0
    assert_ended(session, session.tick(5.0), DisconnectCode.CREDENTIALS_EXPIRED)


@pytest.mark.parametrize("code", [DisconnectCode.KICKED, DisconnectCode.TAKEN_OVER])
def test_who_is_thrown_out_while_requests_wait_loses_them(code: DisconnectCode):
    session, _ = ending(2)
    assert_ended(session, session.disconnect(code, "go"), code)
    assert session.answer(1, 0, b"{}") == []
    assert session.answer(2, 0, b"{}") == []

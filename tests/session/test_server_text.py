"""A server's session with text messages: what differs from binary frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from push.session.entry import Entry
from push.session.events import ConnectRequested, Ended, Event, Progress, PublishRequested
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.transitions import State
from push.session.window import Subscription
from push.wire.bodies import ConnectAccepted
from push.wire.codecs.text import TEXT
from push.wire.websocket.framing import encode_text_frame

LIMITS = SessionLimits()
CREDENTIALS = {"token": "T", "secret": "S"}


def say(session: ServerSession, **message: Any) -> list[Event]:
    return session.receive_data(json.dumps(message).encode(), 1.0)


def opened(**asked: Any) -> ServerSession:
    session = ServerSession(LIMITS, 0.0, TEXT)
    [event] = say(session, signal="CONNECT", messageId=1, content={**CREDENTIALS, **asked})
    assert isinstance(event, ConnectRequested)
    session.accept(1, ConnectAccepted("s"), event.body, expires_at=None, now=0.0)
    session.data_to_send()
    return session


def test_limits_of_what_comes_grow_with_the_session() -> None:
    assert ServerSession(LIMITS, 0.0, TEXT).max_received_bytes == 64 * 1024
    assert opened().max_received_bytes == 1024 * 1024


def test_a_devices_limit_counts_what_is_around_the_body() -> None:
    session = opened(max_frame=4096)
    data = TEXT.push(Entry("i", 0, 1, b"x" * session.max_frame_bytes), 65_535)
    assert len(data) == len(encode_text_frame(b"x" * 4096))


@pytest.mark.parametrize("spaced", [False, True])
def test_an_acknowledgement_moves_the_cursor_in_whatever_spelling(spaced: bool) -> None:
    session = opened()
    assert session.window is not None
    subscription = Subscription("all", 0)
    session.window.add(subscription, entry(5), 7, 1.0)
    separators = (", ", ": ") if spaced else (",", ":")
    message = {"signal": "PUB_ACK", "messageId": 7}
    text = json.dumps(message, separators=separators).encode()
    first = session.window.outstanding[7]
    assert session.receive_data(text, 1.0) == [Progress(subscription, (first,))]
    session.window.add(subscription, entry(6), 8, 1.0)
    second = session.window.outstanding[8]
    moved = [Progress(subscription, (second,))]
    assert say(session, messageId=8, signal="PUB_ACK", content={}) == moved
    assert say(session, signal="PUB_ACK", messageId=8) == []


def entry(offset: int) -> Entry:
    return Entry("i", offset - 1, offset, b'{"data":1}')


def test_before_the_session_the_short_way_is_no_way_around_the_order() -> None:
    session = ServerSession(LIMITS, 0.0, TEXT)
    [ended] = say(session, signal="PUB_ACK", messageId=7)
    assert isinstance(ended, Ended)
    assert ended.code == "bad_frame"
    assert session.state is State.CLOSING


def test_an_unknown_request_keeps_its_name() -> None:
    session = opened()
    [event] = say(session, signal="PUBLISH", subSignal="NEW", messageId=2)
    assert event == PublishRequested(2, "NEW", b"")
    session.answer(2, "NEW", b'{"ok":false}')
    answer = b'{"signal":"PUB_ACK","subSignal":"NEW","messageId":2,"content":{"ok":false}}'
    assert session.data_to_send() == encode_text_frame(answer)


def test_a_session_can_end_without_a_word() -> None:
    session = opened()
    assert session.abandon("closed", "why") == [Ended("closed", "why", by_peer=True)]
    assert session.data_to_send() == b""
    assert session.abandon("closed", "again") == []
    assert say(session, signal="PING") == []

"""The section WebSocket of docs/protocol.md against the code: handshake, messages, codes."""

from __future__ import annotations

import json
import re

import msgspec

from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Entry
from push.session.events import (
    ConnectRequested,
    Ended,
    Event,
    HeartbeatRequested,
    Progress,
    PublishRequested,
    RegisterRequested,
)
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.window import Subscription
from push.wire.bodies import ConnectAccepted
from push.wire.codecs.text import TEXT as CODEC
from push.wire.signals import ConnectStatus, DisconnectCode
from push.wire.websocket.close_codes import close_code
from push.wire.websocket.framing import encode_text_frame
from push.wire.websocket.opening import MAX_HEAD_BYTES, Accepted, Opening, OpeningRules
from push.wire.websocket.origins import Origins
from tests.docs.test_protocol_md import TEXT, rows

SECTION = TEXT.split("\n## WebSocket\n", 1)[1].split("\n## ", 1)[0]
LIMITS = SessionLimits()


def block(name: str) -> str:
    found = re.search(rf"```text {name}\n(.*?)```", SECTION, re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_handshake_is_answered_as_shown() -> None:
    asked, answer = block("handshake").replace("\n", "\r\n").encode().split(b"\r\n\r\n", 1)
    result = Opening(OpeningRules(Origins())).feed(asked + b"\r\n\r\n")
    assert isinstance(result, Accepted)
    assert sorted(result.answer.lower().split(b"\r\n")) == sorted(answer.lower().split(b"\r\n"))


class Played:
    """A session of the server that is told what the device says."""

    def __init__(self) -> None:
        self.session = ServerSession(LIMITS, 0.0, CODEC)
        self.subscription: Subscription | None = None
        self.ended: Ended | None = None

    def take(self, event: Event, answer: dict[str, object]) -> None:
        session = self.session
        if isinstance(event, RegisterRequested):
            session.registered(event.message_id, str(answer["token"]), str(answer["secret"]))
        elif isinstance(event, ConnectRequested):
            accepted = msgspec.convert(answer, ConnectAccepted)
            session.accept(event.message_id, accepted, event.body, expires_at=None, now=1.0)
        elif isinstance(event, HeartbeatRequested):
            time_ms = answer["time"]
            assert isinstance(time_ms, int)
            session.pong(event.message_id, event.sub_signal, time_ms)
        elif isinstance(event, PublishRequested):
            session.answer(event.message_id, event.sub_signal, b'{"ok":true}')
        elif isinstance(event, Progress):
            assert event.subscription is self.subscription
        elif isinstance(event, Ended):
            self.ended = event
        else:
            raise AssertionError(event)

    def push(self, content: dict[str, object]) -> bytes:
        offset = int(str(content["offset"]))
        body = json.dumps(content, separators=(",", ":")).encode()
        entry = Entry(str(content["id"]), 0, offset, body)
        self.subscription = Subscription(str(content["stream"]), 0)
        policy = DeliveryPolicy(LIMITS, lambda *_: None)
        data = policy.from_log(self.session, self.subscription, entry, 1.0)
        assert data is not None
        return data


def test_the_session_is_played_as_shown() -> None:
    played = Played()
    lines = block("session").splitlines()
    shown = [json.loads(line[2:]) for line in lines]
    for place, line in enumerate(lines):
        text = line[2:].encode()
        if line.startswith("→ "):
            [event] = played.session.receive_data(text, 1.0)
            played.take(event, shown[min(place + 1, len(shown) - 1)]["content"])
        elif shown[place]["signal"] == "PUSH":
            assert played.push(shown[place]["content"]) == encode_text_frame(text)
        else:
            assert played.session.data_to_send() == encode_text_frame(text)
    assert played.ended == Ended("bye", "", by_peer=True)


def test_the_codes_of_closing_are_those_of_the_code() -> None:
    table = {row[0]: row[1].strip("`") for row in rows("### How a WebSocket ends")}
    assert {close_code(code.value): code.value for code in DisconnectCode} == {
        int(code): name for code, name in table.items() if code.isdecimal()
    }
    [(name, code)] = re.findall(r"`(\w+)` is (\d+)", table["4100 + number"])
    assert close_code(name) == int(code) == 4100 + ConnectStatus[name]


def test_the_members_and_limits_are_those_of_the_code() -> None:
    table = {row[0].strip("`"): row[2].strip("`") for row in rows("a JSON object:")}
    assert table == {"signal": "never", "subSignal": '""', "messageId": "0", "content": "{}"}
    assert f"more than {MAX_HEAD_BYTES // 1024} KiB" in SECTION

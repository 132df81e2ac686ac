"""docs/protocol.md against the code: its bytes, its tables, its limits. The document cannot lie.

An example is two blocks: a `frame` block in words and JSON, and a `hex` block with its bytes.
"""

from __future__ import annotations

import json
import re
from inspect import getsource
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import BasicConstraints, SubjectAlternativeName

from push.connector.delivery.subscriptions import TruncationNotice
from push.connector.requests.chat import SendBody
from push.daemons.config.settings import Settings
from push.daemons.security.certificate import self_signed
from push.pushing.content import PushContent, encoded
from push.sdk.reconnect import (
    FIRST_CEILING_SECONDS,
    MAX_BAN_SECONDS,
    MAX_CEILING_SECONDS,
    MAX_HOPS,
    STABLE_SECONDS,
)
from push.session.client import ANSWER_SECONDS
from push.session.client.liveness import REQUEST_SILENCE_SECONDS, heartbeat_grace_seconds
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import FIRST_PRIVATE_ID, Entry
from push.session.events import (
    ConnectRequested,
    Ended,
    Event,
    HeartbeatRequested,
    OnlineAcknowledged,
    Progress,
    PublishRequested,
    RegisterRequested,
    RenewRequested,
)
from push.session.server import MAX_REGISTRATIONS_PER_CONNECTION, ServerSession
from push.session.server_answers import MAX_UNANSWERED_REQUESTS, SessionLimits
from push.session.subscription import Subscription
from push.session.transitions import SERVER, State
from push.session.window import MAX_ONLINE_UNACKNOWLEDGED
from push.streams.message import push_body
from push.wire.bodies import (
    MAX_JSON_DEPTH,
    MAX_JWT_BYTES,
    MAX_OPAQUE_BYTES,
    MIN_CLIENT_MAX_FRAME_BYTES,
    ConnectAccepted,
    ConnectRefused,
    RequestAnswer,
    encode_body,
)
from push.wire.errors import RequestError
from push.wire.frames import (
    HEADER_BYTES,
    MAX_FRAME_BEFORE_SESSION_BYTES,
    MAX_FRAME_BYTES,
    Frame,
    FrameDecoder,
    encode_frame,
)
from push.wire.idents import is_token
from push.wire.reading import decoder_for
from push.wire.signals import (
    MAGIC,
    VERSION,
    ConnectStatus,
    DisconnectCode,
    RequestName,
    Signal,
)

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
LIMITS = SessionLimits()
TOKEN = "03NFC9C000W00V"
SECRET = "q83vEjRWeJCrze8SNFZ4kA"


class Example(NamedTuple):
    """`sender` is device or server."""

    sender: str
    frame: Frame
    data: bytes


_EXAMPLE = re.compile(
    r"```frame (\S+)\n"
    r"(device|server): (\w+), sub-signal (\d+), message id (\d+)\n"
    r"(\{.*\}\n)?"
    r"```\n\n```hex\n([0-9a-f \n]+)```"
)


def examples() -> dict[str, Example]:
    found = {}
    for name, sender, signal, sub, number, body, data in _EXAMPLE.findall(TEXT):
        frame = Frame(Signal[signal].value, int(sub), int(number), body.rstrip("\n").encode())
        assert name not in found
        found[name] = Example(sender, frame, bytes.fromhex(data))
    return found


def raw_bytes(name: str) -> bytes:
    match = re.search(rf"```hex {name}\n([0-9a-f \n]+)```", TEXT)
    assert match is not None, name
    return bytes.fromhex(match[1])


EXAMPLES = examples()


def data(name: str) -> bytes:
    return EXAMPLES[name].data


def members(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(EXAMPLES[name].frame.body)
    return value


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table behind a heading or a sentence."""
    behind = TEXT.split(heading, 1)[1]
    table = re.search(r"(?:^\|.*\n)+", behind, re.MULTILINE)
    assert table is not None, heading
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# --- The bytes -----------------------------------------------------------------------------------


def test_every_block_is_an_example_that_is_checked():
    assert len(EXAMPLES) == TEXT.count("```frame ") >= 20
    assert TEXT.count("```hex") == len(EXAMPLES) + 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_bytes_of_an_example_are_its_words(name: str):
    example = EXAMPLES[name]
    assert list(FrameDecoder().feed(example.data)) == [example.frame]
    assert encode_frame(*example.frame) == example.data
    json.loads(example.frame.body or b"{}")


def test_every_signal_has_an_example():
    shown = {example.frame.signal for example in EXAMPLES.values()}
    assert shown == set(Signal) - {Signal.CONTACT}


def test_the_token_of_the_examples_is_one():
    assert is_token(TOKEN)
    assert members("registered") == {"token": TOKEN, "secret": SECRET}


# --- What the server makes of them ---------------------------------------------------------------


def fresh() -> ServerSession:
    return ServerSession(LIMITS, 0.0)


def subscribe_channel(session: ServerSession, name: str) -> Event:
    assert EXAMPLES[name].sender == "device"
    [event] = session.receive_data(data(name), 1.0)
    return event


def opened() -> ServerSession:
    session = fresh()
    event = subscribe_channel(session, "connect")
    assert isinstance(event, ConnectRequested)
    told = members("accepted")
    body = ConnectAccepted(
        session=told["session"],
        user=told["user"],
        node=told["node"],
        time=told["time"],
        truncated=told["truncated"],
    )
    session.accept(event.message_id, body, event.body, expires_at=None, now=1.0)
    return session


def test_register_and_connect_share_a_connection_as_shown():
    session = fresh()
    event = subscribe_channel(session, "register")
    assert isinstance(event, RegisterRequested)
    assert msgspec.to_builtins(event.body) == members("register")
    session.registered(event.message_id, TOKEN, SECRET)
    assert session.data_to_send() == data("registered")
    event = subscribe_channel(session, "connect")
    assert isinstance(event, ConnectRequested)
    assert (event.body.token, event.body.secret, event.body.heartbeat) == (TOKEN, SECRET, 120)


def test_a_refused_registration_is_answered_as_shown():
    session = fresh()
    subscribe_channel(session, "register")
    told = members("registration-refused")
    session.refuse_registration(1, RequestError(told["code"], told["detail"]))
    assert session.data_to_send() == data("registration-refused")


def test_connect_is_accepted_as_shown():
    session = opened()
    assert session.data_to_send() == data("accepted")


def test_connect_is_refused_as_shown():
    session = fresh()
    event = subscribe_channel(session, "connect")
    assert isinstance(event, ConnectRequested)
    example = EXAMPLES["connect-refused"].frame
    body = msgspec.json.decode(example.body, type=ConnectRefused)
    session.refuse_connect(event.message_id, ConnectStatus(example.sub_signal), body)
    assert session.data_to_send() == data("connect-refused")
    assert session.closing


def test_a_redirect_is_answered_as_shown():
    session = fresh()
    event = subscribe_channel(session, "connect")
    assert isinstance(event, ConnectRequested)
    example = EXAMPLES["redirect"].frame
    assert example.sub_signal == ConnectStatus.USE_ANOTHER_SERVER
    body = msgspec.json.decode(example.body, type=ConnectRefused)
    session.refuse_connect(event.message_id, ConnectStatus(example.sub_signal), body)
    assert session.data_to_send() == data("redirect")


def test_a_chat_message_goes_as_shown():
    """`tests/interop` compares the members with those of a real message and its answer."""
    session = opened()
    session.data_to_send()
    event = subscribe_channel(session, "chat-send")
    assert isinstance(event, PublishRequested)
    assert event.sub_signal == RequestName.MS
    body = decoder_for(SendBody)(event.body)
    assert (body.to.user, body.client_id) == ("ben", "m-1")
    session.answer(event.message_id, event.sub_signal, EXAMPLES["chat-sent"].frame.body)
    assert session.data_to_send() == data("chat-sent")
    told = members("chat-message")
    entry = Entry(told["id"], 0, int(told["offset"]), EXAMPLES["chat-message"].frame.body)
    handout = DeliveryPolicy(LIMITS, lambda *_: None)
    follow = Subscription(told["stream"], 0)
    assert handout.from_log(session, follow, entry, 1.0) == data("chat-message")


def test_the_wrong_version_is_answered_as_shown():
    session = fresh()
    session.receive_data(raw_bytes("wrong-version"), 1.0)
    assert session.data_to_send() == data("versions")
    assert session.closing


def pushed(told: dict[str, Any], content: bytes) -> bytes:
    """The body of a PUSH with what an example tells."""
    offset, ts_ms, expires_ms = (
        str(told.get(name, 0)).encode() for name in ("offset", "ts", "expires")
    )
    return push_body(told["stream"], offset, ts_ms, expires_ms, content)


def test_a_message_is_pushed_and_acknowledged_as_shown():
    session = opened()
    session.data_to_send()
    told = members("push")
    offset = int(told["offset"])
    content = encoded(told["id"], PushContent(msgspec.Raw(json_of(told["data"]))))
    body = pushed(told, content)
    assert body == EXAMPLES["push"].frame.body
    follow = Subscription(told["stream"], 0)
    handout = DeliveryPolicy(LIMITS, lambda *_: None)
    entry = Entry(told["id"], 0, offset, body)
    assert handout.from_log(session, follow, entry, 1.0) == data("push")
    assert EXAMPLES["push"].frame.message_id == FIRST_PRIVATE_ID
    assert session.window is not None
    message = session.window.outstanding[FIRST_PRIVATE_ID]
    assert subscribe_channel(session, "ack") == Progress(follow, (message,))
    assert follow.cursor == offset


def test_a_message_at_qos_0_is_pushed_as_shown():
    session = opened()
    session.data_to_send()
    told = members("push-qos-0")
    content = encoded(told["id"], PushContent(msgspec.Raw(json_of(told["data"]))))
    session.notify(pushed(told, content))
    assert session.data_to_send() == data("push-qos-0")


def test_a_message_with_ttl_0_is_pushed_and_acknowledged_as_shown():
    session = opened()
    session.data_to_send()
    told = members("push-ttl-0")
    content = encoded(told["id"], PushContent(msgspec.Raw(json_of(told["data"]))))
    body = pushed(told, content)
    follow = Subscription(told["stream"], 0)
    entry = Entry(told["id"], 0, 0, body, expires_ms=told["expires"], online=True)
    handout = DeliveryPolicy(LIMITS, lambda *_: None)
    assert handout.ephemeral(session, follow, entry, 0.0) == data("push-ttl-0")
    assert subscribe_channel(session, "ack-ttl-0") == OnlineAcknowledged(told["stream"], told["id"])
    assert follow.cursor == 0


def test_what_is_gone_is_told_as_shown():
    session = opened()
    session.data_to_send()
    told = members("truncated")
    notice = TruncationNotice(told["id"], told["stream"], told["from"], told["to"], told["ts"])
    session.notify(msgspec.json.encode(notice))
    assert session.data_to_send() == data("truncated")


def json_of(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def test_a_ping_is_answered_as_shown():
    session = opened()
    session.data_to_send()
    event = subscribe_channel(session, "ping")
    assert isinstance(event, HeartbeatRequested)
    session.pong(event.message_id, event.sub_signal, members("pong")["time"])
    assert session.data_to_send() == data("pong")


def test_pings_may_overlap_and_only_a_session_may_send_one():
    session = opened()
    session.data_to_send()
    for message_id in (3, 3, 0):
        ping = encode_frame(Signal.PING, 0, message_id, b"")
        [event] = session.receive_data(ping, 1.0)
        assert event == HeartbeatRequested(message_id, 0)
    early = fresh()
    early.receive_data(data("ping"), 1.0)
    assert b'"code":"bad_frame"' in early.data_to_send()


def test_new_credentials_are_answered_as_shown():
    for name in ("renewed", "not-renewed"):
        session = opened()
        session.data_to_send()
        event = subscribe_channel(session, "auth")
        assert isinstance(event, RenewRequested)
        told = members(name)
        if told["ok"]:
            session.renewed(event.message_id, told["expires"], 1e6)
        else:
            session.refuse_renewal(event.message_id, RequestError(told["code"], told["detail"]))
        assert session.data_to_send() == data(name)


def test_a_publish_is_answered_as_shown():
    session = opened()
    session.data_to_send()
    event = subscribe_channel(session, "publish")
    assert isinstance(event, PublishRequested)
    assert (event.sub_signal, event.body) == (RequestName.TS, b'{"topic":"weather"}')
    session.answer(event.message_id, event.sub_signal, b'{"ok":true}')
    assert session.data_to_send() == data("publish-answer")
    told = members("publish-refused")
    answer = RequestAnswer(ok=False, code=told["code"], detail=told["detail"], field=told["field"])
    session.answer(6, RequestName.TS, encode_body(answer))
    assert session.data_to_send() == data("publish-refused")


def test_a_device_says_goodbye_as_shown():
    for session in (fresh(), opened()):
        session.data_to_send()
        assert subscribe_channel(session, "bye") == Ended("bye", "switched off", by_peer=True)
        assert session.data_to_send() == b""


@pytest.mark.parametrize("name", ["taken-over", "draining"])
def test_the_server_says_goodbye_as_shown(name: str):
    session = opened()
    session.data_to_send()
    told = members(name)
    session.disconnect(
        DisconnectCode(told["code"]), told["reason"], after_seconds=told.get("after")
    )
    assert session.data_to_send() == data(name)


def test_what_is_wrong_is_answered_as_shown():
    for sent, answer in (
        (data("no-secret"), "no-secret-answer"),
        (raw_bytes("http"), "http-answer"),
    ):
        session = fresh()
        session.receive_data(sent, 1.0)
        assert session.data_to_send() == data(answer)
        assert session.closing


def test_a_client_waits_for_a_ping_as_is_written():
    """The Python client does what the page asks of every client."""
    assert "a quarter of the interval, at least 10 s and at most 60 s" in TEXT
    seconds = [heartbeat_grace_seconds(interval) for interval in (10, 40, 100, 240, 1800)]
    assert seconds == [10, 10, 25, 60, 60]
    assert f"unanswered for {REQUEST_SILENCE_SECONDS:g} s" in TEXT
    assert f"no `CONNECT_ACK` {ANSWER_SECONDS:g} s after" in TEXT


def test_a_client_backs_off_as_is_written():
    section = " ".join(TEXT.split("\n## Reconnecting\n", 1)[1].split())
    assert f"The ceiling is {FIRST_CEILING_SECONDS:g} s after the first failure" in section
    assert f"is at most {MAX_CEILING_SECONDS:g} s" in section
    assert f"after a session that lasted {STABLE_SECONDS:g} s from its `CONNECT_ACK`" in section
    assert {3: "after three in a row"}[MAX_HOPS] in section
    assert {86_400: "a timer of at most a day"}[MAX_BAN_SECONDS] in section


def test_the_names_of_a_certificate_are_those_that_are_written():
    certificate = self_signed(ec.generate_private_key(ec.SECP256R1()), "machine-1.example")
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [
        "localhost",
        "machine-1.example",
        "127.0.0.1",
        "::1",
    ]
    assert certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    told = "`localhost`, the name of the machine, and the addresses `127.0.0.1` and `::1`"
    assert told in " ".join(TEXT.split())


def test_the_bytes_to_send_by_hand_are_frames():
    strings = re.findall(r"printf '(.*?)'", TEXT.split("\n## By hand\n")[1])
    assert len(strings) == 2
    version, register = (
        text.encode("latin-1").decode("unicode_escape").encode("latin-1") for text in strings
    )
    assert version == raw_bytes("wrong-version")
    session = fresh()
    [event] = session.receive_data(register, 1.0)
    assert isinstance(event, RegisterRequested)
    assert HEADER_BYTES + 1 == 11
    assert "tail -c +11" in TEXT


# --- The tables ----------------------------------------------------------------------------------


def test_the_signals_are_all_there_with_their_numbers():
    table = {row[0].strip("`"): int(row[1]) for row in rows("0 = none |\n")}
    assert table == {signal.name: signal.value for signal in Signal}


def test_the_requests_are_all_there_with_their_numbers():
    section = TEXT.split("\n## PUBLISH: requests\n", 1)[1].split("\n## ", 1)[0]
    listed = section.split("The numbers are: ", 1)[1].split(".", 1)[0]
    assert dict(re.findall(r"`(\w+)`\s(\d+)", listed)) == {
        request.name: str(request.value) for request in RequestName
    }
    explained = set(re.findall(r"`([A-Z]+)`", section.split("### Chat", 1)[1]))
    # The code says beside each what it is, and of the same ones that they are reserved.
    said = dict(re.findall(r"^    (\w+) = \d+  # (.+)$", getsource(RequestName), re.MULTILINE))
    assert said.keys() == {request.name for request in RequestName}
    assert {name for name, words in said.items() if words == "reserved"} == said.keys() - explained


def test_the_results_of_connect_are_all_there_with_their_numbers():
    table = {row[1].strip("`"): int(row[0]) for row in rows("Its sub-signal is the result:")}
    assert table == {status.name: status.value for status in ConnectStatus}


def test_the_codes_of_disconnect_are_all_there_in_order():
    table = [row[0].strip("`") for row in rows("# DISCONNECT: the end")]
    assert table == [code.value for code in DisconnectCode]


def test_what_may_be_sent_in_each_state_is_the_table_of_the_code():
    table = {row[0]: set(re.findall(r"`(\w+)`", row[2])) for row in rows("## Order of things")}
    assert table == {
        state.name.lower(): {Signal(signal).name for signal in cells}
        for state, cells in SERVER.items()
    }
    assert set(State) == set(SERVER)


def test_the_header_is_the_codes():
    table = [(int(row[0]), int(row[1])) for row in rows("## Frames")]
    ends = [offset + size for offset, size in table]
    assert [offset for offset, _ in table] == [0, *ends[:-1]]
    assert ends[-1] == HEADER_BYTES
    assert f"`{MAGIC:#04X}`".replace("X", "x") in TEXT
    assert f"| version | `{VERSION}` |" in TEXT


def test_the_limits_are_the_codes():
    table = {row[0]: row[1] for row in rows("## Limits")}

    def numbers(what: str) -> list[int]:
        return [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", table[what])]

    assert numbers("a body from the device before `CONNECT_ACK`") == [
        MAX_FRAME_BEFORE_SESSION_BYTES
    ]
    assert numbers("a body from the device in a session") == [MAX_FRAME_BYTES]
    assert LIMITS.max_frame_bytes == MAX_FRAME_BYTES
    assert numbers("`max_frame` of a `CONNECT`") == [MIN_CLIENT_MAX_FRAME_BYTES]
    assert numbers("depth of JSON") == [MAX_JSON_DEPTH]
    assert numbers("`SUB` on one connection") == [MAX_REGISTRATIONS_PER_CONNECTION]
    assert numbers("unanswered `PUBLISH`") == [MAX_UNANSWERED_REQUESTS]
    assert numbers("a JWT") == [MAX_JWT_BYTES]
    assert numbers("topics that a device follows") == [Settings().topics.max_per_device]
    assert numbers("opaque strings, `platform`, `app`, `sdk`") == [MAX_OPAQUE_BYTES]
    assert numbers("messages in the window") == [LIMITS.window_messages]
    assert numbers("copies of a message") == [LIMITS.max_deliveries]
    assert numbers("heartbeat interval") == [
        LIMITS.heartbeat_min_seconds,
        LIMITS.heartbeat_max_seconds,
        LIMITS.heartbeat_seconds,
    ]
    assert numbers("heartbeat grace") == [LIMITS.heartbeat_grace_seconds]
    assert numbers("handshake") == [LIMITS.handshake_timeout_seconds]
    assert numbers("redelivery after") == [LIMITS.redeliver_after_seconds]
    assert LIMITS.window_bytes == 1024 * 1024
    assert numbers("messages with `ttl` 0 that wait for an acknowledgement") == [
        MAX_ONLINE_UNACKNOWLEDGED
    ]
    assert f"{MAX_ONLINE_UNACKNOWLEDGED} of them unacknowledged" in " ".join(TEXT.split())


def test_links_inside_the_document_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for link in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert link in headings, link

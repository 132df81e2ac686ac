"""Frames of RFC 6455: the short way and the long way say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from push.wire.websocket.framing import (
    NO_STATUS,
    CloseReceived,
    MessageReader,
    Pinged,
    TooLarge,
    Violation,
    WebSocketMessage,
    encode_close,
    encode_pong,
    encode_text_frame,
    read_short_text,
    read_text_frame,
    unmasked,
)

LIMIT = 100_000


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return bytes(Frame(opcode, payload, fin).serialize(mask=True))


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_mask_is_each_byte_in_turn(payload: bytes, mask: bytes) -> None:
    once = unmasked(payload, mask)
    assert once == bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert unmasked(once, mask) == payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, LIMIT])
def test_a_whole_text_is_read_at_once(size: int) -> None:
    text = b"x" * size
    frame = masked(Opcode.TEXT, text)
    assert read_text_frame(b"before" + frame + b"after", 6, LIMIT) == (text, 6 + len(frame))
    assert read_short_text(frame) == (text if size <= 125 else None)
    assert read_short_text(frame + frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        masked(Opcode.TEXT, b"abc")[:-1],
        masked(Opcode.TEXT, b"x" * 126)[:5],
        masked(Opcode.TEXT, b"", fin=False),
        masked(Opcode.CONT, b"x"),
        masked(Opcode.BINARY, b"x"),
        masked(Opcode.PING, b"x"),
        masked(Opcode.CLOSE, b""),
        bytes(Frame(Opcode.TEXT, b"x" * 9).serialize(mask=False)),
        masked(Opcode.TEXT, b"\xff"),
        masked(Opcode.TEXT, b"x" * (LIMIT + 1)),
        b"\x81\xfe\x00\x7dmask" + b"x" * 125,
        b"\x81\xff" + (65_535).to_bytes(8, "big") + b"mask" + b"x" * 65_535,
        b"\xc1\x80mask",
    ],
    ids=range(14),  # the masks are random
)
def test_all_else_is_left_to_the_reader(frame: bytes) -> None:
    assert read_text_frame(frame, 0, LIMIT) is None
    assert read_short_text(frame) is None


SENT = st.lists(
    st.one_of(
        st.builds(masked, st.just(Opcode.TEXT), st.text(max_size=300).map(str.encode)),
        st.builds(masked, st.just(Opcode.BINARY), st.binary(max_size=300)),
        st.builds(masked, st.just(Opcode.PING), st.binary(max_size=125)),
        st.builds(
            lambda text: masked(Opcode.TEXT, text, fin=False) + masked(Opcode.CONT, b"!"),
            st.text(max_size=9).map(str.encode),
        ),
    ),
    max_size=6,
)


@given(SENT, st.lists(st.integers(1, 40)))
def test_however_it_is_cut_the_same_is_read(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    whole = [*MessageReader().feed(data, 0, LIMIT)]
    reader, found, start = MessageReader(), [], 0
    for size in [*cuts, len(data)]:
        found += reader.feed(data[: start + size], start, LIMIT)
        start = min(start + size, len(data))
    assert found == whole
    assert reader.at_rest
    texts = [each.payload for each in whole if isinstance(each, WebSocketMessage) and each.is_text]
    short = [read_text_frame(frame, 0, LIMIT) for frame in frames]
    assert [text for text in texts if not text.endswith(b"!")] == [
        found[0] for found in short if found is not None and not found[0].endswith(b"!")
    ]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error_of_ours(data: bytes) -> None:
    events = [*MessageReader().feed(data, 0, LIMIT)]
    for event in events[:-1]:
        assert isinstance(event, WebSocketMessage | Pinged)


@pytest.mark.parametrize("bytewise", [False, True])
def test_the_reader_is_at_rest_when_nothing_is_incomplete(bytewise: bool) -> None:
    reader = MessageReader()
    parts = [
        (masked(Opcode.TEXT, b"a", fin=False), False),
        (masked(Opcode.PING, b"b"), False),
        (masked(Opcode.CONT, b"x" * 200), True),
        (masked(Opcode.PING, b"x" * 125), True),
        (masked(Opcode.BINARY, b"")[:3], False),
        (masked(Opcode.BINARY, b"")[3:], True),
    ]
    for data, at_rest in parts:
        for piece in [data[n : n + 1] for n in range(len(data))] if bytewise else [data]:
            for event in reader.feed(piece, 0, LIMIT):
                assert not isinstance(event, Violation)
        assert reader.at_rest is at_rest


def test_a_length_over_the_limit_is_known_before_the_message_is_there() -> None:
    head = b"\x81\xff" + (LIMIT + 1).to_bytes(8, "big") + b"mask"
    assert [*MessageReader().feed(head, 0, LIMIT)] == [TooLarge(LIMIT + 1)]
    reader = MessageReader()
    first = masked(Opcode.TEXT, b"x" * LIMIT, fin=False)
    assert [*reader.feed(first, 0, LIMIT)] == []
    assert [*reader.feed(masked(Opcode.CONT, b"x"), 0, LIMIT)] == [TooLarge(LIMIT + 1)]


def test_what_is_wrong_comes_before_what_is_too_large() -> None:
    head = b"\xc1\xff" + (LIMIT + 1).to_bytes(8, "big") + b"mask"
    [event] = MessageReader().feed(head, 0, LIMIT)
    assert isinstance(event, Violation)
    assert event.code == 1002


def test_closing() -> None:
    close = masked(Opcode.CLOSE, Close(4000, "why ä").serialize())
    assert [*MessageReader().feed(close + close, 0, LIMIT)] == [CloseReceived(4000, "why ä")]
    nothing = masked(Opcode.CLOSE, b"")
    assert [*MessageReader().feed(nothing, 0, LIMIT)] == [CloseReceived(NO_STATUS, "")]


@pytest.mark.parametrize("reason", ["", "short", "ä" * 100, "a" + "ä" * 100, "\ud800" * 50])
def test_a_close_frame_holds_what_fits_of_its_reason(reason: str) -> None:
    data = encode_close(1002, reason)
    assert data[0] == 0x88
    assert len(data) == 2 + data[1] <= 2 + 125
    said = Close.parse(data[2:])
    assert said.code == 1002
    assert reason.encode("utf-8", "backslashreplace").decode().startswith(said.reason)
    assert encode_close(NO_STATUS) == b"\x88\x00"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_what_is_sent_is_as_another_implementation_sends_it(size: int) -> None:
    payload = b"x" * size
    assert encode_text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    if size <= 125:
        assert encode_pong(payload) == Frame(Opcode.PONG, payload).serialize(mask=False)

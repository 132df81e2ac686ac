"""Binary frames: whole, byte by byte, with trailing data, at random; limits and order of checks."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.wire.errors import ProtocolError, VersionMismatch
from push.wire.frames import (
    HEADER_BYTES,
    MAX_FRAME_BEFORE_SESSION_BYTES,
    MAX_FRAME_BYTES,
    Frame,
    FrameDecoder,
    encode_frame,
)
from push.wire.signals import DisconnectCode, Signal

frames = st.builds(
    Frame,
    signal=st.integers(0, 127),
    sub_signal=st.integers(0, 127),
    message_id=st.integers(0, 65535),
    body=st.binary(max_size=60),
)


def encoded(*many: Frame) -> bytes:
    return b"".join(encode_frame(f.signal, f.sub_signal, f.message_id, f.body) for f in many)


def header(
    magic: int = 0xF8,
    version: int = 2,
    signal: int = 1,
    length: int = 0,
    sub_signal: int = 0,
    message_id: int = 0,
) -> bytes:
    return struct.pack(">BBBIBH", magic, version, signal, length, sub_signal, message_id)


def fed(decoder: FrameDecoder, *parts: bytes) -> list[Frame]:
    return [frame for part in parts for frame in decoder.feed(part)]


def outcome(parts: list[bytes]) -> tuple[list[Frame], str | None]:
    """The frames before the first error, and the error."""
    decoder = FrameDecoder(max_frame_bytes=4096, accepted=frozenset(range(1, 11)))
    got: list[Frame] = []
    try:
        for part in parts:
            for frame in decoder.feed(part):
                got.append(frame)
    except ProtocolError as error:
        return got, str(error)
    return got, None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]


# --- The header ----------------------------------------------------------------------------------


def test_the_header_is_ten_bytes_in_the_documented_order():
    frame = encode_frame(0x04, 0x05, 0x0607, b"{}")
    assert frame.hex(" ") == "f8 02 04 00 00 00 02 05 06 07 7b 7d"


def test_numbers_no_header_can_carry_are_refused_by_the_encoder():
    for numbers in ((256, 0, 0), (0, 256, 0), (0, 0, 65536), (-1, 0, 0)):
        with pytest.raises(struct.error):
            encode_frame(*numbers)


# --- Segmentation --------------------------------------------------------------------------------


@given(st.lists(frames, max_size=6))
def test_what_was_encoded_is_decoded_whole(many: list[Frame]):
    decoder = FrameDecoder()
    assert fed(decoder, encoded(*many)) == many
    assert decoder.buffered_bytes == 0


@given(st.lists(frames, max_size=4))
def test_what_was_encoded_is_decoded_byte_by_byte(many: list[Frame]):
    decoder = FrameDecoder()
    data = encoded(*many)
    assert fed(decoder, *(data[i : i + 1] for i in range(len(data)))) == many
    assert decoder.buffered_bytes == 0


@given(st.lists(frames, max_size=4), frames, st.data())
def test_trailing_data_is_kept_until_its_rest_comes(
    many: list[Frame], last: Frame, data: st.DataObject
):
    decoder = FrameDecoder()
    tail = encoded(last)
    place = data.draw(st.integers(0, len(tail) - 1))
    assert fed(decoder, encoded(*many) + tail[:place]) == many
    assert decoder.buffered_bytes == place
    assert fed(decoder, tail[place:]) == [last]
    assert decoder.buffered_bytes == 0


def test_an_empty_read_changes_nothing():
    decoder = FrameDecoder()
    assert fed(decoder, b"", header()[:4], b"", header()[4:], b"") == [Frame(1, 0, 0, b"")]


def test_each_frame_is_handed_out_before_the_error_behind_it():
    decoder = FrameDecoder()
    reading = decoder.feed(header() + header(signal=2) + b"x")
    assert next(reading).signal == 1
    assert next(reading).signal == 2
    with pytest.raises(ProtocolError, match="magic: 0x78"):
        next(reading)


def test_discard_forgets_what_was_incomplete():
    decoder = FrameDecoder()
    fed(decoder, header()[:7])
    decoder.discard()
    assert decoder.buffered_bytes == 0
    assert fed(decoder, header(signal=3)) == [Frame(3, 0, 0, b"")]


near_frames = st.one_of(
    st.binary(max_size=30),
    frames.map(encoded),
    st.builds(
        header,
        magic=st.sampled_from([0xF8, 0xF8, 0xF8, 0xF7]),
        version=st.sampled_from([2, 2, 2, 1]),
        signal=st.integers(0, 255),
        length=st.sampled_from([0, 1, 5, 4096, 4097, 2**32 - 1]),
        sub_signal=st.integers(0, 255),
        message_id=st.integers(0, 65535),
    ),
)


@given(st.lists(near_frames, max_size=5).map(b"".join), st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_give_the_same_frames_and_error_however_they_are_cut(
    data: bytes, places: list[int]
):
    """Only ProtocolError comes out: any other exception would end this test."""
    whole = outcome([data])
    assert outcome(cut(data, places)) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


# --- The order of checks -------------------------------------------------------------------------

# Each is wrong in one place more than the next; the first that is named must be the earliest.
WRONG = [
    (header(0xF9, 3, 0x90, 2**32 - 1, 0x80), "bad_frame: magic: 0xf9 instead of 0xf8"),
    (header(0xF8, 3, 0x90, 2**32 - 1, 0x80), "bad_frame: version: 3"),
    (header(0xF8, 2, 0x90, 2**32 - 1, 0x00), "bad_frame: reserved bits"),
    (header(0xF8, 2, 0x10, 2**32 - 1, 0x80), "bad_frame: reserved bits"),
    (header(0xF8, 2, 0x10, 2**32 - 1, 0x00), "bad_frame: signal: signal 16"),
    (header(0xF8, 2, 0x04, 2**32 - 1, 0x00), "bad_frame: signal: PUSH"),
    (header(0xF8, 2, 0x01, 2**32 - 1, 0x00), "frame_too_large: length: 4294967295"),
]


@pytest.mark.parametrize(("data", "reason"), WRONG)
def test_checks_go_magic_version_reserved_bits_signal_length(data: bytes, reason: str):
    for parts in ([data], [data[i : i + 1] for i in range(len(data))], [data + b"{}" * 9]):
        decoder = FrameDecoder(accepted=frozenset({Signal.SUB}))
        with pytest.raises(ProtocolError) as caught:
            fed(decoder, *parts)
        assert str(caught.value).startswith(reason)


def test_a_wrong_magic_is_seen_at_the_first_byte():
    with pytest.raises(ProtocolError, match="magic"):
        fed(FrameDecoder(), b"G")


def test_a_wrong_version_is_seen_at_the_second_byte_and_is_named():
    with pytest.raises(VersionMismatch) as caught:
        fed(FrameDecoder(), b"\xf8", b"\x01")
    assert caught.value.version == 1
    assert caught.value.code is DisconnectCode.BAD_FRAME


def test_without_a_set_of_accepted_signals_any_of_them_comes_out():
    data = b"".join(header(signal=signal) for signal in range(128))
    assert [frame.signal for frame in fed(FrameDecoder(), data)] == list(range(128))


# --- Limits --------------------------------------------------------------------------------------


def test_before_a_session_64_kib_pass_and_a_byte_more_does_not():
    size = MAX_FRAME_BEFORE_SESSION_BYTES
    assert size == 64 * 1024
    [frame] = fed(FrameDecoder(), header(length=size) + bytes(size))
    assert len(frame.body) == size
    with pytest.raises(ProtocolError) as caught:
        fed(FrameDecoder(), header(length=size + 1))
    assert caught.value.code is DisconnectCode.FRAME_TOO_LARGE


def test_in_a_session_1_mib_passes_and_a_byte_more_does_not():
    assert MAX_FRAME_BYTES == 1024 * 1024
    data = header(length=MAX_FRAME_BYTES) + bytes(MAX_FRAME_BYTES)
    [frame] = fed(FrameDecoder(MAX_FRAME_BYTES), data[:500_000], data[500_000:])
    assert len(frame.body) == MAX_FRAME_BYTES
    with pytest.raises(ProtocolError, match="1048577 bytes where at most 1048576"):
        fed(FrameDecoder(MAX_FRAME_BYTES), header(length=MAX_FRAME_BYTES + 1))


def test_a_length_of_4_gib_is_refused_by_the_header_alone_and_nothing_is_kept():
    decoder = FrameDecoder(MAX_FRAME_BYTES)
    data = header(length=2**32 - 1)
    assert fed(decoder, *(data[i : i + 1] for i in range(HEADER_BYTES - 1))) == []
    with pytest.raises(ProtocolError) as caught:
        fed(decoder, data[-1:] + bytes(100_000))
    assert caught.value.code is DisconnectCode.FRAME_TOO_LARGE
    fresh = FrameDecoder(MAX_FRAME_BYTES)
    with pytest.raises(ProtocolError, match="4294967295"):
        fed(fresh, data + bytes(100_000))
    assert fresh.buffered_bytes == 0


def test_limits_may_change_between_two_frames_of_one_read():
    decoder = FrameDecoder(max_frame_bytes=4, accepted=frozenset({1}))
    reading = decoder.feed(header(length=4) + b"abcd" + header(signal=2, length=5) + b"fghij")
    assert next(reading).body == b"abcd"
    decoder.max_frame_bytes, decoder.accepted = 5, frozenset({2})
    assert next(reading) == Frame(2, 0, 0, b"fghij")

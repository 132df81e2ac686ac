"""Acknowledgements that are known without a decoder."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from push.wire.codecs.binary import BINARY
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import Signal

ACKNOWLEDGEMENT = encode_frame(Signal.PUB_ACK)
HEADER_OF_IT = ACKNOWLEDGEMENT[:8]
FRAMES = st.one_of(
    st.integers(0, 0xFFFF).map(lambda number: encode_frame(Signal.PUB_ACK, 0, number)),
    st.just(encode_frame(Signal.PUB_ACK, 1, 7)),
    st.just(encode_frame(Signal.PUB_ACK, 0, 7, b"{}")),
    st.just(encode_frame(Signal.PING, 0, 7)),
    # Bodies that look like acknowledgements.
    st.integers(1, 4).map(lambda n: encode_frame(Signal.PUBLISH, 1, 7, ACKNOWLEDGEMENT * n)),
    st.integers(1, 4).map(lambda n: encode_frame(Signal.PUBLISH, 1, 7, HEADER_OF_IT * 5 * n)),
)


@given(st.lists(FRAMES, max_size=6).map(b"".join), st.integers(0, 12))
@example(ACKNOWLEDGEMENT * 40, 0)
@example(encode_frame(Signal.PUB_ACK, 0, 0xF802) * 3, 0)
def test_they_are_what_a_decoder_would_say(whole: bytes, cut: int) -> None:
    data = whole[: len(whole) - cut] if cut else whole
    decoder = FrameDecoder()
    frames = [*decoder.feed(data)]
    acknowledged = [
        frame.message_id
        for frame in frames
        if frame.signal == Signal.PUB_ACK and not frame.sub_signal and not frame.body
    ]
    ids = BINARY.acknowledged_ids(data)
    if len(acknowledged) * len(ACKNOWLEDGEMENT) == len(data):
        assert [*ids] == acknowledged
    else:
        assert not ids

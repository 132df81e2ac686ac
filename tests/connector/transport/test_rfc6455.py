"""The carrier keeps to RFC 6455, as an echo server: each case whole, byte by byte, and in pieces.

Frames are made and read by another implementation (`websockets`). The cases follow the sections of
the Autobahn suite: 1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closing,
9 large messages, 10 many fragments.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import pytest
from twisted.internet.testing import StringTransportWithDisconnection
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from push.wire.websocket.opening import OpeningRules
from push.wire.websocket.origins import ANY, Origins
from tests.connector.transport.echo_server import (
    MAX_MESSAGE_BYTES,
    EchoConnection,
    EchoFactory,
    EchoOwner,
)

END_BYTES = 2_000  # the parts of long messages that are cut
RULES = OpeningRules(Origins([ANY]), path="/", sub_protocol=None)
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, PING, PONG = Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG
CONT, CLOSE = Opcode.CONT, Opcode.CLOSE
Sent = tuple[Opcode, bytes]


def frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    if opcode in (TEXT, BINARY, CONT):
        made = bytes(Frame(opcode, payload, fin).serialize(mask=True))
    else:
        made = of_any_length(opcode, payload)
    return bytes([made[0] | rsv << 4]) + made[1:]


def of_any_length(opcode: int, payload: bytes) -> bytes:
    """A frame with whatever opcode, also one that does not exist, and a payload of any length."""
    ordinary = bytes(Frame(TEXT, payload).serialize(mask=True))
    return bytes([0x80 | opcode]) + ordinary[1:]


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def frames_in(data: bytes) -> list[Sent]:
    """What a server has sent, read by a client."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while not _step(reader.at_eof()):
        got: Frame = _step(Frame.parse(reader.read_exact, mask=False))
        assert got.fin
        got.check()
        found.append((got.opcode, bytes(got.data)))
    return found


def _step(running: Generator[None, None, Any]) -> Any:
    try:
        next(running)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the server has sent a part of a frame")


class Peer:
    """A client that has opened its WebSocket."""

    def __init__(self) -> None:
        self.owner = EchoOwner()
        self.connection: EchoConnection = EchoFactory(self.owner, RULES, "wss").buildProtocol()
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self.connection
        self.transport.setTcpNoDelay = lambda enabled: None  # type: ignore[attr-defined]
        self.connection.makeConnection(self.transport)
        self.connection.handshakeCompleted()
        self.send([REQUEST])
        assert self.transport.value().startswith(b"HTTP/1.1 101 ")
        self.transport.clear()

    def send(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            if self.transport.connected:
                self.connection.dataReceived(piece)

    @property
    def received(self) -> list[Sent]:
        return frames_in(self.transport.value())


def cut(data: bytes, size: int) -> list[bytes]:
    """In pieces of `size`; the middle of what is long is one, for all of it is alike."""
    if len(data) > 4 * END_BYTES:
        first, middle, last = data[:END_BYTES], data[END_BYTES:-END_BYTES], data[-END_BYTES:]
        return [*cut(first, size), middle, *cut(last, size)]
    return [data[start : start + size] for start in range(0, len(data), size)]


class Case(NamedTuple):
    sent: bytes
    answered: list[Sent]
    closed_with: int | None = None  # then the connection ends, and nothing else is answered


SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536)
HELLO = frame(TEXT, b"Hello")
HELLO_BACK = (TEXT, b"Hello")
VALID_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
INVALID_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
GOOD_TEXTS = (
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\uffff",
    "\U00010000\U0010ffff",
)
BAD_TEXTS = (
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xbf\xbf",
    b"\xfe\xfe\xff\xff",
    b"abc\xe1\xbd",  # ends within a character
)


def framing() -> Iterator[tuple[str, Case]]:
    for size in SIZES:
        yield f"1-text-{size}", Case(frame(TEXT, b"*" * size), [(TEXT, b"*" * size)])
        yield f"1-binary-{size}", Case(frame(BINARY, b"\xfe" * size), [(BINARY, b"\xfe" * size)])
    unmasked = bytes(Frame(TEXT, b"Hello").serialize(mask=False))
    yield "1-unmasked", Case(HELLO + unmasked, [HELLO_BACK], 1002)
    masked = frame(TEXT, b"*" * 125)
    wide = bytes([masked[0], 0x80 | 126, 0, 125]) + masked[2:]
    yield "1-length-in-too-many-bytes", Case(wide, [], 1002)
    wider = bytes([masked[0], 0x80 | 127]) + (125).to_bytes(8, "big") + masked[2:]
    yield "1-length-in-far-too-many-bytes", Case(wider, [], 1002)
    negative = bytes([masked[0], 0x80 | 127]) + b"\xff" * 8 + masked[2:]
    yield "1-length-without-end", Case(negative, [], 1002)


def pings() -> Iterator[tuple[str, Case]]:
    for name, payload in (
        ("empty", b""),
        ("text", b"Hi"),
        ("bytes", b"\x00\xff\xfe"),
        ("most", b"\xfe" * 125),
    ):
        yield f"2-{name}", Case(frame(PING, payload), [(PONG, payload)])
    yield "2-too-long", Case(of_any_length(PING, b"*" * 126), [], 1002)
    yield "2-pong-unasked", Case(frame(PONG, b"x") + frame(PING, b"y"), [(PONG, b"y")])
    ten = [b"payload-%d" % n for n in range(10)]
    sent = b"".join(frame(PING, each) for each in ten)
    yield "2-ten", Case(sent, [(PONG, each) for each in ten])


def reserved() -> Iterator[tuple[str, Case]]:
    for rsv in range(1, 8):
        for opcode in (TEXT, BINARY, PING, CLOSE):
            wrong = frame(opcode, b"", rsv=rsv)
            yield f"3-{rsv}-{opcode.name}", Case(HELLO + wrong + HELLO, [HELLO_BACK], 1002)
    yield "3-first", Case(frame(TEXT, b"x" * 200, rsv=4), [], 1002)


def opcodes() -> Iterator[tuple[str, Case]]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"reserved opcode"):
            case = Case(HELLO + of_any_length(opcode, payload) + HELLO, [HELLO_BACK], 1002)
            yield f"4-{opcode}-{len(payload)}", case


def fragments() -> Iterator[tuple[str, Case]]:
    one, two, three = (b"frag1", b"frag2", b"frag3")
    for opcode in (TEXT, BINARY):
        begin, end = frame(opcode, one, fin=False), frame(CONT, two)
        kind = opcode.name.lower()
        yield f"5-{kind}", Case(begin + end, [(opcode, one + two)])
        ping = frame(PING, b"in between")
        case = Case(begin + ping + end, [(PONG, b"in between"), (opcode, one + two)])
        yield f"5-{kind}-ping-within", case
        many = (
            begin
            + frame(CONT, two, fin=False)
            + ping
            + frame(CONT, b"", fin=False)
            + frame(CONT, three)
        )
        yield f"5-{kind}-many", Case(many, [(PONG, b"in between"), (opcode, one + two + three)])
        yield (
            f"5-{kind}-empty-parts",
            Case(
                frame(opcode, b"", fin=False) + frame(CONT, b"", fin=False) + frame(CONT, b""),
                [(opcode, b"")],
            ),
        )
        yield f"5-{kind}-another-within", Case(begin + frame(opcode, two), [], 1002)
        yield f"5-{kind}-then-whole", Case(begin + end + HELLO, [(opcode, one + two), HELLO_BACK])
    for fin in (True, False):
        alone = frame(CONT, one, fin=fin)
        yield f"5-continuation-of-nothing-{fin}", Case(HELLO + alone + HELLO, [HELLO_BACK], 1002)
    for opcode in (PING, PONG, CLOSE):
        ordinary = frame(opcode, b"")
        cut_short = bytes([ordinary[0] & 0x7F]) + ordinary[1:]
        yield f"5-fragmented-{opcode.name}", Case(cut_short + frame(CONT), [], 1002)


def utf8() -> Iterator[tuple[str, Case]]:
    for place, text in enumerate(GOOD_TEXTS):
        raw = text.encode()
        yield f"6-good-{place}", Case(frame(TEXT, raw) + HELLO, [(TEXT, raw), HELLO_BACK])
        parts = b"".join(frame(CONT, raw[n : n + 1], fin=False) for n in range(1, len(raw)))
        fragmented = frame(TEXT, raw[:1], fin=False) + parts + frame(CONT, b"")
        yield f"6-good-{place}-fragmented", Case(fragmented, [(TEXT, raw)])
    for place, raw in enumerate(BAD_TEXTS):
        yield f"6-bad-{place}", Case(HELLO + frame(TEXT, raw) + HELLO, [HELLO_BACK], 1007)
        halves = frame(TEXT, raw[:1], fin=False) + frame(CONT, raw[1:])
        yield f"6-bad-{place}-fragmented", Case(halves, [], 1007)
        binary = frame(BINARY, raw)
        yield f"6-bad-{place}-as-binary", Case(binary, [(BINARY, raw)])


def endings() -> Iterator[tuple[str, Case]]:
    for code in VALID_CODES:
        yield f"7-{code}", Case(HELLO + closing(code) + HELLO, [HELLO_BACK], code)
    for code in INVALID_CODES:
        yield f"7-{code}", Case(HELLO + closing(code), [HELLO_BACK], 1002)
    yield "7-no-code", Case(frame(CLOSE) + HELLO, [], 1005)
    yield "7-half-a-code", Case(frame(CLOSE, b"\x03"), [], 1002)
    yield "7-reason", Case(closing(1000, b"*" * 123), [], 1000)
    too_long = of_any_length(CLOSE, b"*" * 126)
    yield "7-reason-too-long", Case(too_long, [], 1002)
    yield "7-reason-not-utf8", Case(closing(1000, b"\xed\xa0\x80"), [], 1007)
    begun = frame(TEXT, b"fragment", fin=False)
    yield "7-within-a-message", Case(begun + closing(1000) + frame(CONT, b"x"), [], 1000)
    yield "7-twice", Case(closing(1000) + closing(1000), [], 1000)
    yield "7-ping-after", Case(closing(1000) + frame(PING, b"x"), [], 1000)


CASES = dict(
    case
    for section in (framing, pings, reserved, opcodes, fragments, utf8, endings)
    for case in section()
)


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1, 7], ids=["whole", "bytewise", "pieces"])
@pytest.mark.parametrize("name", CASES)
def test_the_case_is_as_the_rfc_says(name: str, piece_bytes: int) -> None:
    case = CASES[name]
    peer = Peer()
    peer.send(cut(case.sent, piece_bytes))
    received = peer.received
    if case.closed_with is None:
        assert received == case.answered
        assert peer.connection in peer.owner.open
        assert peer.connection._reader is None, "what is needed for a part only is kept"
        return
    assert received[:-1] == case.answered
    opcode, payload = received[-1]
    assert opcode is CLOSE
    assert Close.parse(payload).code == case.closed_with
    assert peer.connection not in peer.owner.open, "the server closes the connection"


@pytest.mark.parametrize("name", ["6-bad-0", "6-bad-1", "6-bad-0-fragmented"])
def test_bad_utf8_fails_before_the_message_is_complete(name: str) -> None:
    text = CASES[name].sent
    peer = Peer()
    bad = text.removeprefix(HELLO)
    whole = bad.removesuffix(HELLO)
    peer.send(cut(whole[: len(whole) - 1], 1))
    assert peer.received[-1][0] is CLOSE


@pytest.mark.parametrize("piece_bytes", [1 << 26, 65_536, 1300])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragment_bytes", [1 << 26, 65_536])
def test_large_messages_come_back(opcode: Opcode, piece_bytes: int, fragment_bytes: int) -> None:
    payload = b"0123456789abcdef" * (1 << 17)  # 2 MiB
    parts = cut(payload, fragment_bytes)
    sent = b"".join(
        frame(opcode if place == 0 else CONT, part, fin=place == len(parts) - 1)
        for place, part in enumerate(parts)
    )
    peer = Peer()
    peer.send(cut(sent, piece_bytes))
    assert peer.received == [(opcode, payload)]


def test_a_message_in_very_many_fragments_comes_back() -> None:
    payload = b"*" * 65_536
    parts = cut(payload, 50)
    sent = frame(TEXT, parts[0], fin=False)
    sent += b"".join(frame(CONT, part, fin=False) for part in parts[1:]) + frame(CONT)
    peer = Peer()
    peer.send(cut(sent, 1000))
    assert peer.received == [(TEXT, payload)]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_over_the_limit_is_refused_by_its_length(opcode: Opcode) -> None:
    head = bytes([0x80 | opcode, 0x80 | 127]) + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big")
    peer = Peer()
    peer.send(cut(head + b"mask" + b"\x00" * 100, 1000))
    [(last, payload)] = peer.received
    assert (last, Close.parse(payload).code) == (CLOSE, 1009)


def test_fragments_are_counted_together() -> None:
    peer = Peer()
    peer.connection.max_message_bytes = 1000
    peer.send([frame(TEXT, b"x" * 600, fin=False), frame(PING), frame(CONT, b"x" * 401)])
    assert [opcode for opcode, _ in peer.received] == [PONG, CLOSE]
    within = Peer()
    within.connection.max_message_bytes = 1000
    within.send([frame(TEXT, b"x" * 600, fin=False), frame(PING), frame(CONT, b"x" * 400)])
    assert [opcode for opcode, _ in within.received] == [PONG, TEXT]
    within.send([frame(TEXT, b"x" * 1000)])  # each message by itself
    assert len(within.received) == 3

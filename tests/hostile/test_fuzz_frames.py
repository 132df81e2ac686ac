"""The fuzzer of device frames, with fixed seeds; its judge, and that it is not fooled."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks.running import Running
from push.wire.frames import Frame
from push.wire.signals import ConnectStatus, Signal
from tests.hostile.fuzz_frames import Fuzzer, cut_ws, fuzz, fuzzed_server
from tests.hostile.judging import NotByTheContract, judge, judge_close, longest_echo

CONVERSATIONS = 300


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with fuzzed_server() as running:
        yield running


@pytest.mark.parametrize(("carrier", "seed"), [("tcp", 1), ("tcp", 2), ("ws", 3), ("ws", 4)])
def test_fuzz(server: Running, carrier: str, seed: int) -> None:
    said = fuzz(server, carrier, seed, range(CONVERSATIONS))
    # It came as far as sessions and their requests, and was refused there and before.
    wanted = {"CONNECT_ACK ACCEPTED", "PUB_ACK", "PUB_ACK invalid", "DISCONNECT bad_frame"}
    assert wanted <= set(said), said


@pytest.mark.parametrize("carrier", ["tcp", "ws"])
def test_right_conversations_are_served(server: Running, carrier: str) -> None:
    """Without mutations nothing is refused for its form: the fuzzer mutates what is right."""
    fuzzer = Fuzzer(server, carrier, 5)
    for number in range(60):
        fuzzer.run(number, spoil=False)
    fuzzer.finish()
    assert fuzzer.said["CONNECT_ACK ACCEPTED"] > 20, fuzzer.said
    assert not fuzzer.said["DISCONNECT bad_frame"], fuzzer.said
    assert not fuzzer.said["PUB_ACK invalid"], fuzzer.said


def answer(signal: int, body: object, sub: int = 0, message_id: int = 7) -> Frame:
    return Frame(signal, sub, message_id, json.dumps(body).encode())


@pytest.mark.parametrize(
    "frames",
    [
        [answer(Signal.DISCONNECT, {"code": "internal"})],
        [answer(Signal.DISCONNECT, {"code": "bad_frame"}), answer(Signal.PING, {})],
        [answer(Signal.DISCONNECT, {"code": "bad_frame", "reason": "x" * 2000})],
        [answer(Signal.PUB_ACK, {"ok": False, "code": "internal"})],
        [answer(Signal.PUB_ACK, {"ok": False, "code": "new"})],
        [answer(Signal.PUB_ACK, {"ok": True}, message_id=0)],
        [answer(Signal.PUB_ACK, {})],
        [answer(Signal.CONNECT, {})],
        [Frame(Signal.PING, 0, 1, b"[]")],
        [Frame(Signal.PING, 0, 1, b"{")],
        [answer(Signal.CONNECT_ACK, {"code": "unavailable"}, ConnectStatus.SERVER_UNAVAILABLE)],
        [answer(Signal.CONNECT_ACK, {}, ConnectStatus.BAD_CREDENTIALS)],
    ],
)
def test_judge_refuses(frames: list[Frame]) -> None:
    with pytest.raises(NotByTheContract):
        judge(frames)


def test_judge_accepts_the_contract() -> None:
    judge(
        [
            answer(Signal.SUB, {"ok": False, "code": "unauthenticated", "detail": ""}),
            answer(Signal.CONNECT_ACK, {"session": "s"}),
            answer(Signal.PUB_ACK, {"ok": True}),
            answer(Signal.PUB_ACK, {"ok": False, "code": "invalid", "detail": "x"}),
            answer(Signal.DISCONNECT, {"code": "bad_frame", "reason": "x"}),
        ]
    )


def test_judge_of_a_close() -> None:
    bad_frame = [answer(Signal.DISCONNECT, {"code": "bad_frame"})]
    judge_close(4006, bad_frame)
    judge_close(1002, [])
    with pytest.raises(NotByTheContract):
        judge_close(4001, bad_frame)
    with pytest.raises(NotByTheContract):
        judge_close(4006, [])
    with pytest.raises(NotByTheContract):
        cut_ws(b"\x88\x02\x03\xe8\x81\x02{}")


def test_longest_echo() -> None:
    assert longest_echo("aQQaQQQa", "Q") == 3
    assert longest_echo("", "Q") == 0

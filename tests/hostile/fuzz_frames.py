"""A fuzzer of device frames, over TCP and over WebSocket, against a real server.

    python -m tests.hostile.fuzz_frames --minutes 60
    python -m tests.hostile.fuzz_frames --seed 7 --carrier ws --number 123    one conversation again

After each conversation: what the server said is in the contract. Every now and then, and at the
end: it lives, a device in another session gets a push, the log has no traceback, and the
connections of the fuzzer are gone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from random import Random

from benchmarks.hostile.connections import (
    CLOSE,
    TEXT,
    UPGRADE,
    WsFrames,
    frame_of_text,
    label,
)
from benchmarks.hostile.watching import Backend, WellBehaved, open_pair, tracebacks
from benchmarks.running import Running, started_server
from push.wire.errors import ProtocolError
from push.wire.frames import Frame, FrameDecoder
from push.wire.signals import Signal
from tests.hostile.conversations import Message, mutated, over_tcp, over_ws, right, segments
from tests.hostile.judging import NotByTheContract, judge, judge_close
from tests.waiting import DEADLINE_SECONDS, wait_for

DEVICES = 8
LOOK_EVERY = 50  # conversations
ANSWER_SECONDS = 0.3  # for an answer that mutated messages may never get
QUIET_SECONDS = 0.03  # without an answer: the fuzzer goes on
# One address makes all of it, in far more connections than people make.
SETTINGS = {
    "connector_ws": "127.0.0.1:0",
    "limits_registrations_per_minute": "0",
    "limits_failed_secrets_per_minute": "0",
    "limits_connects_per_minute": "0",
}


class Fuzzer:
    """One carrier of a running server. `said` counts what the server answered."""

    def __init__(self, running: Running, carrier: str, seed: int) -> None:
        self._running = running
        self._carrier = carrier
        self._seed = seed
        self.said: Counter[str] = Counter()
        self._pairs = [open_pair(running) for _ in range(DEVICES)]
        self._backend = Backend(running)
        for number, pair in enumerate(self._pairs):
            path = f"/v1/users/fuzz{number}/devices/{pair['token']}"
            assert self._backend.call("PUT", path)[0] in (200, 204)
        self._other = WellBehaved(running)
        self._before = self._connections()

    def run(self, number: int, *, spoil: bool = True) -> list[Frame]:
        """One conversation, and the judgement of what was answered. Its bytes depend on the seed
        and `number`."""
        random = Random(f"{self._seed} {self._carrier} {number}")
        messages = right(random, random.choice(self._pairs), self._running.app_key)
        if spoil and random.random() < 0.9:
            messages = mutated(random, messages)
        write = over_ws if self._carrier == "ws" else over_tcp
        steps = [segments(random, write(random, each, spoil=spoil)) for each in in_steps(messages)]
        end = random.choice(["wait", "wait", "half", "reset"]) if spoil else "wait"
        frames, close_code = self._talk(steps, end, ANSWER_SECONDS if spoil else DEADLINE_SECONDS)
        self.said.update(label(frame) for frame in frames)
        try:
            judge(frames)
            if close_code is not None:
                self.said[f"close {close_code}"] += 1
                judge_close(close_code, frames)
        except NotByTheContract as error:
            raise NotByTheContract(f"{self.again(number)}\n{error}") from None
        return frames

    def again(self, number: int) -> str:
        """The command that repeats a conversation."""
        return (
            f"python -m tests.hostile.fuzz_frames --seed {self._seed} --carrier {self._carrier} "
            f"--number {number}"
        )

    def _talk(
        self, steps: list[list[bytes]], end: str, patience_seconds: float
    ) -> tuple[list[Frame], int | None]:
        ws = self._carrier == "ws"
        address = self._running.ws_address if ws else self._running.tcp_address
        with socket.create_connection(address, DEADLINE_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            if ws:
                connection.sendall(UPGRADE)
                while b"\r\n\r\n" not in received:
                    received += connection.recv(4096)
                received = received.partition(b"\r\n\r\n")[2]
            with contextlib.suppress(OSError):  # the server may be gone already
                for number, pieces in enumerate(steps):
                    if number:
                        select.select([connection], [], [], patience_seconds)
                        received += _rest(connection, 0)
                    for piece in pieces:
                        connection.sendall(piece)
                if end == "half":
                    connection.shutdown(socket.SHUT_WR)
            if end != "reset":
                select.select([connection], [], [], patience_seconds)
                received += _rest(connection, QUIET_SECONDS)
        return cut_ws(received) if ws else (cut(received), None)

    def look(self) -> None:
        """Whether the server lives and serves others. Raises AssertionError."""
        assert self._running.process.poll() is None, "the server has ended"
        assert not (found := tracebacks(self._running)), found
        try:
            number = self._other.push(self._backend)
        except (OSError, HTTPException) as error:
            raise AssertionError(f"a push of others failed: {error!r}") from None
        came = self._other.wait_for(number, 60)
        assert came is not None, f"a push to another device did not come: {self._other.ended!r}"

    def finish(self) -> None:
        """Nothing is left of it."""
        self.look()
        wait_for(lambda: self._connections() <= self._before, "the connections are gone")
        self._other.close()

    def _connections(self) -> int:
        _, text = self._backend.call("GET", "/metrics")
        name = "push_connector_connections "
        return int(float(text.partition(f"\n{name}")[2].partition("\n")[0]))


def in_steps(messages: list[Message]) -> list[list[Message]]:
    """What is sent together. A device waits for the answers to SUB and CONNECT."""
    steps: list[list[Message]] = [[]]
    for message in messages:
        steps[-1].append(message)
        if message.signal in (Signal.SUB, Signal.CONNECT):
            steps.append([])
    return [step for step in steps if step]


def _rest(connection: socket.socket, quiet_seconds: float) -> bytes:
    """What comes until the server ends or says nothing for a moment."""
    found = b""
    with contextlib.suppress(OSError):
        while select.select([connection], [], [], quiet_seconds)[0]:
            data = connection.recv(1 << 16)
            if not data:
                break
            found += data
    return found


def cut(data: bytes) -> list[Frame]:
    try:
        return list(FrameDecoder(1 << 20).feed(data))
    except ProtocolError as error:
        raise NotByTheContract(f"no frame: {error}, {data[:200]!r}") from None


def cut_ws(data: bytes) -> tuple[list[Frame], int | None]:
    """The messages and the code of a Close frame."""
    frames: list[Frame] = []
    code = None
    for opcode, payload in WsFrames().feed(data):
        if code is not None:
            raise NotByTheContract(f"opcode {opcode} after Close")
        if opcode == TEXT:
            frames.append(frame_of_text(payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
    return frames, code


@contextlib.contextmanager
def fuzzed_server() -> Iterator[Running]:
    with started_server(**SETTINGS) as running:
        yield running


def fuzz(running: Running, carrier: str, seed: int, numbers: Sequence[int] | range) -> Counter[str]:
    """Run conversations and look at the server between. Returns what it answered."""
    fuzzer = Fuzzer(running, carrier, seed)
    for number in numbers:
        fuzzer.run(number)
        if number % LOOK_EVERY == 0:
            try:
                fuzzer.look()
            except AssertionError as error:
                raise AssertionError(f"up to {fuzzer.again(number)}\n{error}") from error
    fuzzer.finish()
    return fuzzer.said


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=None, help="by default another each time")
    parser.add_argument("--carrier", choices=["tcp", "ws"], help="by default both in turn")
    parser.add_argument("--number", type=int, help="only this conversation")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 10**9
    carriers = [options.carrier] if options.carrier else ["tcp", "ws"]
    print(f"seed {seed}", file=sys.stderr, flush=True)
    said: Counter[str] = Counter()
    with fuzzed_server() as running:
        if options.number is not None:
            for carrier in carriers:
                said += fuzz(running, carrier, seed, [options.number])
        deadline = time.monotonic() + options.minutes * 60
        start = 0
        while options.number is None and time.monotonic() < deadline:
            for carrier in carriers:
                said += fuzz(running, carrier, seed, range(start, start + 500))
            start += 500
            print(f"{start} conversations a carrier", file=sys.stderr, flush=True)
    print(json.dumps(dict(said.most_common()), indent=1))


if __name__ == "__main__":
    main()

"""Fan-out beside a bare C `send()` loop, and the memory of an idle session.

    python -m benchmarks.fanout           about two minutes; prints figures and ratios
    python -m benchmarks.fanout --json     one JSON object

The devices are in this process, the server in another: two processes, two cores. A round is over
when every device has received everything; the C loop's rounds are measured with the same receiver.
Frames a second are those that devices received.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fleet import Fleet
from benchmarks.running import Api, Running, raise_file_limit, started_server

DATA = {"text": "x" * 189}  # 200 bytes of JSON
BURST = 40
FRAME_BYTES = 300  # of such a push at QoS 0, as the devices will see it
IDLE_SECONDS = 10


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rate(rounds: int, frames: int, round_: Callable[[], None]) -> float:
    """The median of frames a second over `rounds`, after one that is not counted."""
    round_()
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        round_()
        rates.append(frames / (time.perf_counter() - began))
    return statistics.median(rates)


def c_loop(count: int, frame_bytes: int, rounds: int) -> float:
    """The yardstick: frames a second of a C loop of `send()`."""
    with tempfile.TemporaryDirectory() as folder:
        binary = f"{folder}/send_loop"
        source = Path(__file__).with_name("send_loop.c")
        subprocess.run(["cc", "-O2", "-o", binary, source], check=True)
        process = subprocess.Popen(
            [binary, "0", str(count), str(frame_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline())
        fleet = Fleet(("127.0.0.1", port), count)
        fleet.connect_raw()
        process.stdout.readline()

        def round_() -> None:
            assert process.stdin
            process.stdin.write("1\n")
            process.stdin.flush()
            fleet.receive_bytes(count * frame_bytes)

        result = rate(rounds, count, round_)
        process.stdin.close()
        process.wait()
        fleet.close()
        return result


def broadcasts(
    running: Running, fleet: Fleet, qos: int, burst: int, rounds: int
) -> tuple[float, int]:
    """Frames a second of pushes to all, `burst` at a time, and the size of a frame."""
    api = Api(running)
    push = {"to": {"all": True}, "data": DATA, "qos": qos}
    frames = fleet.count * burst

    def round_() -> None:
        if burst == 1:
            api.post("/v1/push", push)
        else:
            api.post("/v1/push/batch", [push] * burst)
        if qos:
            fleet.receive_and_acknowledge(frames)
        else:
            fleet.receive_bytes(frames * frame_bytes)

    api.post("/v1/push", push)
    frame_bytes = fleet.first_frame()
    return rate(rounds, frames, round_), frame_bytes


def memory_per_session(count: int, *, tls: bool) -> float:
    """Bytes of an idle, authenticated session."""
    with started_server() as running:
        time.sleep(1)
        before = running.rss_bytes()
        fleet = Fleet(running.tls_address if tls else running.tcp_address, count, tls=tls)
        fleet.connect(running.app_key, lambda done: say(f"  {done} sessions"))
        time.sleep(IDLE_SECONDS)
        after = running.rss_bytes()
        fleet.close()
        return (after - before) / count


def measure(count: int, rounds: int, *, memory: bool) -> dict[str, float]:
    figures: dict[str, float] = {}
    # Before and after, because the speed of a shared machine drifts.
    say("the C loop")
    first_loop = c_loop(count, FRAME_BYTES, rounds)
    with started_server() as running:
        say(f"{count} plain sessions connect")
        fleet = Fleet(running.tcp_address, count)
        fleet.connect(running.app_key)
        for qos in (0, 1):
            for burst in (1, BURST):
                say(f"QoS {qos}, {burst} at a time")
                name = f"qos{qos}_{'burst' if burst > 1 else 'single'}_frames_per_s"
                figures[name], frame_bytes = broadcasts(running, fleet, qos, burst, rounds)
        fleet.close()
    say("the C loop again")
    loops = [first_loop, c_loop(count, frame_bytes, rounds)]
    figures["c_loop_frames_per_s"] = statistics.mean(loops)
    for name in [name for name in figures if name.startswith("qos")]:
        ratio = figures[name] / figures["c_loop_frames_per_s"]
        figures[name.replace("frames_per_s", "ratio_to_c")] = ratio
    if memory:
        for carrier in ("plain", "tls"):
            say(f"memory of {carrier} sessions")
            size = memory_per_session(count, tls=carrier == "tls")
            figures[f"{carrier}_session_kib"] = size / 1024
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-memory", action="store_true", help="leave the memory out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    raise_file_limit()
    figures = measure(options.sessions, options.rounds, memory=not options.no_memory)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value:14,.2f}")


if __name__ == "__main__":
    main()

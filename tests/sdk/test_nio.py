"""What only the blocking client does: threads, forks, Ctrl-C, the end of the interpreter, idleness.

What both clients do is in test_behaviour.py and beside it.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from device_server import DeviceServer, Peer
from forking import in_child

from push.sdk import errors
from push.sdk.nio import ClientState, Message, PushClient
from push.sdk.nio.driver import BlockingDriver
from push.wire.signals import Signal
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]


class Server:
    """A scripted server in a thread, for tests that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server = DeviceServer()

    def __enter__(self) -> Server:
        self._thread.start()
        self.do(self._server.__aenter__())
        return self

    def __exit__(self, *exception: object) -> None:
        self.do(self._server.__aexit__())
        self.do(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return self._server.url

    def do(self, act: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(DEADLINE_SECONDS)

    def call(self, function: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return function()

        return self.do(run())

    def welcome(self, **accepted: Any) -> Peer:
        """The next connection, whose session is open."""
        peer: Peer = self.do(self._server.accept())
        self.do(peer.welcome(**accepted))
        return peer

    def answer(self, peer: Peer, **members: Any) -> dict[str, Any]:
        """Answer the next request; its body."""
        frame, body = self.do(peer.take(Signal.PUBLISH))
        said = {"ok": True, **members}
        self.call(lambda: peer.send(Signal.PUB_ACK, said, frame.sub_signal, frame.message_id))
        return dict(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


def client_of(server: Server, **options: Any) -> PushClient:
    return PushClient([server.url], token="T", secret="S", random=lambda: 0.0, **options)


def push(server: Server, peer: Peer, *numbers: int) -> None:
    for number in numbers:
        server.call(lambda number=number: peer.push(number, f"m{number}"))  # type: ignore[misc]


# --- The plain interface -------------------------------------------------------------------------


def test_a_program_of_five_lines(server: Server) -> None:
    with client_of(server) as client:
        push(server, server.welcome(), 1, 2, 3)
        seen = []
        for message in client:
            seen.append(message.data)
            if len(seen) == 3:
                break
    assert seen == ["m1", "m2", "m3"]


def test_receive_waits_for_a_time_and_says_that_nothing_came(server: Server) -> None:
    with client_of(server) as client:
        peer = server.welcome()
        with pytest.raises(errors.NothingReceived):
            client.receive(timeout=0.01)
        with pytest.raises(TimeoutError):
            client.receive(timeout=0)
        push(server, peer, 1)
        assert client.receive(timeout=DEADLINE_SECONDS).id == "m1"


@pytest.mark.parametrize("seconds", [86_400 * 30, 10**9, 10**30])
def test_a_heartbeat_longer_than_a_selector_can_wait_is_only_long(
    server: Server, seconds: int
) -> None:
    """The server names it, and it is the next thing that is due."""
    with client_of(server) as client:
        push(server, server.welcome(heartbeat=seconds), 1)
        assert client.receive(timeout=DEADLINE_SECONDS).id == "m1"
        assert client.state is ClientState.CONNECTED


@pytest.mark.parametrize("call", ["receive", "wait_connected"])
def test_a_wait_takes_any_number_of_seconds(server: Server, call: str) -> None:
    with client_of(server) as client:
        with pytest.raises(ValueError, match="timeout"):
            getattr(client, call)(math.nan)
        with pytest.raises(TypeError):
            getattr(client, call)("5")
        with ThreadPoolExecutor() as pool:
            waits = [
                pool.submit(getattr(client, call), seconds)
                for seconds in (math.inf, 1e20, threading.TIMEOUT_MAX)
            ]
            push(server, server.welcome(), 1, 2, 3)
            assert all(wait.result(DEADLINE_SECONDS) for wait in waits)


def test_a_session_that_does_not_come_in_time_is_an_error(server: Server) -> None:
    with client_of(server) as client:
        with pytest.raises(errors.ConnectionFailed, match=r"within 0\.01 s"):
            client.wait_connected(0.01)
        server.welcome(user="ada")
        assert client.wait_connected(DEADLINE_SECONDS).user == "ada"


def test_an_iteration_ends_when_another_thread_closes_and_receive_raises(server: Server) -> None:
    client = client_of(server)
    with ThreadPoolExecutor(3) as pool, client:
        server.welcome()
        client.wait_connected(DEADLINE_SECONDS)
        iterating = pool.submit(list, client)
        receiving = pool.submit(client.receive)
        asking = pool.submit(client.publish, "TS", {"topic": "t"})
        client.close()
        assert iterating.result(DEADLINE_SECONDS) == []
        for waiting in (receiving, asking):
            with pytest.raises((errors.ClientClosed, errors.ConnectionFailed)):
                waiting.result(DEADLINE_SECONDS)
    assert client.state is ClientState.CLOSED
    client.close()
    with pytest.raises(errors.AlreadyStarted):
        client.start()


def test_async_callbacks_are_refused_when_they_are_given() -> None:
    async def make() -> str:
        return "j"

    with pytest.raises(errors.ConfigurationError, match="jwt"):
        PushClient(["tcp://127.0.0.1:1"], jwt=make)


def test_a_callback_that_would_wait_for_itself_is_told_so(server: Server) -> None:
    caught: list[BaseException] = []

    def on_state(state: ClientState, detail: str) -> None:
        if state is ClientState.CONNECTED:
            assert client.check() is False
            for call in (client.receive, lambda: client.publish("PS", {})):
                try:
                    call()
                except errors.CalledInCallback as error:
                    caught.append(error)

    client = client_of(server, on_state=on_state)
    with client:
        server.welcome()
        wait_for(lambda: len(caught) == 2)


@pytest.mark.parametrize("callback", ["on_state", "jwt", "on_credentials"])
def test_a_callback_that_hangs_does_not_hold_up_the_end(server: Server, callback: str) -> None:
    called, goes_on = threading.Event(), threading.Event()

    def hang(*args: object) -> str:
        called.set()
        goes_on.wait()
        return "j"

    identity: dict[str, Any] = {"jwt": {}, "on_credentials": {"key": "k"}}.get(
        callback, {"token": "T", "secret": "S"}
    )
    client = PushClient([server.url], **{**identity, callback: hang})
    client.start()
    try:
        if callback == "on_credentials":
            peer = server.do(server._server.accept())
            frame, _ = server.do(peer.take(Signal.SUB))
            pair = {"token": "T", "secret": "S"}
            server.call(lambda: peer.send(Signal.SUB, pair, 0, frame.message_id))
        assert called.wait(DEADLINE_SECONDS)
        closing = threading.Thread(target=client.close)
        closing.start()
        closing.join(DEADLINE_SECONDS)
        assert not closing.is_alive()
    finally:
        goes_on.set()


def test_a_callback_may_ask_another_thread_that_uses_the_client(server: Server) -> None:
    """No lock is held while the application's code runs."""
    seen: list[ClientState] = []

    def on_state(state: ClientState, detail: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: setattr(client, "network", state.value)).result(DEADLINE_SECONDS)
        seen.append(state)

    client = client_of(server, on_state=on_state)
    with client:
        server.welcome()
        client.wait_connected(DEADLINE_SECONDS)
    assert seen[-1] is ClientState.CLOSED


def interrupted(function: Callable[[], object], at_line: int) -> bool:
    """Call it with a Ctrl-C before the line of that number that `BlockingDriver.poke` runs."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if frame.f_code is not BlockingDriver.poke.__code__:
            return trace if event == "call" else None
        lines += event == "line"
        if lines == at_line and event == "line":
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_ctrl_c_in_the_middle_of_a_call_leaves_the_thread_awake(server: Server) -> None:
    with client_of(server) as client, ThreadPoolExecutor(1) as pool:
        peer = server.welcome()
        client.wait_connected(DEADLINE_SECONDS)
        line = 1
        while interrupted(partial(setattr, client, "network", f"n{line}"), line):
            asked = pool.submit(client.publish, "PS", {}, timeout=DEADLINE_SECONDS)
            server.answer(peer, n=line)
            assert asked.result(DEADLINE_SECONDS) == {"n": line}
            line += 1
        assert line > 3


# --- Threads -------------------------------------------------------------------------------------


def test_many_threads_ask_and_each_gets_its_own_answer(server: Server) -> None:
    with client_of(server) as client, ThreadPoolExecutor(100) as pool:
        peer = server.welcome()
        calls = {n: pool.submit(client.publish, "PS", {"n": n}) for n in range(100)}
        for _ in calls:
            frame, body = server.do(peer.take(Signal.PUBLISH))
            said = {"ok": True, "n": body["n"]}
            answer = (Signal.PUB_ACK, said, frame.sub_signal, frame.message_id)
            server.call(lambda answer=answer: peer.send(*answer))  # type: ignore[misc]
        for n, call in calls.items():
            assert call.result(DEADLINE_SECONDS) == {"n": n}


def test_each_thread_acknowledges_its_own_message_when_it_asks_for_the_next(
    server: Server,
) -> None:
    """A message that one thread works on is not acknowledged because another asks for more."""
    with (
        ThreadPoolExecutor(1) as slow,
        ThreadPoolExecutor(1) as quick,
        client_of(server) as client,
    ):
        peer = server.welcome()
        push(server, peer, 1, 2, 3)
        assert slow.submit(client.receive).result(DEADLINE_SECONDS).id == "m1"
        for expected in ("m2", "m3"):
            assert quick.submit(client.receive).result(DEADLINE_SECONDS).id == expected
        assert server.do(peer.take_acks(1)) == [2]
        waiting = slow.submit(client.receive)
        assert server.do(peer.take_acks(1)) == [1]
        push(server, peer, 4)
        assert waiting.result(DEADLINE_SECONDS).id == "m4"


def test_messages_are_handed_out_once_to_whichever_thread_asks(server: Server) -> None:
    numbers = list(range(1, 301))
    with ThreadPoolExecutor(8) as pool, client_of(server, acks="explicit") as client:
        peer = server.welcome()

        def work(_: int) -> str:
            message = client.receive(timeout=DEADLINE_SECONDS)
            message.ack()
            return message.id

        done = pool.map(work, numbers)
        push(server, peer, *numbers)
        assert sorted(done) == sorted(f"m{n}" for n in numbers)
        assert sorted(server.do(peer.take_acks(len(numbers)))) == numbers


# --- fork ----------------------------------------------------------------------------------------


def refused_in_child(client: PushClient, message: Message) -> list[str]:
    found = []
    for call in (
        client.receive,
        client.wait_connected,
        client.register,
        client.check,
        client.start,
        message.ack,
        message.release,
        lambda: client.publish("TS", {"topic": "t"}),
        lambda: client.renew("j"),
        lambda: client.chat("b").send(1),
        lambda: setattr(client, "network", "home"),
    ):
        try:
            call()
        except errors.OtherProcess as error:
            found.append(str(error))
    client.close()  # not a word to the server
    client.__exit__(None, None, None)
    return found


def test_the_child_of_a_fork_is_told_that_the_client_is_the_parents(server: Server) -> None:
    """Also while other threads use the client: the lock that one of them holds is not waited for
    in the child, where that thread does not exist."""
    with client_of(server, acks="explicit") as client, ThreadPoolExecutor(2) as pool:
        peer = server.welcome()
        push(server, peer, 1)
        message = client.receive(timeout=DEADLINE_SECONDS)
        is_done = threading.Event()

        def use() -> None:
            while not is_done.is_set():
                with client._lock:
                    time.sleep(0.001)

        using = pool.submit(use)
        try:
            said = [in_child(lambda: refused_in_child(client, message)) for _ in range(5)]
        finally:
            is_done.set()
        using.result(DEADLINE_SECONDS)
        for texts in said:
            assert len(texts) == 11
            assert all("make another" in text for text in texts)
        message.ack()
        assert server.do(peer.take_acks(1)) == [1], "the parent's connection is as it was"


def test_a_client_that_was_not_started_before_the_fork_runs_in_the_child(server: Server) -> None:
    client = client_of(server)

    def connect() -> str:
        with client:
            return client.wait_connected(DEADLINE_SECONDS).session

    with ThreadPoolExecutor(1) as pool:
        child = pool.submit(in_child, connect)
        server.do(server.welcome().gone())
        assert child.result(DEADLINE_SECONDS) == "s1"


# --- Programs ------------------------------------------------------------------------------------


def program(server: Server, body: str) -> subprocess.Popen[str]:
    """A script of its own with a started `client`; `say` tells this test something."""
    code = f"""
import os, signal, sys, threading, time
from push.sdk.nio import PushClient
def say(*what):
    print(*what, flush=True)
client = PushClient(["{server.url}"], token="T", secret="S")
{textwrap.dedent(body)}
"""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, out, err


def program_that_waits(server: Server, wait: str) -> tuple[subprocess.Popen[str], Peer]:
    """A program in `wait`, and its connection. A line to it says that a Ctrl-C came, and interrupts
    no system call."""
    process = program(
        server,
        f"""
        import _thread
        def interrupt():
            if os.read(0, 1):
                _thread.interrupt_main()
        threading.Thread(target=interrupt, daemon=True).start()
        try:
            with client:
                client.wait_connected()
                say("waiting")
                {wait}
        except KeyboardInterrupt:
            say("interrupted", client.state.name)
        """,
    )
    peer = server.welcome()
    assert line_of(process) == "waiting"
    if "publish" in wait:
        server.do(peer.take(Signal.PUBLISH))
    return process, peer


@pytest.mark.parametrize(
    "wait",
    [
        "client.receive()",
        "client.receive(timeout=1000)",
        "list(client)",
        "client.publish('PS', {}, timeout=None)",
    ],
)
def test_ctrl_c_ends_a_wait(server: Server, wait: str) -> None:
    process, peer = program_that_waits(server, wait)
    process.send_signal(signal.SIGINT)
    server.do(peer.gone())
    assert ended(process) == (0, "interrupted CLOSED\n", "")


@pytest.mark.parametrize("wait", ["client.receive()", "client.publish('PS', {}, timeout=None)"])
def test_ctrl_c_that_comes_just_before_the_wait_ends_it(server: Server, wait: str) -> None:
    """Python has then looked for signals, and no system call is there to be interrupted:
    `interrupt_main` says that a signal came, and interrupts none."""
    process, peer = program_that_waits(server, wait)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    server.do(peer.gone())
    assert ended(process) == (0, "interrupted CLOSED\n", "")


def test_ctrl_c_ends_the_wait_for_a_session_that_does_not_come(server: Server) -> None:
    process = program(
        server,
        """
        try:
            with client:
                say("waiting")
                client.wait_connected()
        except KeyboardInterrupt:
            say("interrupted")
        """,
    )
    assert line_of(process) == "waiting"
    peer = server.do(server._server.accept())
    server.do(peer.take(Signal.CONNECT))
    process.send_signal(signal.SIGINT)
    server.do(peer.take(Signal.DISCONNECT))
    server.do(peer.close())
    assert ended(process) == (0, "interrupted\n", "")


def test_ctrl_c_leaves_nothing_locked(server: Server) -> None:
    """Wherever it comes: what holds the lock then, the thread of the client waits for."""
    process = program(
        server,
        """
        import _thread
        reading, writing = os.pipe()
        def interrupt():
            while os.read(reading, 1):
                _thread.interrupt_main()
        threading.Thread(target=interrupt, daemon=True).start()
        for _ in range(100):
            try:
                os.write(writing, b"x")
                while True:
                    client.close()
            except KeyboardInterrupt:
                pass
        locked = []
        def look():
            locked.append(not client._lock.acquire(timeout=1))
        other = threading.Thread(target=look)
        other.start()
        other.join()
        say(locked)
        """,
    )
    assert ended(process) == (0, "[False]\n", "")


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "sys.exit(0)",
        "threading.Thread(target=client.receive, daemon=True).start()",
        "globals().clear()",
    ],
)
def test_an_interpreter_that_ends_with_an_open_client_ends_without_a_word(
    server: Server, end: str
) -> None:
    process = program(server, f"client.start()\nclient.wait_connected()\nsay('ready')\n{end}")
    peer = server.welcome()
    assert line_of(process) == "ready"
    assert ended(process) == (0, "", "")
    assert server.do(peer.frame()) is None


def test_it_loads_neither_asyncio_nor_an_http_client_nor_twisted() -> None:
    code = (
        "import sys, push.sdk.nio\n"
        "names = ('asyncio', 'httpx', 'twisted', 'concurrent')\n"
        "print([name for name in names if name in sys.modules])\n"
        "push.sdk.nio.PushClient(['tls://h:1'], token='T', secret='S')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (ran.stdout, ran.stderr) == ("[]\n[]\n", "")


# --- What it costs -------------------------------------------------------------------------------


def test_an_idle_client_does_not_wake_up(server: Server) -> None:
    """One turn for each thing that happens, and none without."""
    with client_of(server) as client:
        peer = server.welcome(heartbeat=300)
        push(server, peer, 1)
        client.receive(timeout=DEADLINE_SECONDS)
        assert client._driver is not None
        time.sleep(0.1)
        before = client._driver.turns
        time.sleep(0.5)  # what must not happen takes no time
        assert client._driver.turns == before
        push(server, peer, 2)
        client.receive(timeout=DEADLINE_SECONDS)
        assert (
            client._driver.turns <= before + 3
        )  # the message, and the acknowledgement of the first


def test_a_client_that_waits_for_its_next_try_does_not_wake_up() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        with PushClient([url], token="T", secret="S", random=lambda: 60.0) as client:
            wait_for(lambda: client.state is ClientState.WAITING)
            assert client._driver is not None
            turns = client._driver.turns
            time.sleep(0.3)
            assert client._driver.turns <= turns + 1


def test_one_thread_is_all_it_needs_and_none_is_left(server: Server) -> None:
    before = threading.active_count()
    with client_of(server) as client:
        server.welcome()
        client.wait_connected(DEADLINE_SECONDS)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_no_file_is_left_open(server: Server) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    for _ in range(2):  # what is made once, such as modules, is made in the first
        before = open_files()
        with client_of(server) as client:
            peer = server.welcome()
            client.wait_connected(DEADLINE_SECONDS)
        server.do(peer.close())
    wait_for(lambda: open_files() <= before)


def test_a_name_server_that_never_answers_hinders_no_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def getaddrinfo(*args: Any, **options: Any) -> Any:
        asked.set()
        answers.wait(2 * DEADLINE_SECONDS)
        raise OSError("too late")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    client = PushClient(["tcp://some.host:1"], token="T", secret="S")
    with client:
        assert asked.wait(DEADLINE_SECONDS)
        closing = threading.Thread(target=client.close)
        closing.start()
        closing.join(DEADLINE_SECONDS)
        assert not closing.is_alive()
    assert client.state is ClientState.CLOSED
    answers.set()


def test_a_name_that_is_not_resolved_in_time_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *args, **options: answers.wait(DEADLINE_SECONDS) and []
    )
    details: list[str] = []
    client = PushClient(
        ["tcp://some.host:1"],
        token="T",
        secret="S",
        connect_seconds=0.1,
        on_state=lambda state, detail: details.append(detail),
    )
    with client:
        wait_for(lambda: any("not resolved in 0.1 s" in detail for detail in details))
    answers.set()


def test_what_a_slow_api_answers_after_the_close_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answers, answered = threading.Event(), threading.Event(), threading.Event()

    def ask_servers(driver: BlockingDriver) -> list[str]:
        asked.set()
        answers.wait(DEADLINE_SECONDS)
        return ["tcp://127.0.0.1:1"]

    def servers_found(driver: BlockingDriver, found: Any) -> None:
        report(driver, found)
        answered.set()

    report = BlockingDriver._servers_found
    monkeypatch.setattr(BlockingDriver, "_ask_servers", ask_servers)
    monkeypatch.setattr(BlockingDriver, "_servers_found", servers_found)
    with PushClient(servers_url="http://127.0.0.1:1", key="k") as client:
        assert asked.wait(DEADLINE_SECONDS)
    answers.set()
    assert answered.wait(DEADLINE_SECONDS)
    assert client.state is ClientState.CLOSED


def test_a_thread_that_fails_leaves_nobody_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a mistake of ours does to the background thread."""
    with client_of(server) as client:
        server.welcome()
        client.wait_connected(DEADLINE_SECONDS)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.receive)
            assert client._driver is not None
            monkeypatch.setattr(client._driver, "_turn", lambda ready: 1 / 0)
            client.network = "home"
            client._do(lambda now: None)
            with pytest.raises(ZeroDivisionError):
                waiting.result(DEADLINE_SECONDS)
    assert client.state is ClientState.FAILED
    assert "the client's thread failed" in caplog.text

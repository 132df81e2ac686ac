"""Many calls at once, and a client on both sides of a fork."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop
from forking import in_child
from http_server import Answer, HTTPServer

from push.sdk.backend import AsyncPushAPI, PushAPI
from push.sdk.backend.lines import MAX_LINES
from push.sdk.errors import ClientClosed, PushError
from tests.amounts import amount

CALLS = amount(100, 600)
ANSWERS = amount(20, 50)
# So many that a cost which grows with their number shows.
MANY_CALLS = amount(300, 600)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


def test_many_calls_at_once_share_connections_that_are_kept(server: HTTPServer):
    server.answer(*[Answer(200, {"a": 1})] * (2 * CALLS))

    async def main() -> None:
        async with AsyncPushAPI(server.url) as api:
            for _ in range(2):
                await asyncio.gather(*(api.stats() for _ in range(CALLS)))

    asyncio.run(main())
    assert len(server.requests) == 2 * CALLS
    assert len(server.connections) <= MAX_LINES


def test_many_threads_share_connections_that_are_kept(server: HTTPServer):
    server.answer(*[Answer(200, {"a": 1})] * CALLS)
    with PushAPI(server.url) as api, ThreadPoolExecutor(100) as threads:
        list(threads.map(lambda _: api.stats(), range(CALLS)))
    assert len(server.requests) == CALLS
    assert len(server.connections) <= MAX_LINES


def test_a_call_among_many_costs_what_it_costs_alone(server: HTTPServer):
    """Counted in function calls of this thread, which are the same on a busy machine."""
    alone_calls, functions = 50, 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal functions
        functions += event in ("call", "c_call")

    async def main() -> tuple[float, float]:
        async with AsyncPushAPI(server.url) as api:
            await api.stats()
            start = functions
            for _ in range(alone_calls):
                await api.stats()
            middle = functions
            await asyncio.gather(*(api.stats() for _ in range(MANY_CALLS)))
            return (middle - start) / alone_calls, (functions - middle) / MANY_CALLS

    server.answer(*[Answer(200, {"a": 1})] * (1 + alone_calls + MANY_CALLS))
    sys.setprofile(profile)
    try:
        alone, among_many = asyncio.run(main())
    finally:
        sys.setprofile(None)
    assert among_many <= 1.5 * alone, (alone, among_many)


# --- fork ----------------------------------------------------------------------------------------


def echo_names(server: HTTPServer) -> None:
    """Answer each request for a device by the name that was asked for."""
    handle, one_at_a_time = server.handle, threading.Lock()

    def answer(handler: Any) -> None:
        with one_at_a_time:
            server.answer(Answer(200, {"token": handler.path.rpartition("/")[2]}))
            handle(handler)

    server.handle = answer  # type: ignore[method-assign]


def ask_often(api: PushAPI, name: str) -> int:
    """How many answers were somebody else's."""
    return sum(api.device(name)["token"] != name for _ in range(ANSWERS))


def test_both_sides_of_a_fork_get_their_own_answers(server: HTTPServer):
    echo_names(server)
    with PushAPI(server.url) as api:
        assert ask_often(api, "before") == 0
        before = len(server.connections)
        wrong: list[int] = []
        parent = threading.Thread(target=lambda: wrong.append(ask_often(api, "parent")))
        parent.start()
        assert in_child(lambda: ask_often(api, "child")) == 0
        parent.join()
        assert wrong == [0]
        assert len(server.connections) == before + 1, "the child's own, and the parent's is kept"
        assert ask_often(api, "after") == 0


def test_a_fork_while_all_connections_are_lent_stops_nobody(server: HTTPServer):
    echo_names(server)
    with PushAPI(server.url) as api, ThreadPoolExecutor(MAX_LINES + 8) as threads:
        running = [threads.submit(ask_often, api, f"t{n}") for n in range(MAX_LINES + 8)]
        assert in_child(lambda: ask_often(api, "child")) == 0
        assert [call.result() for call in running] == [0] * len(running)


def test_a_first_call_loads_no_module_that_a_fork_would_leave_locked(server: HTTPServer):
    server.answer(Answer(200, {"a": 1}))
    code = (
        "import sys\n"
        "from push.sdk.backend import PushAPI\n"
        "before = set(sys.modules)\n"
        "PushAPI(sys.argv[1]).stats()\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    command = [sys.executable, "-c", code, server.url]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.stdout, said.stderr) == ("[]\n", "")


def test_an_asyncio_client_works_in_the_child_too(server: HTTPServer):
    echo_names(server)
    api = AsyncPushAPI(server.url)

    async def ask(name: str) -> int:
        answers = await asyncio.gather(*(api.device(name) for _ in range(20)))
        return sum(answer["token"] != name for answer in answers)

    async def main() -> None:
        assert await ask("parent") == 0
        loop = asyncio.get_running_loop()
        child = await loop.run_in_executor(None, in_child, lambda: asyncio.run(ask("child")))
        assert child == 0
        assert await ask("parent") == 0
        await api.close()

    asyncio.run(main())


def test_an_asyncio_client_works_under_uvloop(server: HTTPServer):
    echo_names(server)

    async def main() -> None:
        async with AsyncPushAPI(server.url) as api:
            answers = await asyncio.gather(*(api.device(f"d{n}") for n in range(50)))
            assert [answer["token"] for answer in answers] == [f"d{n}" for n in range(50)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_an_asyncio_client_serves_one_loop_after_another(server: HTTPServer):
    echo_names(server)
    api = AsyncPushAPI(server.url)
    for name in "ab":
        assert asyncio.run(api.device(name)) == {"token": name}


# --- close ---------------------------------------------------------------------------------------


def test_a_closed_client_says_so(server: HTTPServer):
    api = PushAPI(server.url)
    api.close()
    with pytest.raises(ClientClosed, match="the application closed this client"):
        api.stats()

    async def main() -> None:
        closed = AsyncPushAPI(server.url)
        await closed.close()
        with pytest.raises(PushError, match="the application closed this client"):
            await closed.stats()

    asyncio.run(main())
    assert server.requests == []

"""What both device clients do when the real server, or the network to it, lets them down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import jwt
import pytest
from both import ClientState, PushClient, cut
from device_server import run, until

from benchmarks.running import SERVER_TIMEOUT_SECONDS, Running, start_process, wait_until_ready
from push.sdk import errors
from push.sdk.backend import AsyncPushAPI, PushAPI
from push.session.client import heartbeat as adaptive
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.usefixtures("each_client")

JWT_SECRET = "a secret of at least thirty-two bytes"


class Restartable:
    """A server on fixed ports that can end and come back with its data."""

    def __init__(self, folder: Path) -> None:
        key_file = folder / "jwt.key"
        key_file.write_text(JWT_SECRET)
        self._folder = folder
        self._starts = 0
        self._settings = {
            "auth_jwt_key_file": str(key_file),
            "connector_tcp": f"127.0.0.1:{free_port()}",
            "http_listen": f"127.0.0.1:{free_port()}",
            "connector_max_backlog": "100",
            "connector_heartbeat_min": "1",
            "connector_window": "8",
        }
        self.now: Running = self._start()

    def _start(self) -> Running:
        self._starts += 1
        data, log = self._folder / "data", self._folder / f"log{self._starts}"
        return wait_until_ready(start_process("push", data, log, self._settings), log, data)

    def end(self, *, kill: bool = False) -> None:
        self.now.process.kill() if kill else self.now.process.terminate()
        self.now.process.wait(SERVER_TIMEOUT_SECONDS)

    def start(self) -> None:
        self.now = self._start()

    @property
    def url(self) -> str:
        host, port = self.now.tcp_address
        return f"tcp://{host}:{port}"

    def api(self) -> AsyncPushAPI:
        return AsyncPushAPI(self.now.http_url, self.now.admin_key)

    def new_device(self) -> dict[str, str]:
        with PushAPI(self.now.http_url, self.now.app_key) as api:
            pair = api.register_device("linux", "test")
        return {"token": pair.token, "secret": pair.secret}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    made = Restartable(tmp_path_factory.mktemp("behaviour"))
    yield made
    made.end()


class Network:
    """A way to the server that the test can cut so that neither end notices: a half-open
    connection."""

    def __init__(self, server: Restartable) -> None:
        self._target = server.now.tcp_address
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self) -> None:
        """From now on nothing of the present connections arrives; new ones are good."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        from_server, to_server = await asyncio.open_connection(*self._target)
        self._writers += [writer, to_server]
        for source, target in ((reader, to_server), (from_server, writer)):
            task = asyncio.ensure_future(self._copy(source, target))
            self._tasks.add(task)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
            target.close()
        except ConnectionError:
            target.close()


def client_of(url: str, **options: Any) -> Any:
    return PushClient([url], **({"random": lambda: 0.0} | options))


async def next_of(client: Any) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(client)


async def new_session(client: Any, old: str) -> str:
    """The session that comes after `old`."""
    await until(lambda: client.session is not None and client.session.session != old)
    return str(client.session.session)


def jwt_of(user: str, seconds: float = 600) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time() + seconds)}
    return jwt.encode(claims, JWT_SECRET, "HS256")


# --- The server goes, and comes back -------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_a_server_that_restarts_costs_no_message(server: Restartable, kill: bool) -> None:
    async def test() -> None:
        device = server.new_device()
        async with client_of(server.url, **device, random=lambda: 0.05) as client:
            first = (await client.wait_connected()).session
            async with server.api() as api:
                await api.push(to={"token": device["token"]}, data=1)
            assert (await next_of(client)).data == 1
            await asyncio.to_thread(server.end, kill=kill)
            await until(lambda: client.session is None)
            await asyncio.to_thread(server.start)
            async with server.api() as api:
                await api.push(to={"token": device["token"]}, data=2)
            assert (await next_of(client)).data == 2
            assert client.session.session != first

    run(test())


def test_a_message_that_comes_twice_is_handed_out_once(server: Restartable) -> None:
    """What was not acknowledged before the connection was lost comes again, and is a copy."""

    async def test() -> None:
        device = server.new_device()
        async with client_of(server.url, **device, acks="explicit") as client:
            old = (await client.wait_connected()).session
            async with server.api() as api:
                for n in range(3):
                    await api.push(to={"token": device["token"]}, data=n)
                held = [await next_of(client) for _ in range(3)]
                assert cut(client)
                await new_session(client, old)
                await api.push(to={"token": device["token"]}, data=3)
                assert (await next_of(client)).data == 3
                for message in held:
                    await message.ack()
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while (await api.device(device["token"])).get("backlog") != 1:
                        await asyncio.sleep(0.01)

    run(test())


# --- The network ---------------------------------------------------------------------------------


def test_a_network_that_swallows_everything_is_noticed_by_the_heartbeat(
    server: Restartable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push.session.client.liveness.MIN_GRACE_SECONDS", 1.0)

    async def test() -> None:
        device = server.new_device()
        async with (
            Network(server) as network,
            client_of(network.url, **device, heartbeat=1) as client,
        ):
            old = await client.wait_connected()
            assert old.heartbeat_seconds == 1
            network.swallow()
            await new_session(client, old.session)
            async with server.api() as api:
                await api.push(to={"token": device["token"]}, data="here again")
            assert (await next_of(client)).data == "here again"

    run(test())


def test_a_check_is_answered_by_the_server_and_notices_a_half_open_connection(
    server: Restartable,
) -> None:
    """The heartbeat is ten minutes: it is the check that notices."""

    async def test() -> None:
        device = server.new_device()
        async with (
            Network(server) as network,
            client_of(network.url, **device, heartbeat=600) as client,
        ):
            old = (await client.wait_connected()).session
            assert await client.check() is True
            assert client.session.session == old
            network.swallow()
            assert await client.check() is False
            await new_session(client, old)
            assert await client.check() is True

    run(test())


def test_an_adaptive_heartbeat_grows_at_the_real_server_within_its_bounds(
    server: Restartable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("LEAST", 1), ("FIRST", 1), ("MOST", 9)):
        monkeypatch.setattr(adaptive, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(adaptive, "SMALLEST_STEP_SECONDS", 1)
    monkeypatch.setattr(adaptive, "ANSWERS_TO_GROW", 1)

    async def test() -> None:
        kept: dict[str, int] = {}
        options = {"heartbeat": "adaptive", "heartbeat_memory": kept, "network": "lab"}
        async with client_of(server.url, **server.new_device(), **options) as client:
            assert (await client.wait_connected()).heartbeat_seconds == 1
            await until(lambda: kept.get("lab", 0) >= 3)  # 1 s, 3 s: both were answered

    run(test())


# --- What the server decides ---------------------------------------------------------------------


def test_a_kick_is_final_and_a_ban_that_ends_is_waited_for(server: Restartable) -> None:
    async def test() -> None:
        kicked, banned = server.new_device(), server.new_device()
        async with (
            server.api() as api,
            client_of(server.url, **kicked) as first,
            client_of(server.url, **banned) as second,
        ):
            await first.wait_connected()
            old = (await second.wait_connected()).session
            await api.kick_device(kicked["token"])
            with pytest.raises(errors.Kicked):
                await next_of(first)
            await api.ban(token=banned["token"], until=int((time.time() + 2) * 1000))
            await until(lambda: second.state is ClientState.WAITING)
            await new_session(second, old)

    run(test())


def test_a_ban_without_an_end_is_final(server: Restartable) -> None:
    async def test() -> None:
        device = server.new_device()
        async with server.api() as api:
            await api.ban(token=device["token"])
            async with client_of(server.url, **device) as client:
                with pytest.raises(errors.NotAuthorized) as stopped:
                    await next_of(client)
            assert stopped.value.code == "banned"

    run(test())


def test_a_jwt_is_renewed_in_the_session_and_a_wrong_one_is_refused(server: Restartable) -> None:
    async def test() -> None:
        made: list[str] = []

        def make() -> str:
            made.append(jwt_of("ada", 3 if not made else 600))
            return made[-1]

        async with client_of(server.url, jwt=make) as client:
            session = await client.wait_connected()
            await until(lambda: len(made) == 2)
            expires = await client.renew(jwt_of("ada", 900))
            assert expires > (time.time() + 700) * 1000
            with pytest.raises(errors.RequestRefused):
                await client.renew(jwt_of("somebody.else"))
            assert client.session.session == session.session
        async with client_of(server.url, jwt="no.jwt.atall") as client:
            with pytest.raises(errors.BadCredentials):
                await next_of(client)

    run(test())


def test_a_user_without_a_device_continues_where_the_connection_was_lost(
    server: Restartable,
) -> None:
    async def test() -> None:
        name = f"user-{time.time_ns()}"
        async with client_of(server.url, jwt=lambda: jwt_of(name)) as client, server.api() as api:
            old = (await client.wait_connected()).session
            await api.push(to={"user": name}, data=1)
            assert (await next_of(client)).data == 1
            assert cut(client)
            await api.push(to={"user": name}, data=2)
            await new_session(client, old)
            await api.push(to={"user": name}, data=3)
            assert [(await next_of(client)).data for _ in range(2)] == [2, 3]

    run(test())


def test_what_a_full_backlog_has_lost_is_told_before_the_rest(server: Restartable) -> None:
    async def test() -> None:
        device = server.new_device()
        async with server.api() as api:
            for n in range(110):
                await api.push(to={"token": device["token"]}, data=n)
            async with client_of(server.url, **device) as client:
                first = await next_of(client)
                assert first.truncated
                assert first.stream == f"dev:{device['token']}"
                numbers = []
                while not numbers or numbers[-1] != 109:
                    message = await next_of(client)
                    if not message.truncated:
                        numbers.append(message.data)
                assert numbers == list(range(numbers[0], 110))
                assert numbers[0] > 0

    run(test())


# --- Redirect and drain --------------------------------------------------------------------------


def test_a_drained_server_sends_its_clients_away_and_they_come_back(server: Restartable) -> None:
    """With no other server there is nowhere to go to: it is tried again until it is back."""

    async def test() -> None:
        device = server.new_device()
        async with client_of(server.url, **device, random=lambda: 0.05) as client:
            old = (await client.wait_connected()).session
            async with server.api() as api:
                nodes = {each["instance"] for each in await api.nodes()}
                assert len(nodes) == 1
                await api.drain(nodes.pop())
            await until(lambda: client.session is None)
            await asyncio.to_thread(server.end)
            await asyncio.to_thread(server.start)
            await new_session(client, old)

    run(test())

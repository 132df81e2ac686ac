"""Names with dead addresses, and certificates: under each event loop, and without one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import both
import pytest
from both import ClientState, PushClient
from device_server import DeviceServer, make_certificate, run, until
from loops import LOOPS, BlockingLoop, with_names

from push.sdk.errors import ConfigurationError, ConnectionFailed, ServerUntrusted
from push.wire.signals import ConnectStatus, Signal


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    both.use("nio" if request.param is BlockingLoop else "aio")
    yield request.param
    both.use("aio")


def client_at(url: str, **options: Any) -> Any:
    pair = {} if "key" in options else {"token": "T", "secret": "S"}
    return PushClient([url], **{"random": lambda: 0.0, **pair, **options})


class BlackHole:
    """A port of 127.0.0.2 that answers no SYN: its queue is full and nobody accepts."""

    def __init__(self, port: int) -> None:
        self._sockets = ExitStack()
        listening = self._sockets.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.2", port))
        listening.listen(0)
        for _ in range(3):
            filling = self._sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.2", port))

    def __enter__(self) -> BlackHole:
        return self

    def __exit__(self, *exception: object) -> None:
        self._sockets.close()


async def talk(server: DeviceServer, client: Any) -> None:
    """A session with all that uses the transport: a message, its ack, a request, a lost connection,
    and the goodbye."""
    async with client:
        peer = await server.accept()
        await peer.welcome()
        peer.push(1, "m1")
        assert (await anext(client)).id == "m1"
        asking = asyncio.ensure_future(client.publish("TS", {"topic": "t"}))
        frame, _ = await peer.take(Signal.PUBLISH)
        peer.send(Signal.PUB_ACK, {"ok": True}, frame.sub_signal, frame.message_id)
        await asking
        peer.push(2, "m2")
        assert (await anext(client)).id == "m2"
        assert await peer.take_acks(1) == [1]
        peer.abort()
        peer = await server.accept()
        await peer.welcome()
        await until(lambda: client.state is ClientState.CONNECTED)
        closing = asyncio.ensure_future(client.close())
        await peer.gone()
        await closing


def test_a_session_under_each_event_loop(loop: Any):
    async def test() -> None:
        async with DeviceServer() as server:
            await talk(server, client_at(server.url))

    run(test(), loop)


def test_a_session_over_tls_under_each_event_loop(loop: Any, tmp_path: Path):
    async def test() -> None:
        certificate = make_certificate(tmp_path)
        async with DeviceServer(certificate.server_context()) as server:
            await talk(server, client_at(server.url, ca_file=str(certificate.file)))
            await talk(server, client_at(server.url, fingerprint=certificate.fingerprint))
            async with client_at(server.url) as client:
                with pytest.raises(ServerUntrusted):
                    await anext(client)

    run(test(), loop)


def test_a_registration_alone_under_each_event_loop(loop: Any):
    async def test() -> None:
        async with DeviceServer() as server:
            call = asyncio.ensure_future(client_at(server.url, key="k").register())
            peer = await server.accept()
            await peer.register()
            await peer.gone()
            assert (await call).token == "T"

    run(test(), loop)


NAMES = {
    "refused": ["127.0.0.2", "127.0.0.1"],
    "refused_twice": ["127.0.0.3", "127.0.0.2", "127.0.0.1"],
    "ipv6_refused": ["::1", "127.0.0.1"],
    "unreachable": ["2001:db8::1", "127.0.0.1"],
    "the_last_of_six": ["127.0.0.3", "127.0.0.4", "::1", "127.0.0.5", "127.0.0.6", "127.0.0.1"],
}


@pytest.mark.parametrize("name", NAMES)
def test_dead_addresses_of_a_name_do_not_hinder(loop: Any, name: str):
    async def test() -> None:
        async with DeviceServer() as server:
            await talk(server, client_at(f"tcp://{name}:{server.port}"))

    run(test(), with_names(loop, **NAMES))


def test_an_address_that_never_answers_costs_a_head_start_only(loop: Any):
    async def test() -> None:
        async with DeviceServer() as server:
            with BlackHole(server.port):
                details: list[str] = []
                client = client_at(
                    f"tcp://h:{server.port}",
                    connect_seconds=30.0,  # more than the test may take: the first never fails
                    on_state=lambda state, detail: details.append(f"{state.name} {detail}"),
                )
                await talk(server, client)
                assert not any("no connection" in detail for detail in details)

    run(test(), with_names(loop, h=["127.0.0.2", "127.0.0.1"]))


def test_each_attempt_has_its_own_deadline(loop: Any):
    """Two dead addresses; the second is tried to its end although the first used up its time."""

    async def test() -> None:
        async with DeviceServer() as server:
            with BlackHole(server.port):
                client = client_at(f"tcp://h:{server.port}", key="k", connect_seconds=0.5)
                with pytest.raises(ConnectionFailed) as failed:
                    await client.register()
                assert "no connection within 0.5 s" in str(failed.value)
                assert "Connection refused" in str(failed.value)

    run(test(), with_names(loop, h=["127.0.0.2", "127.0.0.9"]))


def test_a_close_while_it_connects_leaves_nothing(loop: Any):
    async def test() -> None:
        async with DeviceServer() as server:
            with BlackHole(server.port):
                async with client_at(f"tcp://h:{server.port}") as client:
                    await until(lambda: client.state is ClientState.CONNECTING)
                    await asyncio.sleep(0)
                assert client.state is ClientState.CLOSED

    run(test(), with_names(loop, h=["127.0.0.2", "127.0.0.2"]))


def test_an_address_that_accepts_and_does_no_tls_is_passed_over(loop: Any, tmp_path: Path):
    async def test() -> None:
        certificate = make_certificate(tmp_path)
        async with DeviceServer(certificate.server_context()) as server:
            with socket.socket() as silent:
                silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                silent.bind(("127.0.0.2", server.port))
                silent.listen()
                client = client_at(
                    f"tls://h:{server.port}",
                    fingerprint=certificate.fingerprint,
                    connect_seconds=2.0,
                )
                await talk(server, client)

    run(test(), with_names(loop, h=["127.0.0.2", "127.0.0.1"]))


def test_an_address_that_accepts_and_gives_no_session_is_tried_last(loop: Any):
    async def test() -> None:
        async with (
            DeviceServer() as good,
            DeviceServer(None, "127.0.0.2", good.port) as bad,
            client_at(f"tcp://h:{good.port}") as client,
        ):
            peer = await bad.accept()
            await peer.take_connect()
            peer.abort()
            await (await good.accept()).welcome()
            await client.wait_connected()

    run(test(), with_names(loop, h=["127.0.0.2", "127.0.0.1"]))


def test_a_name_that_nobody_has_is_a_failed_connection(loop: Any):
    async def test() -> None:
        with pytest.raises(ConnectionFailed):
            await client_at("tcp://no-such-host.invalid:1", key="k").register()
        for host in ("x" * 70 + ".invalid", "."):  # these can be no names
            with pytest.raises(ConfigurationError):
                client_at(f"tcp://{host}:1", key="k")

    run(test(), loop)


# --- Certificates and the clock ------------------------------------------------------------------


def test_a_certificate_that_is_not_valid_yet_is_waited_for(loop: Any, tmp_path: Path):
    """The clock is behind, or the certificate is new: one of them passes."""

    async def test() -> None:
        early = make_certificate(tmp_path, "early", valid_days=(1, 2))
        good = make_certificate(tmp_path, "good")
        two = tmp_path / "two.pem"
        two.write_bytes(early.file.read_bytes() + good.file.read_bytes())
        details: list[str] = []
        async with DeviceServer(early.server_context()) as server:
            client = client_at(
                server.url,
                ca_file=str(two),
                random=lambda: 0.01,
                on_state=lambda state, detail: details.append(f"{state.name} {detail}"),
            )
            await client.__aenter__()
            await until(lambda: any("not yet valid" in detail for detail in details))
        async with DeviceServer(good.server_context(), "127.0.0.1", server.port) as server:
            peer = await server.accept()
            await peer.welcome()
            await client.wait_connected()
            await client.close()

    run(test(), loop)


def test_an_expired_certificate_is_final_before_the_first_session(loop: Any, tmp_path: Path):
    async def test() -> None:
        old = make_certificate(tmp_path, "old", valid_days=(-2, -1))
        async with (
            DeviceServer(old.server_context()) as server,
            client_at(server.url, ca_file=str(old.file)) as client,
        ):
            with pytest.raises(ServerUntrusted, match="expired"):
                await anext(client)

    run(test(), loop)


# --- TLS never gives way to plain ----------------------------------------------------------------


@pytest.mark.parametrize("hindered", ["nobody there", "no TLS", "a strange certificate"])
def test_a_client_of_both_never_speaks_to_the_plain_server(
    loop: Any, hindered: str, tmp_path: Path
):
    async def test() -> None:
        certificate = make_certificate(tmp_path)
        async with (
            DeviceServer(certificate.server_context()) as strange,
            DeviceServer() as no_tls,
            DeviceServer() as plain,
        ):
            secure = {
                "nobody there": "tls://127.0.0.1:1",
                "no TLS": f"tls://127.0.0.1:{no_tls.port}",
                "a strange certificate": strange.url,
            }[hindered]
            tried: list[str] = []
            options = {"random": lambda: 0.0, "connect_seconds": 0.5}
            client = PushClient(
                [plain.url, secure],
                token="T",
                secret="S",
                on_state=lambda state, detail: tried.append(detail),
                **options,
            )
            async with client:
                await until(lambda: len(tried) >= 6 or client.state is ClientState.FAILED)
            assert not any("tcp://" in detail for detail in tried)
            with pytest.raises(ConnectionFailed):
                await PushClient([secure, plain.url], key="k", **options).register()
            assert plain._all == []
            # The loop's own tasks: handshakes on the servers' side whose client has gone.
            await until(lambda: len(asyncio.all_tasks()) == 1)

    run(test(), loop)


def test_a_drain_and_a_redirect_to_both_lead_to_tls(loop: Any, tmp_path: Path):
    async def test() -> None:
        certificate = make_certificate(tmp_path)
        async with (
            DeviceServer() as first,
            DeviceServer() as plain,
            DeviceServer(certificate.server_context()) as secure,
        ):
            servers = [plain.url, secure.url]
            client = client_at(first.url, fingerprint=certificate.fingerprint)
            async with client:
                await (await first.accept()).refuse(
                    ConnectStatus.USE_ANOTHER_SERVER, servers=servers
                )
                peer = await secure.accept()
                await peer.welcome()
                await client.wait_connected()
                await peer.disconnect("draining", servers=servers, after=0)
                peer = await secure.accept()
                await peer.welcome()
            assert plain._all == []

    run(test(), loop)

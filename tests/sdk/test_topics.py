"""Topics in the clients: against a scripted server, and against the real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from both import PushClient, cut
from device_server import DeviceServer, Peer, run
from http_server import Answer, HTTPServer

from benchmarks.running import Running, started_server
from push.sdk.backend import AsyncPushAPI, PushAPI, PushAPIError, Topic
from push.sdk.errors import ConnectionFailed, RequestRefused
from push.wire.signals import ConnectStatus, RequestName, Signal
from tests.waiting import DEADLINE_SECONDS

JWT_SECRET = "a secret of at least thirty-two bytes"

each_client = pytest.mark.usefixtures("each_client")


def client_of(server: DeviceServer, **options: Any) -> Any:
    pair = {} if {"jwt", "key"} & options.keys() else {"token": "T", "secret": "S"}
    return PushClient([server.url], random=lambda: 0.0, **(pair | options))


async def answer(peer: Peer, name: RequestName, topic: str, **members: Any) -> None:
    """The next request must be this one; it is answered."""
    frame, body = await peer.take(Signal.PUBLISH)
    assert (frame.sub_signal, body) == (name, {"topic": topic})
    peer.send(Signal.PUB_ACK, {"ok": True, **members}, name, frame.message_id)


async def subscribed(client: Any, peer: Peer, topic: str) -> None:
    asking = asyncio.ensure_future(client.subscribe(topic))
    await answer(peer, RequestName.TS, topic)
    await asking


# --- The device, scripted ------------------------------------------------------------------------


@each_client
def test_a_device_subscribes_once_whatever_happens_to_its_connection():
    """The server keeps what a device follows: after a reconnect nothing is asked for."""

    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome()
            await subscribed(client, peer, "news")
            peer.abort()
            peer = await server.accept()
            await peer.welcome(session="s2")
            await subscribed(client, peer, "sport")  # and not "news" before it
            leaving = asyncio.ensure_future(client.unsubscribe("sport"))
            await answer(peer, RequestName.TU, "sport")
            await leaving

    run(test())


@each_client
def test_a_device_that_is_registered_anew_follows_what_the_old_one_did():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, key="k") as client:
            peer = await server.accept()
            await peer.register("T1")
            await peer.welcome()
            for topic in ("news", "sport", "weather"):
                await subscribed(client, peer, topic)
            leaving = asyncio.ensure_future(client.unsubscribe("sport"))
            await answer(peer, RequestName.TU, "sport")
            await leaving
            peer.abort()
            peer = await server.accept()
            await peer.refuse(ConnectStatus.IDENTIFIER_REJECTED)

            peer = await server.accept()
            await peer.register("T2")
            await peer.welcome(session="s2")
            await answer(peer, RequestName.TS, "news")
            peer.abort()  # before the answer to the next
            peer = await server.accept()
            await peer.welcome(session="s3")

            await answer(peer, RequestName.TS, "weather")

    run(test())


@each_client
def test_a_user_without_a_device_subscribes_again_in_each_session(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("push.sdk.core.requests.RESTORE_AGAIN_SECONDS", 0.0)

    async def test() -> None:
        async with DeviceServer() as server, client_of(server, jwt="j") as client:
            peer = await server.accept()
            await peer.welcome(user="ada", streams={"all": "1"})
            for topic in ("news", "private.ada"):
                await subscribed(client, peer, topic)
            peer.abort()
            peer = await server.accept()
            await peer.welcome(session="s2", user="ada", streams={"all": "1"})

            await answer(peer, RequestName.TS, "news", ok=False, code="unavailable", after=1)
            await answer(peer, RequestName.TS, "private.ada", ok=False, code="not_allowed")
            await answer(peer, RequestName.TS, "news")

            peer.push(0, "m", stream="topic:news")
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert (await anext(client)).stream == "topic:news"
        assert "the topic private.ada is not followed any more: not_allowed" in caplog.text

    run(test())


@each_client
def test_what_is_refused_or_not_known_is_not_subscribed_to_again():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, jwt="j") as client:
            with pytest.raises(ConnectionFailed, match="no session"):
                await client.subscribe("news", timeout=0.01)
            peer = await server.accept()
            await peer.welcome(streams={"all": "1"})
            asking = asyncio.ensure_future(client.subscribe("private.x"))
            await answer(peer, RequestName.TS, "private.x", ok=False, code="not_allowed")
            with pytest.raises(RequestRefused, match="not_allowed"):
                await asking
            asking = asyncio.ensure_future(client.subscribe("lost"))
            await peer.take(Signal.PUBLISH)
            peer.abort()
            with pytest.raises(ConnectionFailed):
                await asking
            peer = await server.accept()
            await peer.welcome(session="s2", streams={"all": "1"})
            await subscribed(client, peer, "news")  # nothing was asked for before it

    run(test())


# --- The backend, scripted -----------------------------------------------------------------------


def blocking(url: str, use: Callable[[Any], Any]) -> Any:
    with PushAPI(url, "k", retries=0) as api:
        return use(api)


def awaited(url: str, use: Callable[[Any], Any]) -> Any:
    async def main() -> Any:
        async with AsyncPushAPI(url, "k", retries=0) as api:
            return await use(api)

    return asyncio.run(main())


@pytest.fixture
def scripted() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


@pytest.mark.parametrize("call", [blocking, awaited])
def test_the_calls_about_topics(scripted: HTTPServer, call: Any) -> None:
    scripted.answer(
        Answer(204),
        Answer(204),
        Answer(200, {"topic": "a:b", "devices": 3}),
        Answer(200, {"topics": [{"topic": "a", "devices": 1}], "cursor": "a"}),
    )
    assert call(scripted.url, lambda api: api.subscribe("a:b", "T=")) == []
    assert call(scripted.url, lambda api: api.unsubscribe("a:b", "T=")) == []
    assert call(scripted.url, lambda api: api.topic("a:b")) == Topic("a:b", 3)
    page = call(scripted.url, lambda api: api.topics(cursor="0", limit=1))
    assert (page.topics, page.cursor) == ([Topic("a", 1)], "a")
    assert [(each.method, each.path) for each in scripted.requests] == [
        ("PUT", "/v1/topics/a%3Ab/devices/T%3D"),
        ("DELETE", "/v1/topics/a%3Ab/devices/T%3D"),
        ("GET", "/v1/topics/a%3Ab"),
        ("GET", "/v1/topics?cursor=0&limit=1"),
    ]


# --- The real server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that takes JWTs, and lets a device follow three topics."""
    folder: Path = tmp_path_factory.mktemp("topics")
    key_file = folder / "jwt.key"
    key_file.write_text(JWT_SECRET)
    settings = {"auth_jwt_key_file": str(key_file), "topics_max_per_device": "3"}
    with started_server("push", folder / "data", **settings) as running:
        yield running


def real_client(server: Running, **options: Any) -> Any:
    host, port = server.tcp_address
    return PushClient(f"tcp://{host}:{port}", random=lambda: 0.0, **options)


def jwt_of(user: str, **more: Any) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time() + 600), **more}
    return jwt.encode(claims, JWT_SECRET, "HS256")


async def next_of(client: Any) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(client)


@each_client
def test_a_device_follows_topics_over_all_its_connections(server: Running) -> None:
    async def test() -> None:
        async with AsyncPushAPI(server.http_url, server.admin_key) as api:
            pair = await api.register_device("linux", "topics")
            device = {"token": pair.token, "secret": pair.secret}
            async with real_client(server, **device) as client:
                await client.subscribe("news")
                first = await api.push(to={"topic": "news"}, data=1)
                assert (first.streams, first.online) == (1, 1)
                message = await next_of(client)
                assert (message.id, message.stream, message.data) == (first.id, "topic:news", 1)
                with pytest.raises(RequestRefused, match="not_allowed"):
                    await client.subscribe("private.club")
                await api.subscribe("private.club", pair.token)
            await api.push(to={"topic": "private.club"}, data=2)
            assert (await api.device(pair.token))["topics"] == ["news", "private.club"]
            async with real_client(server, **device) as client:
                assert (await next_of(client)).data == 2
                await client.subscribe("weather")
                with pytest.raises(RequestRefused) as refused:
                    await client.subscribe("sport")
                assert (refused.value.code, refused.value.field) == ("not_allowed", "topic")
                with pytest.raises(PushAPIError) as at_http:
                    await api.subscribe("sport", pair.token)
                assert (at_http.value.status, at_http.value.code) == (403, "not_allowed")
                names = [each.topic async for each in api.each_topic()]
                assert names == ["news", "private.club", "weather"]
                for topic in names:
                    await client.unsubscribe(topic)
                assert [each async for each in api.each_topic()] == []
            with pytest.raises(PushAPIError, match="not_found"):
                await api.topic("news")
            with pytest.raises(PushAPIError, match="not_found"):
                await api.unsubscribe("news", pair.token)
            await api.forget(pair.token)

    run(test())


@each_client
def test_a_user_without_a_device_follows_topics_again_after_a_lost_connection(
    server: Running,
) -> None:
    async def test() -> None:
        made = lambda: jwt_of("ada", topics=["private.ada"])  # noqa: E731
        async with (
            AsyncPushAPI(server.http_url, server.admin_key) as api,
            real_client(server, jwt=made) as client,
        ):
            for topic in ("news", "private.ada"):
                await client.subscribe(topic)
            before = (await client.wait_connected()).session
            assert cut(client)

            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    found = await api.connections(topic="private.ada")
                    if [each for each in found.connections if each.session != before]:
                        break
                    await asyncio.sleep(0.01)
            for topic in ("news", "private.ada"):
                await api.push(to={"topic": topic}, data=topic, qos=0)
            assert [(await next_of(client)).data for _ in range(2)] == ["news", "private.ada"]
            assert [each async for each in api.each_topic()] == []

    run(test())

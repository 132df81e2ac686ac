"""Gateways on a real Redis and real sockets, and devices written on `push.wire` alone."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import deferLater
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.events import Event as WebEvent

from push.access.api_keys import Keyring
from push.access.bans import CHANNEL as BANS
from push.access.jwt import JwtVerifier, load_keys
from push.chat.settings import ChatSettings
from push.connector.gateway import Gateway
from push.connector.listener import device_factory
from push.connector.session_queries import SessionQueryHandler
from push.connector.sessions.services import GatewayServices, GatewaySettings
from push.connector.transport.device_port import DevicePort
from push.daemons.config.settings import Connector
from push.daemons.domain import DomainLimits
from push.daemons.security.certificate import load_server_tls
from push.daemons.security.serving import ServingTls
from push.daemons.upkeep import upkeep_of
from push.devices.expiry import DeviceExpiry
from push.devices.sessions import Sessions
from push.pushing.content import PushContent
from push.pushing.service import Push
from push.pushing.targets import Target
from push.redis.client import RedisClient
from push.redis.connection.url import parse_redis_url
from push.redis.identity import Deployment
from push.redis.periodic import PeriodicTask
from push.redis.shards import Shards
from push.session.server_answers import SessionLimits
from push.streams.hub import Hub
from push.streams.log_cache import LogCache
from push.streams.publisher import Retention
from push.streams.sweeper import Sweeper
from push.webhooks.settings import WebhookSettings
from push.wire.addresses import Networks
from push.wire.api.push import PushResult
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, RequestName, Signal
from push.wire.websocket.origins import SAME_HOST, Origins
from tests.domains import make_domain
from tests.waiting import DEADLINE_SECONDS, WaitUntil

# How often a minute users may act, which a test asks for if it is about that.
NO_RATES = dict.fromkeys(
    (
        "messages_per_minute",
        "typing_per_minute",
        "presence_per_minute",
        "groups_per_minute",
    ),
    0,
)
# `PUSH_TEST_CARRIER=ws` runs the tests that send no bytes of their own over WebSocket.
WEB_SOCKETS = os.environ.get("PUSH_TEST_CARRIER") == "ws"
JWT_SECRET = b"a secret of at least thirty-two bytes"


class Client(Protocol):
    """A device: what it received, and what it may say. Acknowledges by itself when `acks`."""

    def __init__(self, *, acks: bool = False) -> None:
        self._decoder = FrameDecoder(1 << 20)
        self.acks = acks
        self.frames: list[Frame] = []
        self.pushes: list[Frame] = []
        self._bodies: list[dict[str, Any]] = []
        self.closed = False
        self.lost_reason: Any = None
        self._ids = 0
        self._wait_until: WaitUntil | None = None
        self._credentials: dict[str, str] = {}

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self.take(frame)

    def take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.signal == Signal.PUSH:
            self.pushes.append(frame)
            if self.acks and frame.message_id:
                self.ack(frame)

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True
        self.lost_reason = reason

    # Saying

    def send(self, signal: int, body: object = None, message_id: int | None = None) -> int:
        if message_id is None:
            self._ids += 1
            message_id = self._ids
        raw = b"" if body is None else json.dumps(body).encode()
        self.write_frame(signal, 0, message_id, raw)
        return message_id

    def write_frame(self, signal: int, sub_signal: int, message_id: int, raw: bytes) -> None:
        self.transport.write(encode_frame(signal, sub_signal, message_id, raw))

    def ack(self, frame: Frame) -> None:
        self.write_frame(Signal.PUB_ACK, 0, frame.message_id, b"")

    def ack_all(self) -> None:
        for frame in self.pushes:
            if frame.message_id:
                self.ack(frame)

    # What came

    def of(self, signal: int) -> list[Frame]:
        return [frame for frame in self.frames if frame.signal == signal]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        # Waits look at them again and again: each is read once.
        self._bodies += [json.loads(frame.body) for frame in self.pushes[len(self._bodies) :]]
        return self._bodies[:]

    @property
    def numbers(self) -> list[Any]:
        """The `data` of the plain messages."""
        return [body["data"] for body in self.bodies if "kind" not in body]

    @property
    def kinds(self) -> list[str]:
        return [body["kind"] for body in self.bodies if "kind" in body]

    @property
    def disconnect(self) -> dict[str, Any] | None:
        found = self.of(Signal.DISCONNECT)
        return json.loads(found[0].body) if found else None

    @property
    def ended_with(self) -> str | None:
        said = self.disconnect
        return said["code"] if said else None

    # Asking

    async def answer(self, signal: int, message_id: int) -> Frame:
        assert self._wait_until is not None

        def answers() -> list[Frame]:
            return [
                frame
                for frame in self.frames
                if frame.signal == signal and frame.message_id == message_id
            ]

        found = await self._wait_until(lambda: answers() or self.closed)
        assert found is not True, f"closed: {self.disconnect}"
        return found[0]

    async def ask(self, name: str, /, **body: Any) -> dict[str, Any]:
        """PUBLISH with the sub-signal `name`; its answer."""
        self._ids += 1
        raw = json.dumps(body).encode()
        self.write_frame(Signal.PUBLISH, RequestName[name], self._ids, raw)
        return dict(json.loads((await self.answer(Signal.PUB_ACK, self._ids)).body))

    async def register(self, **body: Any) -> dict[str, Any]:
        asked = self.send(Signal.SUB, {"platform": "p", "app": "a", **body})
        answer = json.loads((await self.answer(Signal.SUB, asked)).body)
        if "token" in answer:
            self._credentials = {"token": answer["token"], "secret": answer["secret"]}
        return dict(answer)

    async def connect(self, **body: Any) -> dict[str, Any]:
        """CONNECT as `body` says; the answer with its sub-signal as `status`."""
        asked = self.send(Signal.CONNECT, body or self._credentials)
        frame = await self.answer(Signal.CONNECT_ACK, asked)
        return {"status": ConnectStatus(frame.sub_signal), **json.loads(frame.body)}


class WebClient(Client):
    """The same over WebSocket, on wsproto's client."""

    def __init__(
        self, *, acks: bool = False, origin: str = "", path: str = "/ws", offers: str = "push.v2"
    ) -> None:
        super().__init__(acks=acks)
        self._handshake: WSConnection = WSConnection(ConnectionType.CLIENT)
        headers = [(b"Origin", origin.encode())] if origin else []
        self._request = Request(
            host="127.0.0.1", target=path, subprotocols=offers.split(), extra_headers=headers
        )
        self.refused_with = 0
        self.refusal = b""
        self.close_code = 0
        self.pongs: list[bytes] = []
        self.text_bytes: list[int] = []  # of each message that came
        self._waiting: list[WebEvent] = []
        self._text = ""

    @property
    def is_open(self) -> bool:
        return self._handshake.state is ConnectionState.OPEN

    def begin(self) -> None:
        """Ask for the WebSocket."""
        self.transport.write(self._handshake.send(self._request))

    def dataReceived(self, data: bytes) -> None:
        self._handshake.receive_data(data)
        for event in self._handshake.events():
            self._event(event)

    def _event(self, event: WebEvent) -> None:
        if isinstance(event, AcceptConnection):
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                self.say(each)
        elif isinstance(event, RejectConnection):
            self.refused_with = event.status_code
        elif isinstance(event, RejectData):
            self.refusal += event.data
        elif isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                text, self._text = self._text, ""
                self.text_bytes.append(len(text.encode()))
                self.take(self._frame(json.loads(text)))
        elif isinstance(event, Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self.close_code = int(event.code)
            if self._handshake.state is ConnectionState.REMOTE_CLOSING:
                self.transport.write(self._handshake.send(event.response()))

    def _frame(self, message: dict[str, Any]) -> Frame:
        signal, name = Signal[message["signal"]], message.get("subSignal", "")
        number: int = 0
        if signal is Signal.CONNECT_ACK:
            number = ConnectStatus[name]
        elif name in RequestName.__members__:
            number = RequestName[name]
        body = json.dumps(message.get("content", {})).encode()
        return Frame(signal, number, message.get("messageId", 0), body)

    def write_frame(self, signal: int, sub_signal: int, message_id: int, raw: bytes) -> None:
        message: dict[str, Any] = {"signal": Signal(signal).name}
        if sub_signal:
            message["subSignal"] = RequestName(sub_signal).name
        if message_id:
            message["messageId"] = message_id
        if raw:
            message["content"] = json.loads(raw)
        self.say(TextMessage(json.dumps(message)))

    def say(self, event: WebEvent) -> None:
        """Send it, as soon as the WebSocket is open."""
        if self.is_open:
            self.transport.write(self._handshake.send(event))
        else:
            self._waiting.append(event)

    def say_text(self, text: str) -> None:
        self.say(TextMessage(text))


# Devices of a busy machine are slow as well: no session ends for it, and nothing is sent again.
NO_HURRY = {
    "handshake_timeout_seconds": 2 * DEADLINE_SECONDS,
    "redeliver_after_seconds": 2 * DEADLINE_SECONDS,
}


class Node:
    """One connector on its own connections to Redis, one server or several, and what a backend
    has."""

    def __init__(
        self, reactor: Any, urls: Sequence[str], boots: set[str], keyring: Keyring, **options: Any
    ) -> None:
        self.reactor = reactor
        self.boot = secrets.token_hex(8)
        self.boots = boots
        self.keyring = keyring  # of this process alone
        boots.add(self.boot)
        limits = SessionLimits(**{**NO_HURRY, **options.pop("limits", {})})
        timeout_seconds = options.pop("timeout_seconds", 5.0)
        retention = Retention(**options.pop("retention", {}))
        others = options.pop("others", lambda carrier, ip: ())
        deployment = Deployment(len(urls))
        self.shards = Shards(
            [
                RedisClient(
                    reactor,
                    parse_redis_url(url),
                    timeout_seconds=timeout_seconds,
                    deployment=deployment,
                    number=number,
                )
                for number, url in enumerate(urls)
            ]
        )
        self.store = self.shards.first
        domain = self.domain = make_domain(
            reactor,
            DomainLimits(
                retention=retention,
                chat=ChatSettings(**{**NO_RATES, **options.pop("chat", {})}),
                registrations_per_minute=options.pop("registrations_per_minute", 0),
                failed_secrets_per_minute=options.pop("failed_secrets_per_minute", 0),
                failed_keys_per_minute=options.pop("failed_keys_per_minute", 0),
                topics_per_device=options.pop("max_topics", 100),
                webhooks=options.pop("webhooks", WebhookSettings()),
            ),
            self.shards,
            self.boot,
            boots,
            lambda new: self.gateway.commands.end_banned(new),
            keyring,
        )
        self.survey, self.survey_handler = domain.survey, domain.survey_handler
        self.lease, self.bans, self.keys = domain.lease, domain.bans, domain.keys
        self.devices, self.users, self.topics = domain.devices, domain.users, domain.topics
        self.session_queries, self.chat, self.erasure = (
            domain.session_queries,
            domain.chat,
            domain.erasure,
        )
        self.pushing = domain.pushing
        verifier = JwtVerifier(
            load_keys(JWT_SECRET), algorithms=["HS256"], audience="push", issuer=None
        )
        sessions = Sessions(
            self.shards,
            self.devices,
            domain.outbox,
            verifier,
            boot=self.boot,
            node="node",
            retention_seconds=86_400,
            redeliver_after_seconds=options.pop("redeliver_after_of_records", 0),
            groups_of=self.chat.groups.streams_of,
        )
        settings = GatewaySettings(
            boot=self.boot,
            node="node",
            limits=limits,
            **{"open_registration": True, **options},
        )
        services = GatewayServices(
            self.shards,
            domain.control,
            self.devices,
            sessions,
            self.topics,
            self.chat,
            keyring,
            domain.failed_keys,
            self.bans,
            self.lease,
            domain.snowflake,
            domain.observer.session_events,
            others,
        )
        self.gateway = Gateway(reactor, services, settings)
        self.upkeep = upkeep_of(domain)
        # What works off errands; the rest only looks for what is old.
        self.errand_runners: list[PeriodicTask] = [
            work
            for work in self.upkeep
            if isinstance(work, PeriodicTask) and not isinstance(work, Sweeper | DeviceExpiry)
        ]
        SessionQueryHandler(reactor, self.gateway, self.survey_handler, self.boot)
        self.gateway.apply_for(self.survey_handler)
        self.survey_handler.handle(BANS, self._confirm_bans)
        self.ports: list[Any] = []
        self.stopped = False

    async def _confirm_bans(self, _asked: bytes) -> None:
        await self.bans.wait_until_current()
        await self.gateway.until_ended_are_done()

    @property
    def hub(self) -> Hub:
        """Of the only server."""
        return next(iter(self.gateway.streams)).hub

    @property
    def log_cache(self) -> LogCache:
        """Of the only server."""
        return next(iter(self.gateway.streams)).log_cache

    def start(self) -> None:
        self.shards.start()
        self.gateway.start()
        for work in self.upkeep:
            work.start()

    def listen(
        self,
        tls: Any = None,
        sndbuf: int = 0,
        proxies: Iterable[str] = (),
        *,
        web: bool = WEB_SOCKETS,
        origins: Iterable[str] = (SAME_HOST,),
    ) -> int:
        factory = device_factory(
            self.reactor,
            self.gateway,
            tls,
            Networks(proxies),
            origins=Origins(origins) if web else None,
        )
        port = DevicePort(0, factory, 50, "127.0.0.1", self.reactor)
        port.startListening()
        if sndbuf:
            port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        self.ports.append(port)
        return int(port.getHost().port)

    async def push(
        self, kind: str, *names: str, data: object = None, once: str | None = None, **more: Any
    ) -> PushResult:
        content = PushContent(data=msgspec.Raw(json.dumps(data).encode()), **more)
        return await self.pushing.push(Push(Target(kind, names), content, once))

    async def record(self, token: str) -> dict[str, str]:
        home = self.shards.of(f"dev:{token}")
        reply = await home.command("HGETALL", home.key(f"device:{token}"))
        texts = [item.decode() for item in reply]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def stop_gateway(self) -> None:
        for port in self.ports:
            await port.stopListening()
        self.ports.clear()
        for work in reversed(self.upkeep):
            work.stop()
        await self.gateway.stop()
        self.boots.discard(self.boot)

    async def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            stopped = Deferred.fromCoroutine(self.stop_gateway())
            stopped.addTimeout(DEADLINE_SECONDS, self.reactor)
            try:
                await stopped
            finally:
                await self.shards.stop()


@pytest.fixture
def keyring() -> Keyring:
    return Keyring([])


@pytest.fixture
def boots() -> set[str]:
    """The boot ids of the connectors that live."""
    return set()


@pytest.fixture
def more_urls(request: pytest.FixtureRequest) -> list[str]:
    """Further servers for tests that are not about servers, when `PUSH_TEST_SERVERS` is above 1."""
    servers = int(os.environ.get("PUSH_TEST_SERVERS", "1"))
    if servers == 1:
        return []
    make_redis = request.getfixturevalue("make_redis")
    return [make_redis().url for _ in range(servers - 1)]


@pytest_twisted.async_yield_fixture
async def make_node(
    wait_until: WaitUntil, boots: set[str], keyring: Keyring, more_urls: list[str]
) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """`await make_node(url, limits={…})`: a started gateway; it listens when told to.

    `url`: of a server, or a list of them. `reactor`: another than the real one.
    """
    from twisted.internet import reactor

    nodes: list[Node] = []

    async def make(url: str | Sequence[str], *, ready: bool = True, **options: Any) -> Node:
        urls = [url, *more_urls] if isinstance(url, str) else url
        node = Node(options.pop("reactor", reactor), urls, boots, Keyring(keyring.own), **options)
        nodes.append(node)
        node.start()
        if ready:
            await wait_until(lambda: not node.shards.problems)
        return node

    yield make
    await deferLater(reactor, 0)
    for node in nodes:
        await node.stop()


@pytest_twisted.async_yield_fixture
async def node(make_node: Callable[..., Awaitable[Node]], redis_url: str) -> AsyncIterator[Node]:
    made = await make_node(redis_url)
    made.listen()
    yield made


Dial = Callable[..., Awaitable[Client]]


@pytest_twisted.async_yield_fixture
async def dial(wait_until: WaitUntil) -> AsyncIterator[Dial]:
    """`await dial(node, acks=True)`: a client that is connected to the node's last port.

    It calls from the address `source`, and sends `header`, piece by piece, before all else. With
    `web` it speaks WebSocket, and asks for the path, origin and sub-protocol in `asked`.
    """
    from twisted.internet import reactor

    clients: list[Client] = []

    async def make(
        node: Node,
        *,
        acks: bool = False,
        tls: Any = None,
        source: str = "127.0.0.1",
        header: Sequence[bytes] = (),
        web: bool = WEB_SOCKETS,
        **asked: str,
    ) -> Client:
        port = node.ports[-1].getHost().port
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=(source, 0))
        if tls is not None and not header:
            endpoint = wrapClientTLS(tls, endpoint)

        def new_client() -> Client:
            return WebClient(acks=acks, **asked) if web else Client(acks=acks)

        client: Client = await endpoint.connect(Factory.forProtocol(new_client))
        client._wait_until = wait_until
        clients.append(client)
        for place, piece in enumerate(header):
            if place:
                await deferLater(reactor, 0)
            client.transport.write(piece)
        if tls is not None and header:
            client.transport.startTLS(tls)  # its first bytes leave with the header's last
        if isinstance(client, WebClient):
            client.begin()
        return client

    yield make
    for client in clients:
        if not client.closed:
            client.transport.abortConnection()
    await wait_until(lambda: all(client.closed for client in clients))


@pytest.fixture
def device(node: Node, dial: Dial) -> Callable[..., Awaitable[Client]]:
    """`await device()`: registered and connected on `node`; `acks=True` acknowledges."""

    async def make(*, acks: bool = False, on: Node | None = None, **asked: Any) -> Client:
        client = await dial(on or node, acks=acks)
        pair = await client.register()
        accepted = await client.connect(token=pair["token"], secret=pair["secret"], **asked)
        assert accepted["status"] is ConnectStatus.ACCEPTED, accepted
        return client

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What a server listens with and what a client connects with, over TLS."""
    made = load_server_tls(Connector(), tmp_path_factory.mktemp("tls"))
    root = Certificate.loadPEM(made.certificate_path.read_text())
    return ServingTls(made), optionsForClientTLS("localhost", trustRoot=root)

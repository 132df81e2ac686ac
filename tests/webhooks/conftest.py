"""Endpoints that answer as a test says, and what delivers to them: real sockets, a real Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_twisted
from standardwebhooks import Webhook as Verifier
from twisted.internet import defer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from push.chat.conversation_id import to_user
from push.daemons.services.webhooks import WebhookService
from push.webhooks.settings import ConfiguredEndpoint, WebhookSettings
from push.webhooks.signing import new_secret
from push.wire.api.conversations import NewMessage
from push.wire.api.operate.webhooks import WEBHOOK_TYPES
from tests.connector.conftest import Node, boots, dial, keyring, make_node, more_urls
from tests.waiting import WaitUntil

__all__ = ["boots", "dial", "keyring", "make_node", "more_urls"]

HANG = 0  # instead of a status: no answer at all


class Received(NamedTuple):
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class CountedSite(Site):
    """Knows its open connections."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.channels: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = super().buildProtocol(addr)
        lost = channel.connectionLost

        def connection_lost(*reason: Any) -> None:
            self.channels.remove(channel)
            lost(*reason)

        channel.connectionLost = connection_lost
        self.channels.append(channel)
        return channel

    def cut(self) -> None:
        """End all connections."""
        for channel in list(self.channels):
            transport = channel._channel.transport
            if transport is not None:
                transport.abortConnection()


class Receiver(Resource):
    """An endpoint on a port of its own. `answers` are given one after the other, then `answer`:
    a status, or (status, headers)."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Received] = []
        self.answers: list[Any] = []
        self.answer: Any = 204
        self.hanging: list[Request] = []
        self.port: Any = None
        self.number = 0

    def render_POST(self, request: Request) -> int | bytes:
        headers = {
            name.decode().lower(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        assert request.content is not None
        self.received.append(Received(headers, request.content.read()))
        answer = self.answers.pop(0) if self.answers else self.answer
        status, more = answer if isinstance(answer, tuple) else (answer, {})
        if status == HANG:
            self.hanging.append(request)
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        request.setResponseCode(status)
        for name, value in more.items():
            request.setHeader(name, value)
        return b""

    def start(self) -> None:
        """On the same port as before, if it was stopped."""
        from twisted.internet import reactor

        self._site = CountedSite(self)
        self.port = reactor.listenTCP(  # type: ignore[attr-defined]
            self.number, self._site, interface="127.0.0.1"
        )
        self.number = self.port.getHost().port

    async def stop(self) -> None:
        if self.port is not None:
            port, self.port = self.port, None
            await defer.maybeDeferred(port.stopListening)
            self._site.cut()
        self.hanging.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.number}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [one.json() for one in self.received]

    def of(self, type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type]


class World:
    """A deployment with endpoints of the configuration."""

    def __init__(
        self, node: Node, settings: WebhookSettings, receiver: Receiver, wait_until: WaitUntil
    ) -> None:
        self.node = node
        self.settings = settings
        self.receiver = receiver
        self.services: list[WebhookService] = []
        self.secret = settings.endpoints[0].secret
        self.wait_until = wait_until

    @property
    def webhooks(self) -> Any:
        return self.node.domain.webhooks

    def deliver(self, boot: str = "") -> WebhookService:
        """Another process with the role."""
        service = WebhookService(
            self.node.reactor,
            self.node.shards,
            self.webhooks.store,
            self.settings,
            boot or f"deliverer-{len(self.services)}",
            self.node.domain.is_live_boot,
        )
        service.startService()
        self.services.append(service)
        return service

    async def ready(self) -> None:
        """The scripts know what is wanted."""
        await self.webhooks.store.adopt()
        await self.webhooks.store.publish(await self.webhooks.store.read())

    async def endpoint(self, id: str = "config-test") -> Any:
        return await self.webhooks.get(id)

    def verify(self, received: Received, *secrets: str) -> None:
        """By the reference library."""
        for secret in secrets or (self.secret,):
            Verifier(secret).verify(received.body, received.headers)

    async def stop(self) -> None:
        for service in self.services:
            if service.running:
                await service.stopService()


MakeReceiver = Callable[[], Receiver]
MakeWorld = Callable[..., Awaitable[World]]


@pytest_twisted.async_yield_fixture
async def make_receiver() -> AsyncIterator[MakeReceiver]:
    made: list[Receiver] = []

    def make() -> Receiver:
        receiver = Receiver()
        receiver.start()
        made.append(receiver)
        return receiver

    yield make
    for receiver in made:
        await receiver.stop()


@pytest.fixture
def receiver(make_receiver: MakeReceiver) -> Receiver:
    return make_receiver()


@pytest_twisted.async_yield_fixture
async def make_world(
    make_node: Callable[..., Awaitable[Node]],
    redis_url: str,
    receiver: Receiver,
    wait_until: WaitUntil,
) -> AsyncIterator[MakeWorld]:
    """`await make_world(types=…, retries_seconds=…)`: a node and an endpoint `config-test`; nobody
    delivers yet."""
    made: list[World] = []

    async def make(
        *, types: tuple[str, ...] = WEBHOOK_TYPES, urls: Any = redis_url, **settings: Any
    ) -> World:
        endpoint = ConfiguredEndpoint(id="test", url=receiver.url, types=types, secret=new_secret())
        settings = {"offline_after_seconds": 0, "timeout_seconds": 10.0, **settings}
        asked = WebhookSettings(endpoints=(endpoint,), **settings)
        node = await make_node(urls, webhooks=asked)
        world = World(node, asked, receiver, wait_until)
        made.append(world)
        await world.ready()
        return world

    yield make
    for world in made:
        await world.stop()


@pytest_twisted.async_yield_fixture
async def world(make_world: MakeWorld) -> AsyncIterator[World]:
    made = await make_world()
    made.deliver()
    yield made


async def say(world: World, text: object, to: str = "bob", sender: str = "anna") -> Any:
    """A message of a conversation of two."""
    said = NewMessage(data=msgspec.Raw(json.dumps(text).encode()))
    conversation = to_user(sender, to)
    return await world.node.chat.messages.send(sender, conversation, said, by_device=False)

"""Users with devices on connectors, and what a backend calls, on a real Redis."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import jwt
import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry

from push.access.api_keys import ApiKey, Keyring
from push.daemons.apps import make_apps
from push.http.framework.access import Guards
from push.http.framework.site import LimitedSite
from push.http.server import make_site
from push.wire.api.operate.config import Configuration
from tests.amounts import amount
from tests.conftest import RedisServer, standing_still
from tests.connector.conftest import (
    JWT_SECRET,
    Client,
    Dial,
    Node,
    WaitUntil,
    boots,
    device,
    dial,
    keyring,
    make_node,
    more_urls,
)
from tests.http.conftest import Connection, Response, make_request

__all__ = ["boots", "device", "dial", "keyring", "make_node", "more_urls"]

User = Callable[..., Awaitable[Client]]
MakeNode = Callable[..., Awaitable[Node]]
CHAT_KEYS = ("chat-key", "another-chat-key")


@pytest.fixture(scope="session")
def three_servers() -> Iterator[list[RedisServer]]:
    """Servers that tests share, as `redis_server`."""
    servers = [RedisServer() for _ in range(3)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.remove()


ONE, THREE = pytest.param(1, id="one server"), pytest.param(3, id="three servers")


def on(*servers: Any) -> pytest.MarkDecorator:
    """Of a test with many cases: `servers` in every run, and both in a long one."""
    return pytest.mark.parametrize("redis_urls", amount(servers, (ONE, THREE)), indirect=True)


# What is wrong with a request is so whatever the servers are.
on_one_server = on(ONE)
# A table of the documents: more can go wrong where things that belong together are stored apart.
on_three_servers = on(THREE)


@pytest.fixture(params=[ONE, THREE])
def redis_urls(
    request: pytest.FixtureRequest, redis_url: str, three_servers: list[RedisServer]
) -> list[str]:
    """One server, or three: the rules are the same."""
    if request.param == 1:
        return [redis_url]
    for server in three_servers:
        server.ensure_empty()
    return [server.url for server in three_servers]


@pytest_twisted.async_yield_fixture
async def node(make_node: MakeNode, redis_urls: list[str]) -> AsyncIterator[Node]:
    made = await make_node(redis_urls)
    made.listen()
    yield made


@pytest.fixture
def person(node: Node, device: Any) -> User:
    """`await person("anna")`: a device that is bound to her; it acknowledges all."""

    async def make(user: str, *, on: Node | None = None, **asked: Any) -> Client:
        claims = {"sub": user, "exp": 4_000_000_000, "aud": "push"}
        client: Client = await device(
            acks=True, on=on, jwt=jwt.encode(claims, JWT_SECRET, "HS256"), **asked
        )
        return client

    return make


@pytest.fixture
def visitor(node: Node, dial: Dial) -> User:
    """`await visitor("anna")`: a session with her JWT alone."""

    async def make(user: str, *, on: Node | None = None, **asked: Any) -> Client:
        claims = {"sub": user, "exp": 4_000_000_000, "aud": "push"}
        client = await dial(on or node, acks=True)
        accepted = await client.connect(jwt=jwt.encode(claims, JWT_SECRET, "HS256"), **asked)
        client.accepted = accepted  # type: ignore[attr-defined]
        return client

    return make


def of_kind(client: Client, kind: str) -> list[dict[str, Any]]:
    """The PUSHes of a kind, in the order in which they came, each once."""
    found = {body["id"]: body for body in client.bodies if body.get("kind") == kind}
    return list(found.values())


@contextlib.contextmanager
def standing_still_of(node: Node, server: RedisServer, number: int) -> Iterator[None]:
    """As `standing_still`, of the server of this number. Nor does the node wait long then for
    connectors to confirm what they cannot read."""
    usual, node.survey._deadline_seconds = node.survey._deadline_seconds, 0.5
    try:
        with standing_still(server, node.shards[number]):
            yield
    finally:
        node.survey._deadline_seconds = usual


class Door:
    """What a backend calls: push-group's site, with the real chat behind it, in memory."""

    def __init__(self, site: LimitedSite, wait_until: WaitUntil) -> None:
        self._site = site
        self._wait_until = wait_until

    async def __call__(
        self, method: str, path: str, body: Any = None, key: str = CHAT_KEYS[0]
    ) -> Response:
        connection = Connection(self._site, "192.0.2.7")
        connection.send(make_request(method, path, body, key=key))
        # Whole when it can be parsed: an answer is written at once.
        await self._wait_until(lambda: b"\r\n\r\n" in connection.transport.value())
        (response,) = connection.responses()
        connection.close()
        return response


@pytest.fixture
def door(node: Node, wait_until: WaitUntil) -> Door:
    """`await door("POST", "/v1/groups", {…})`"""
    from twisted.internet import reactor

    keys = [
        ApiKey(key, hashlib.sha256(key.encode()).hexdigest(), frozenset(["chat"]))
        for key in CHAT_KEYS
    ]
    site = make_site(
        reactor,
        make_apps(node.domain, {"group"}, lambda: Configuration("n1", {})),
        Guards(Keyring(keys)),
        registry=CollectorRegistry(),
        problems=list,
    )
    return Door(site, wait_until)


async def keys_of(node: Node, owner: str, *command: str) -> Any:
    """A command on a key that is where `owner` is: `"user:anna", "TTL", "sent:…"`."""
    server = node.shards.of(owner)
    name, key, *rest = command
    return await server.command(name, server.key(key), *rest)

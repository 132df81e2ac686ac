"""Users with devices on connectors, and what a backend calls, on a real Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from prometheus_client import CollectorRegistry

from push.devices.keyring import ApiKey, Keyring
from push.http.chat import make_group
from push.http.serving import make_site
from push.http.site import LimitedSite
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
    node,
)
from tests.http.conftest import Connection, Response, make_request

__all__ = ["boots", "device", "dial", "keyring", "make_node", "node"]

User = Callable[..., Awaitable[Client]]


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


class Door:
    """What a backend calls: push-group's site, with the real chat behind it, in memory."""

    def __init__(self, site: LimitedSite, wait_until: WaitUntil) -> None:
        self._site = site
        self._wait_until = wait_until

    async def __call__(self, method: str, path: str, body: Any = None) -> Response:
        connection = Connection(self._site, "192.0.2.7")
        connection.send(make_request(method, path, body, key="chat-key"))
        # Whole when it can be parsed: an answer is written at once.
        await self._wait_until(lambda: b"\r\n\r\n" in connection.transport.value())
        (response,) = connection.responses()
        connection.close()
        return response


@pytest.fixture
def door(node: Node, wait_until: WaitUntil) -> Door:
    """`await door("POST", "/v1/groups", {…})`"""
    from twisted.internet import reactor

    key = ApiKey("chat", hashlib.sha256(b"chat-key").hexdigest(), frozenset(["chat"]))
    site = make_site(
        reactor,
        [make_group(node.chat)],
        keyring=Keyring([key]),
        registry=CollectorRegistry(),
        problems=list,
    )
    return Door(site, wait_until)

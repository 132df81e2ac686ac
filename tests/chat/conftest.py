"""Users with devices on connectors, and what a backend calls, on a real Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest

from tests.connector.conftest import (
    JWT_SECRET,
    Client,
    Dial,
    Node,
    boots,
    device,
    dial,
    keyring,
    make_node,
    node,
)

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

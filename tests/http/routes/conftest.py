"""The routes with the real domain behind them, on a real Redis; requests are sent in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry

from push.access.api_keys import Keyring
from push.daemons.apps import make_apps
from push.http.framework.site import LimitedSite
from push.http.server import make_site
from tests.connector.conftest import Node, WaitUntil, boots, make_node, more_urls
from tests.http.conftest import Connection, Response, make_request

__all__ = ["boots", "make_node", "more_urls"]

REGISTER = {"platform": "linux", "app": "example"}


class API:
    """push-api and push-sub of a node."""

    def __init__(self, node: Node, site: LimitedSite, wait_until: WaitUntil) -> None:
        self.node = node
        self._site = site
        self._wait_until = wait_until

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "admin-key",
        ip: str = "192.0.2.7",
    ) -> Response:
        """One request on a connection of its own. `body` as JSON."""
        connection = Connection(self._site, ip)
        connection.send(make_request(method, path, body, key=key))
        # Whole when it can be parsed: an answer is written at once.
        await self._wait_until(lambda: b"\r\n\r\n" in connection.transport.value())
        (response,) = connection.responses()
        connection.close()
        return response

    async def json(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """What a request that succeeds is answered."""
        response = await self.request(method, path, body, **options)
        assert response.status < 300, response
        return response.json()

    async def register(self) -> str:
        """A new device's token."""
        return str((await self.json("POST", "/v1/devices", REGISTER, key="app-key"))["token"])

    async def push(self, to: dict[str, Any], data: object = None, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.json(
            "POST", "/v1/push", {"to": to, "data": data, **more}, key="push-key"
        )
        return answer


@pytest_twisted.async_yield_fixture
async def api(
    make_node: Callable[..., Awaitable[Node]],
    redis_url: str,
    keyring: Keyring,
    wait_until: WaitUntil,
) -> Any:
    from twisted.internet import reactor

    node = await make_node(redis_url)
    site = make_site(
        reactor,
        make_apps(node.domain, {"api", "sub"}),
        keyring=keyring,
        registry=CollectorRegistry(),
        problems=list,
    )
    yield API(node, site, wait_until)


@pytest.fixture
def silent_node(boots: set[str]) -> str:
    """The name of a connector that is registered and answers nothing."""
    boots.add("n2")
    return "n2"

"""The routes with the real domain behind them, on a real Redis; requests are sent in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry

from push.access.api_keys import Keyring
from push.daemons.apps import make_apps
from push.http.edge.auditing import Auditing
from push.http.framework.access import Guards
from push.http.framework.site import LimitedSite
from push.http.server import make_site
from push.pushing.service import Push
from push.wire.api.operate.config import Configuration
from push.wire.api.push import PushResult
from push.wire.errors import RequestError
from tests.connector.conftest import (
    Client,
    Dial,
    Node,
    WaitUntil,
    boots,
    dial,
    make_node,
    more_urls,
)
from tests.http.conftest import Connection, Response, make_request

__all__ = ["boots", "dial", "make_node", "more_urls"]

REGISTER = {"platform": "linux", "app": "example"}


class API:
    """push-api and push-sub of a node. `pushed`: all that reached the service, which did it."""

    def __init__(self, node: Node, site: LimitedSite, wait_until: WaitUntil) -> None:
        self.node = node
        self.pushed = pushes_of(node)
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
        """One request on a connection of its own. `body` bytes as they are, else as JSON."""
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

    async def post(self, body: Any) -> Response:
        return await self.request("POST", "/v1/push", body)

    async def register(self) -> str:
        """A new device's token."""
        return str((await self.json("POST", "/v1/devices", REGISTER, key="app-key"))["token"])

    async def push(self, to: dict[str, Any], data: object = None, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.json(
            "POST", "/v1/push", {"to": to, "data": data, **more}, key="push-key"
        )
        return answer


def pushes_of(node: Node) -> list[Push]:
    pushed: list[Push] = []
    service = node.domain.pushing
    push, push_batch = service.push, service.push_batch

    async def noted(item: Push, owner: Hashable) -> PushResult:
        pushed.append(item)
        return await push(item, owner)

    async def all_noted(items: Sequence[Push], owner: Hashable) -> list[PushResult | RequestError]:
        pushed.extend(items)
        return await push_batch(items, owner)

    service.push, service.push_batch = noted, all_noted  # type: ignore[method-assign]
    return pushed


MakeAPI = Callable[..., Awaitable[API]]


@pytest.fixture
def make_api(
    make_node: Callable[..., Awaitable[Node]],
    redis_url: str,
    keyring: Keyring,
    wait_until: WaitUntil,
) -> MakeAPI:
    """`await make_api(push=PushLimits(…))`; `url`: another Redis than the shared one."""
    from twisted.internet import reactor

    async def make(*, url: str = redis_url, **limits: Any) -> API:
        node = await make_node(url)
        node.domain.limits = msgspec.structs.replace(node.domain.limits, **limits)
        site = make_site(
            reactor,
            make_apps(node.domain, {"api", "sub"}, lambda: Configuration("n1", {})),
            Guards(node.keyring, auditing=Auditing(node.domain.observer.audit)),
            registry=CollectorRegistry(),
            problems=list,
        )
        return API(node, site, wait_until)

    return make


@pytest_twisted.async_fixture
async def api(make_api: MakeAPI) -> API:
    return await make_api()


@pytest.fixture
def silent_node(boots: set[str]) -> str:
    """The name of a connector that is registered and answers nothing."""
    boots.add("n2")
    return "n2"


class Connected(NamedTuple):
    """A device in a session."""

    client: Client
    token: str
    session: str


Connect = Callable[..., Awaitable[Connected]]


@pytest.fixture
def connected(api: API, dial: Dial) -> Connect:
    """`await connected(source="127.0.0.2")`: a new device of the node, which calls from there."""

    async def make(*, source: str = "127.0.0.1") -> Connected:
        if not api.node.ports:
            api.node.listen()
        client = await dial(api.node, source=source)
        pair = await client.register()
        accepted = await client.connect(token=pair["token"], secret=pair["secret"])
        return Connected(client, pair["token"], accepted["session"])

    return make

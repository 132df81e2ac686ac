"""The edge of HTTP, driven in memory or on a port: framing, keys, limits, errors, documents.

What is behind it answers as a test says, because a test of the edge needs answers that are late or
go wrong. The routes are tested with the real domain, see `tests/http/routes/conftest.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import msgspec
import pytest
import pytest_twisted
from msgspec.structs import asdict
from prometheus_client import CollectorRegistry
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from push.access.api_keys import ApiKey, Keyring
from push.access.ban_table import ActiveBan
from push.access.rate_limits import RefusalCounts
from push.access.request_rates import FailedKeys, RequestRates
from push.cluster.registry.entry import RegistryEntry
from push.devices.registration import NewCredentials
from push.devices.session_queries import Filter
from push.devices.topics import TopicWrite
from push.http.checks import PushLimits
from push.http.edge.auditing import Auditing
from push.http.edge.connection_limits import MAX_CONNECTIONS, ConnectionLimits
from push.http.framework.access import Guards
from push.http.framework.route import App
from push.http.framework.site import LimitedSite
from push.http.routes.apps import make_api, make_sub
from push.http.server import make_site
from push.observe.audit import AuditTrail
from push.pushing.content import PushContent
from push.pushing.service import Push
from push.pushing.targets import Target
from push.streams.ledger import DeliveryCounts, DeviceLine
from push.wire.addresses import Networks
from push.wire.api.common import ABSENT
from push.wire.api.connections import ConnectionPage, KickResult
from push.wire.api.devices import Device, User
from push.wire.api.operate.webhooks import (
    ReplayBody,
    Webhook,
    WebhookAttempt,
    WebhookBody,
    WebhookChange,
    WebhookChanged,
    WebhookMade,
)
from push.wire.api.push import PushResult
from push.wire.api.topics import Topic, TopicPage
from push.wire.errors import RequestError
from push.wire.idents import is_token
from push.wire.websocket.origins import Origins

TOKEN = "03DMV9EK31WTE="
FUNNEL = DeliveryCounts(
    id="03DMV9EK31X00A",
    ts=1_700_000_000_000,
    expires=1_700_000_060_000,
    to=msgspec.Raw(b'{"token":"t"}'),
    offset=1_700_000_000_000_000,
    addressed=3,
    stored=3,
    written=2,
    acknowledged=1,
    expired=0,
    cancelled=0,
    dropped={"backlog": 1},
)
KEYS = {
    "admin-key": ("push", "read", "admin", "register"),
    "push-key": ("push",),
    "read-key": ("read",),
    "app-key": ("register",),
}


@dataclass
class Behind:
    """What the tests of the edge put behind it: answers that are given, held up, or an error.

    `error`, if set, is raised by every call; `waiting` holds it up. What the routes do with the
    real domain is tested in `tests/http/routes`.
    """

    pushed: list[tuple[Target, PushContent]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    messages: dict[str, DeliveryCounts] = field(default_factory=dict)
    funnel: DeliveryCounts = FUNNEL
    devices: dict[str, str | None] = field(default_factory=lambda: {TOKEN: None})
    registered: list[dict[str, Any]] = field(default_factory=list)
    urls: list[str] = field(default_factory=lambda: ["tls://one:6790", "tcp://one:6789"])
    entries: list[RegistryEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None
    waiting: Deferred[None] | None = None

    calls: int = 0

    async def _check(self) -> None:
        self.calls += 1
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error

    async def push(self, push: Push, owner: str = "") -> PushResult:
        await self._check()
        target = push.target
        self.pushed.append((target, push.content))
        self.keys.append(push.idempotency_key)
        if target.kind == "token" and target.names[0] not in self.devices:
            raise RequestError("unknown_token", "no device has this token", field="to.token")
        streams = max(len(target.names), 1)
        return PushResult(f"id{len(self.pushed)}", streams, 0, ABSENT, ABSENT)

    async def push_batch(
        self, items: Sequence[Push], owner: str = ""
    ) -> list[PushResult | RequestError]:
        results: list[PushResult | RequestError] = []
        for item in items:
            try:
                results.append(await self.push(item))
            except RequestError as refusal:
                results.append(refusal)
        return results

    async def message(self, id: str) -> DeliveryCounts:
        await self._check()
        if id not in self.messages:
            raise RequestError("unknown_message", "no message has this id")
        return self.messages[id]

    async def message_devices(self, id: str, turns_of: Hashable = "") -> list[DeviceLine]:
        await self.message(id)
        return []

    async def cancel(self, id: str) -> int:
        await self.message(id)
        return 1

    async def drain(self, node: str, rate_per_second: float) -> None:
        await self._check()

    async def find(
        self, filter: Filter, cursor: str = "", limit: int = 50, turns_of: Hashable = None
    ) -> ConnectionPage:
        await self._check()
        return ConnectionPage([], None, [])

    async def kick(self, filter: Filter) -> KickResult:
        await self._check()
        return KickResult(1, [])

    async def check(self, token: str) -> None:
        await self._check()
        self._find(token)

    async def get_user(self, user: str) -> User:
        await self._check()
        return User(user, False, [], [])

    async def erase(self, user: str) -> list[str]:
        await self._check()
        return []

    async def get(self, token: str) -> Device:
        await self._check()
        self._find(token)
        return Device(
            token, "linux", "app", None, self.devices[token], 1, None, [], None, None, 0, False
        )

    async def forget(self, token: str) -> list[str]:
        await self._check()
        self._find(token)
        return []

    async def bind(self, user: str, token: str) -> list[str]:
        return await self.forget(token)

    async def unbind(self, user: str, token: str) -> list[str]:
        return await self.forget(token)

    async def subscribe(self, topic: str, token: str) -> TopicWrite:
        await self.forget(token)
        return TopicWrite(changed=True, silent=[])

    async def unsubscribe(self, topic: str, token: str) -> TopicWrite:
        return await self.subscribe(topic, token)

    async def get_topic(self, topic: str) -> Topic:
        await self._check()
        return Topic(topic, 1)

    async def find_topics(self, cursor: str = "", limit: int = 50) -> TopicPage:
        await self._check()
        return TopicPage([], None)

    async def add(self, ban: ActiveBan) -> list[str]:
        await self._check()
        return []

    @property
    def keyring(self) -> Keyring:
        return keyring_of_tests()

    async def wait_until_current(self) -> None:
        await self._check()

    async def uses(self) -> dict[str, int]:
        return {}

    async def make(
        self, name: str, sha256: str, scopes: Sequence[str], expires: int | None
    ) -> tuple[ApiKey, list[str]]:
        await self._check()
        return ApiKey(name, sha256, frozenset(scopes), "made", 1, expires), []

    async def revoke(self, name: str) -> list[str]:
        await self._check()
        return []

    async def lift(self, kind: str, name: str) -> list[str]:
        await self._check()
        return []

    async def page(self, after: int, at_most: int) -> tuple[list[ActiveBan], int | None]:
        await self._check()
        return [], None

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def _find(self, token: str) -> None:
        if not is_token(token):
            raise RequestError("invalid", "not a token", field="token")
        if token not in self.devices:
            raise RequestError("unknown_token", "no device has this token", field="token")

    async def register(self, **fields: Any) -> NewCredentials:
        await self._check()
        self.registered.append(fields)
        return NewCredentials(TOKEN, "secret")

    def servers(self, carrier: str | None, client_ip: str) -> list[str]:
        return [url for url in self.urls if carrier is None or url.startswith(f"{carrier}:")]

    def nodes(self) -> list[RegistryEntry]:
        return self.entries


ENDPOINT = Webhook(
    id="wh-1",
    url="https://example.com/push",
    types=["chat.message"],
    enabled=True,
    description="",
    source="made",
    created=1_700_000_000_000,
    state="ok",
)


class WebhooksBehind:
    """What is behind the routes of webhooks."""

    def __init__(self, behind: Behind) -> None:
        self._check = behind._check

    async def page(self, after: str, limit: int) -> tuple[list[Webhook], str | None]:
        await self._check()
        return [ENDPOINT], None

    async def create(self, body: WebhookBody) -> WebhookMade:
        await self._check()
        return WebhookMade(**asdict(ENDPOINT), secret="whsec_")

    async def get(self, id: str) -> Webhook:
        await self._check()
        return ENDPOINT

    async def change(self, id: str, body: WebhookChange) -> WebhookChanged:
        await self._check()
        return WebhookChanged(**asdict(ENDPOINT))

    async def delete(self, id: str) -> None:
        await self._check()

    async def attempts(
        self, id: str, before: object, limit: int
    ) -> tuple[list[WebhookAttempt], None]:
        await self._check()
        return [WebhookAttempt(id="1", event="e", type="chat.message", ts=1, status=200)], None

    async def replay(self, id: str, body: ReplayBody) -> int:
        await self._check()
        return 1

    async def test(self, id: str) -> str:
        await self._check()
        return "e"


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    def assert_problem(self, code: str, field: str | None = None) -> dict[str, Any]:
        """A complete RFC 9457 problem with this code and field; returns it."""
        problem: dict[str, Any] = self.json()
        assert self.headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem.get("field")) == (code, field), problem
        assert problem["type"] == f"/errors/{code}"
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return problem


def parse_responses(raw: bytes) -> list[Response]:
    """All responses on a connection. Each must have a Content-Length or be a 204."""
    responses = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:]]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header came twice: {pairs}"
        status = int(lines[0].split(" ")[1])
        assert "transfer-encoding" not in headers
        length = 0 if status in (204, 304) else int(headers["content-length"])
        responses.append(Response(status, headers, raw[:length]))
        raw = raw[length:]
    return responses


class TransportInMemory(StringTransportWithDisconnection):
    """One whose server side can be closed for writing."""

    write_closed = False

    def loseWriteConnection(self) -> None:
        self.write_closed = True

    def write(self, data: bytes) -> None:
        assert not self.write_closed
        super().write(data)


def calls_of(clock: Clock) -> list[Any]:
    calls: list[Any] = clock.getDelayedCalls()
    return calls


class Connection:
    """A client on a transport in memory."""

    def __init__(self, site: LimitedSite, ip: str) -> None:
        self._clock = site.reactor
        self.protocol: Any = site.buildProtocol(IPv4Address("TCP", ip, 4321))
        self.transport = TransportInMemory(peerAddress=IPv4Address("TCP", ip, 4321))
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)
        self.pass_turns()

    def pass_turns(self) -> None:
        """What is put off to the next turn of the reactor is done, on a clock of a test."""
        if isinstance(self._clock, Clock):
            while any(call.getTime() <= self._clock.seconds() for call in calls_of(self._clock)):
                self._clock.advance(0)

    def responses(self) -> list[Response]:
        return parse_responses(self.transport.value())

    @property
    def open(self) -> bool:
        return bool(self.transport.connected)

    def close(self) -> None:
        """The client goes away."""
        if self.transport.connected:
            self.transport.connected = False
            self.protocol.connectionLost(Failure(ConnectionLost()))


class Web:
    """A site and its clients. `request` sends one request on a connection of its own."""

    def __init__(self, site: LimitedSite, clock: Clock, behind: Behind) -> None:
        self.site = site
        self.clock = clock
        self.behind = behind

    def connect(self, ip: str = "192.0.2.7") -> Connection:
        return Connection(self.site, ip)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "admin-key",
        headers: dict[str, Any] | None = None,
        ip: str = "192.0.2.7",
    ) -> Response:
        """`body` bytes as they are, anything else as JSON."""
        connection = self.connect(ip)
        connection.send(make_request(method, path, body, key=key, headers=headers))
        (response,) = parse_responses(
            # Nothing follows the head of an answer to HEAD.
            connection.transport.value()
            if method != "HEAD"
            else connection.transport.value().replace(
                b"Content-Length: ", b"Content-Length: 0\r\nX-Length: "
            )
        )
        connection.close()
        return response

    def push(self, body: Any, **options: Any) -> Response:
        return self.request("POST", "/v1/push", body, **options)


def make_request(
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = "admin-key",
    headers: dict[str, Any] | None = None,
) -> bytes:
    """A header's value may be a list: then it comes once for each."""
    all_headers: dict[str, Any] = {"Host": "localhost"}
    if key is not None:
        all_headers["Authorization"] = f"Bearer {key}"
    raw = b""
    if body is not None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        all_headers["Content-Type"] = "application/json"
        all_headers["Content-Length"] = str(len(raw))
    all_headers.update(headers or {})
    lines = [f"{method} {path} HTTP/1.1"]
    for name, value in all_headers.items():
        values = value if isinstance(value, list) else [value] if value else []
        lines += [f"{name}: {one}" for one in values]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + raw


def make_api_of(behind: Any, clock: Any, limits: PushLimits | None = None) -> App:
    needed = signature(make_api).parameters.keys() - {"clock", "limits"}
    return make_api(
        **{**dict.fromkeys(needed, behind), "webhooks": WebhooksBehind(behind)},
        clock=clock,
        limits=limits or PushLimits(),
    )


@pytest.fixture
def behind() -> Behind:
    return Behind()


def keyring_of_tests() -> Keyring:
    return Keyring(
        ApiKey(key, hashlib.sha256(key.encode()).hexdigest(), frozenset(scopes))
        for key, scopes in KEYS.items()
    )


@pytest.fixture
def keyring() -> Keyring:
    return keyring_of_tests()


MakeWeb = Callable[..., Web]


@pytest.fixture
def make_web(behind: Behind, keyring: Keyring) -> Iterator[MakeWeb]:
    """Makes a site of `apps` ("api", "sub", both by default); no delayed call may be left."""
    clocks = []

    def make(
        *apps: str,
        limits: PushLimits | None = None,
        origins: tuple[str, ...] = (),
        trusted_proxies: tuple[str, ...] = (),
        open_registration: bool = False,
        failed_keys_per_minute: int = 0,
        rates: RequestRates | None = None,
        refusals: RefusalCounts | None = None,
        audit: AuditTrail | None = None,
        max_connections: int = MAX_CONNECTIONS,
        is_short_of_memory: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> Web:
        clock = Clock()
        refusals = RefusalCounts() if refusals is None else refusals
        known: dict[str, App] = {
            "api": make_api_of(behind, clock, limits),
            "sub": make_sub(behind, behind, open_registration=open_registration),
        }
        clocks.append(clock)
        site = make_site(
            clock,
            [known[name] for name in apps or ("api", "sub")],
            Guards(
                keyring,
                Origins(origins),
                Networks(trusted_proxies),
                rates,
                FailedKeys(clock, failed_keys_per_minute, refusals),
                None if audit is None else Auditing(audit),
                is_short_of_memory,
            ),
            registry=CollectorRegistry(),
            problems=lambda: behind.problems,
            notes=lambda: behind.notes,
            connection_limits=ConnectionLimits(max_connections, refusals),
            **options,
        )
        return Web(site, clock, behind)

    yield make
    for clock in clocks:
        clock.advance(0)  # the end of a turn of the reactor
        assert clock.getDelayedCalls() == []


@pytest.fixture
def make_only_common(behind: Behind, keyring: Keyring) -> Callable[[], Web]:
    """A site without apps: what push-connector serves."""

    def make() -> Web:
        clock = Clock()
        site = make_site(
            clock,
            [],
            Guards(keyring),
            registry=CollectorRegistry(),
            problems=lambda: behind.problems,
            notes=lambda: behind.notes,
        )
        return Web(site, clock, behind)

    return make


@pytest.fixture
def web(make_web: MakeWeb) -> Web:
    return make_web()


@pytest_twisted.async_yield_fixture
async def port(behind: Behind, keyring: Keyring, wait_until: Any) -> AsyncIterator[int]:
    """The API on a real port of the loopback interface."""
    from twisted.internet import reactor

    site = make_site(
        reactor,
        [make_api_of(behind, reactor)],
        Guards(keyring),
        registry=CollectorRegistry(),
        problems=list,
    )
    listening: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
    yield listening.getHost().port
    await listening.stopListening()
    # Each connection has a time-out: the server has noticed the end of all.
    await wait_until(lambda: not reactor.getDelayedCalls())  # type: ignore[attr-defined]

"""What tests of the ledger share: what the ledger of a node says, and whom to push to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from push.streams.sweeper import Sweeper
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]

ENDS = ("acknowledged", "expired", "cancelled")
# Never given up, unless a test is about that: on a slow machine any number of copies come.
SOON = {"redeliver_after_seconds": 0.1, "max_deliveries": 10_000}


class Book:
    """What the ledger of a node says, and the time by the server's clock."""

    def __init__(self, node: Any, wait_until: WaitUntil) -> None:
        self.node = node
        self._wait_until = wait_until

    async def funnel(self, id: str) -> dict[str, int]:
        """Counts that are not 0; what was dropped by its reason."""
        found = await self.node.pushing.message(id)
        dropped = sum(found.dropped.values())
        ended = sum(getattr(found, name) for name in ENDS) + dropped
        assert found.acknowledged <= found.written <= found.addressed
        assert ended <= found.addressed
        counts = {name: getattr(found, name) for name in ("addressed", "written", *ENDS)}
        return {name: n for name, n in {**counts, **found.dropped}.items() if n}

    async def settles(self, id: str, **expected: int) -> None:
        """Wait until the funnel of a message to one device is this, and stays at that."""
        wanted = {"addressed": 1, **expected}
        found: dict[str, int] = {}

        async def as_wanted() -> bool:
            nonlocal found
            await self.node.gateway.streams.cursors.flush()  # sooner than by itself
            found = await self.funnel(id)
            return found == wanted

        try:
            await self._wait_until(as_wanted)
        except AssertionError:
            raise AssertionError(f"{found} instead of {wanted}") from None

    async def pass_time(self, seconds: float) -> None:
        store = self.node.store
        clock = store.clock.now_us() + int(seconds * 1_000_000)
        await store.command("SET", store.key("clock"), clock)
        store.clock.observe(clock)

    async def sweep(self) -> None:
        await Sweeper(self.node.reactor, self.node.store, 86_400).sweep()

    async def keys(self, *kinds: str) -> list[str]:
        found = await self.node.store.command("KEYS", "*")
        names = [key.decode().removeprefix("push:") for key in found]
        return sorted(name for name in names if name.startswith(kinds))


@pytest.fixture
def book(node: Any, wait_until: WaitUntil) -> Book:
    return Book(node, wait_until)


@pytest.fixture
def make_book(wait_until: WaitUntil) -> Callable[[Any], Book]:
    return lambda node: Book(node, wait_until)


@pytest.fixture
def restless(make_node: Make, redis_url: str) -> Make:
    """`await restless(max_deliveries=2)`: a node that listens and soon sends again."""

    async def make(**limits: Any) -> Any:
        node = await make_node(redis_url, limits={**SOON, **limits})
        node.listen()
        return node

    return make


def token_of(client: Any) -> str:
    return str(client._credentials["token"])


@pytest.fixture
def target(node: Any, wait_until: WaitUntil) -> Make:
    """`await target(kind, client)`: whom to push to so that `client` is the only one addressed."""

    async def make(kind: str, client: Any, on: Any = None) -> tuple[str, ...]:
        if kind == "user":
            await (on or node).devices.bind("anna", token_of(client))
            await wait_until(lambda: "follow" in client.kinds)
        if kind == "topic":
            await (on or node).topics.subscribe("news", token_of(client))
            await wait_until(lambda: "follow" in client.kinds)
        names = {"user": "anna", "topic": "news", "token": token_of(client)}
        return (kind,) if kind == "all" else (kind, names[kind])

    return make


KINDS = pytest.mark.parametrize("kind", ["all", "user", "topic", "token"])

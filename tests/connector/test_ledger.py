"""The delivery ledger from end to end: what a backend is told of what devices did."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
import pytest_twisted

from push.streams.cursors import CursorWriter
from push.streams.sweeper import Sweeper

WaitUntil = Callable[..., Awaitable[Any]]
Make = Callable[..., Awaitable[Any]]

ENDS = ("acknowledged", "expired", "cancelled")
JWT_SECRET = b"a secret of at least thirty-two bytes"  # as in conftest.py
SOON = {"redeliver_after_seconds": 0.1}


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
            await self.node.gateway._cursors.flush()  # sooner than by itself
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
        return {"all": ("all",), "user": ("user", "anna"), "token": ("token", token_of(client))}[
            kind
        ]

    return make


KINDS = pytest.mark.parametrize("kind", ["all", "user", "token"])


# --- Acknowledged -----


@KINDS
@pytest_twisted.ensureDeferred
async def test_a_message_that_is_acknowledged_leaves_nothing_in_a_devices_log(
    book: Book, device: Make, target: Make, node: Any, kind: str
) -> None:
    to = await target(kind, await device(acks=True))
    sent = await node.push(*to, data=1, collapse="k")

    await book.settles(sent.id, written=1, acknowledged=1)
    assert await book.keys("log:dev:", "collapse:dev:", "lost:") == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_a_message_is_counted_once_however_often_it_is_sent_and_acknowledged(
    restless: Make,
    make_book: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    node = await restless()
    book = make_book(node)
    first = await device(on=node)
    to = await target(kind, first, node)
    sent = await node.push(*to, data=1)
    await wait_until(lambda: len(first.numbers) >= 3)
    second = await dial(node)
    await second.connect(**first._credentials)
    await wait_until(lambda: len(second.numbers) >= 2 and first.ended_with == "taken_over")
    second.acks = True
    second.ack_all()
    second.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)
    other = await node.push(*to, data=2)
    await book.settles(other.id, written=1, acknowledged=1)
    assert (await book.funnel(sent.id))["acknowledged"] == 1


@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_before_a_take_over_and_again_after_it_counts_once(
    book: Book,
    node: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cursor of the first session never is stored: the second gets the messages again."""
    first = await device(acks=True)
    with monkeypatch.context() as patch:
        patch.setattr(CursorWriter, "moved", lambda *_: None)
        sent = [await node.push("all", data=n) for n in range(3)]
        await wait_until(lambda: len(first.numbers) == 3)
        second = await dial(node, acks=True)
        await second.connect(**first._credentials)
        await wait_until(lambda: first.closed)
    await wait_until(lambda: len(second.numbers) == 3)
    last = await node.push("all", data=3)

    for published in [*sent, last]:
        await book.settles(published.id, written=1, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_a_cursor_of_the_client_that_is_ahead_acknowledges_what_is_behind_it(
    book: Book, node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    token = token_of(first)
    sent = [await node.push(*to, data=0) for to in (("all",), ("token", token)) for _ in range(2)]
    await wait_until(lambda: len(first.numbers) == 4)
    await book.settles(sent[0].id, written=1)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    unseen = await node.push("token", token, data=0)
    seen, _ = [body["offset"] for body in first.bodies if body["stream"] == "all"]
    ahead = {"all": seen, f"dev:{token}": "9" * 16}
    second = await dial(node)
    await second.connect(**first._credentials, cursors=ahead)

    for published in (sent[0], sent[2], sent[3], unseen):
        await book.settles(published.id, written=1, acknowledged=1)
    await book.settles(sent[1].id, written=1)
    assert await book.keys("log:dev:") == []


@pytest_twisted.ensureDeferred
async def test_a_cursor_of_the_client_that_is_behind_counts_nothing_again(
    book: Book, node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device(acks=True)
    sent = await node.push("all", data=0)
    await book.settles(sent.id, written=1, acknowledged=1)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    second = await dial(node, acks=True)
    await second.connect(**first._credentials, cursors={"all": "0"})
    await wait_until(lambda: second.numbers == [0])
    later = await node.push("all", data=1)

    await book.settles(later.id, written=1, acknowledged=1)
    await book.settles(sent.id, written=1, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_a_user_without_a_device_is_not_in_the_ledger(
    book: Book, node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    claims = {"sub": "anna", "aud": "push", "exp": int(time.time()) + 600}
    guest = await dial(node, acks=True)
    await guest.connect(jwt=jwt.encode(claims, JWT_SECRET, "HS256"))
    await device(acks=True)
    sent = [await node.push("all", data=n) for n in range(3)]
    fleeting = await node.push("all", data=3, qos=0)
    await wait_until(lambda: len(guest.numbers) == 4)

    for published in sent:
        await book.settles(published.id, written=1, acknowledged=1)
    await book.settles(fleeting.id, written=1)
    (connection,) = [c for c in node.gateway.connections if c.token is None]
    assert [follow.ended for follow in connection.follows.values()] == [None, None]


# --- Late -----


async def take_out(how: str, book: Book, node: Any, id: str, to: tuple[str, ...]) -> None:
    if how == "cancelled":
        assert await node.pushing.cancel(id) == 1
    elif how == "collapsed":
        await node.push(*to, data=2, collapse="k")
    else:
        await book.pass_time(61)
        await book.sweep()


HOW = pytest.mark.parametrize("how", ["cancelled", "collapsed", "expired"])


@KINDS
@HOW
@pytest_twisted.ensureDeferred
async def test_what_left_the_log_and_is_acknowledged_after_all_counts_as_acknowledged(
    book: Book,
    node: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
    how: str,
) -> None:
    client = await device()
    to = await target(kind, client)
    sent = await node.push(*to, data=1, collapse="k", ttl_seconds=60)
    await wait_until(lambda: client.numbers == [1])
    await book.settles(sent.id, written=1)
    await take_out(how, book, node, sent.id, to)
    await book.settles(sent.id, written=1, **{how: 1})
    client.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)


@KINDS
@HOW
@pytest_twisted.ensureDeferred
async def test_what_was_gone_when_it_was_to_be_sent_again_still_can_be_acknowledged(
    restless: Make,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
    how: str,
) -> None:
    node = await restless()
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    sent = await node.push(*to, data=1, collapse="k", ttl_seconds=60)
    await wait_until(lambda: 1 in client.numbers)
    await book.settles(sent.id, written=1)
    (connection,) = node.gateway.connections
    (delivery,) = connection.session.window.outstanding.values()
    await take_out(how, book, node, sent.id, to)
    await wait_until(lambda: delivery.done)
    await node.gateway._cursors.flush()
    await book.settles(sent.id, written=1, **{how: 1})
    client.ack_all()
    client.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_expired_between_two_copies_counts_before_the_sweeper_comes(
    restless: Make,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    """The cursor passes it, and takes it from a device's own log."""
    node = await restless()
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    sent = await node.push(*to, data=1, ttl_seconds=60)
    await wait_until(lambda: client.numbers)
    await book.settles(sent.id, written=1)
    (connection,) = node.gateway.connections
    await book.pass_time(61)
    await wait_until(lambda: connection.session.window.used == 0)
    await node.gateway._cursors.flush()
    await book.sweep()

    assert await book.funnel(sent.id) == {"addressed": 1, "written": 1, "expired": 1}
    assert await book.keys("log:", "expiry") == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_expired_in_a_gap_of_the_channel_counts_before_the_sweeper_comes(
    book: Book,
    make_node: Make,
    redis_url: str,
    node: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    silent = await make_node(redis_url)
    silent.store._channel_prefix = b"nobody-listens:"
    client = await device(acks=True)
    to = await target(kind, client)
    before = await node.push(*to, data=1)
    await book.settles(before.id, written=1, acknowledged=1)
    unheard = await silent.push(*to, data=2, ttl_seconds=60)
    await book.pass_time(61)
    after = await node.push(*to, data=3)
    await wait_until(lambda: client.numbers == [1, 3])

    await book.settles(after.id, written=1, acknowledged=1)
    await book.sweep()
    assert await book.funnel(unheard.id) == {"addressed": 1, "expired": 1}


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_expired_before_it_was_read_counts_as_expired_and_not_as_written(
    book: Book,
    node: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    first = await device()
    to = await target(kind, first)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    old = await node.push(*to, data=1, ttl_seconds=60)
    new = await node.push(*to, data=2)
    await book.pass_time(61)
    second = await dial(node, acks=True)
    await second.connect(**first._credentials)

    await book.settles(new.id, written=1, acknowledged=1)
    await book.settles(old.id, expired=1)
    await book.sweep()
    await book.settles(old.id, expired=1)
    assert second.numbers == [2]


# --- Dropped -----


@KINDS
@pytest.mark.parametrize("behind", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_is_too_large_for_a_device_is_dropped_for_it(
    book: Book,
    node: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
    behind: bool,
) -> None:
    first = await device(acks=True, max_frame=4096)
    to = await target(kind, first)
    if behind:
        first.transport.loseConnection()
        await wait_until(lambda: not node.gateway.sessions)
    large = await node.push(*to, data="x" * 5000)
    small = await node.push(*to, data=1)
    if behind:
        second = await dial(node, acks=True)
        await second.connect(**first._credentials, max_frame=4096)
    await book.settles(small.id, written=1, acknowledged=1)
    fleeting = await node.push(*to, data="x" * 5000, qos=0)

    await book.settles(large.id, too_large=1)
    await book.settles(fleeting.id, too_large=1)
    assert await book.keys("log:dev:") == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_is_never_acknowledged_is_dropped_after_max_deliveries(
    restless: Make,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    node = await restless(max_deliveries=2)
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    sent = await node.push(*to, data=1)

    await book.settles(sent.id, written=1, unacknowledged=1)
    assert client.numbers == [1, 1]
    assert await book.keys("log:dev:") == []


@pytest_twisted.ensureDeferred
async def test_what_waited_when_a_device_was_unbound_is_dropped_for_it(
    book: Book, node: Any, device: Make, wait_until: WaitUntil, target: Make
) -> None:
    client = await device()
    to = await target("user", client)
    sent = await node.push(*to, data=1)
    await wait_until(lambda: client.numbers)
    await book.settles(sent.id, written=1)
    await node.devices.unbind("anna", token_of(client))

    await book.settles(sent.id, written=1, unbound=1)
    await wait_until(lambda: "unfollow" in client.kinds)
    assert await book.keys("user-devices:") == []
    after = await node.push(*to, data=2)
    assert await book.funnel(after.id) == {}


@pytest_twisted.ensureDeferred
async def test_all_that_waited_for_a_forgotten_device_is_dropped_and_nothing_is_left_of_it(
    book: Book, node: Any, device: Make, wait_until: WaitUntil, target: Make
) -> None:
    client = await device()
    await target("user", client)
    places = [("all",), ("user", "anna"), ("token", token_of(client))]
    sent = [await node.push(*to, data=1, collapse="k") for to in places]
    await wait_until(lambda: len(client.numbers) == 3)
    for published in sent:
        await book.settles(published.id, written=1)
    await node.devices.forget(token_of(client))
    await wait_until(lambda: client.ended_with == "kicked")
    client.ack_all()

    for published in sent:
        await book.settles(published.id, written=1, forgotten=1)
    await book.pass_time(2 * 86_400)
    await book.sweep()
    assert [k for k in await book.keys("") if not k.startswith("message:")] == ["clock"]


# --- In no log -----


@KINDS
@pytest_twisted.ensureDeferred
async def test_ttl_0_is_acknowledged_for_the_ledger_only(
    book: Book, node: Any, device: Make, target: Make, kind: str
) -> None:
    client = await device(acks=True)
    to = await target(kind, client)
    sent = await node.push(*to, data=1, ttl_seconds=0)

    await book.settles(sent.id, written=1, acknowledged=1)
    assert "offset" not in client.bodies[-1]
    assert await book.keys("log:") == []
    assert node.gateway.connections.pop().session.window.online is None


@KINDS
@pytest_twisted.ensureDeferred
async def test_ttl_0_came_too_late_for_a_device_that_is_not_there(
    book: Book, node: Any, device: Make, wait_until: WaitUntil, target: Make, kind: str
) -> None:
    client = await device()
    to = await target(kind, client)
    client.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    sent = await node.push(*to, data=1, ttl_seconds=0)
    assert await book.funnel(sent.id) == {"addressed": 1}
    await book.pass_time(6)

    assert await book.funnel(sent.id) == {"addressed": 1, "expired": 1}
    assert await node.pushing.cancel(sent.id) == 0


@KINDS
@pytest_twisted.ensureDeferred
async def test_qos_0_is_written_and_never_acknowledged(
    book: Book, node: Any, device: Make, target: Make, kind: str
) -> None:
    to = await target(kind, await device(acks=True))
    sent = await node.push(*to, data=1, qos=0)

    await book.settles(sent.id, written=1)


@KINDS
@pytest_twisted.ensureDeferred
async def test_qos_0_for_a_connection_that_takes_no_more_is_dropped_as_congested(
    make_node: Make,
    redis_url: str,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    node = await make_node(redis_url)
    node.listen(sndbuf=4096)
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    client.transport.pauseProducing()
    sent = []
    while not node.gateway.fanout.lost_qos0:
        sent.append(await node.push(*to, data="x" * 20_000, qos=0))
    client.transport.resumeProducing()

    await book.settles(sent[0].id, written=1)
    await book.settles(sent[-1].id, congested=1)


@pytest_twisted.ensureDeferred
async def test_nothing_is_sent_behind_a_disconnect_nor_counted(
    make_node: Make, redis_url: str, make_book: Any, device: Make, wait_until: WaitUntil
) -> None:
    """The connection is blocked, so that the DISCONNECT waits, and what it gets at QoS 0 would."""
    node = await make_node(redis_url)
    node.listen(sndbuf=4096)
    book = make_book(node)
    client = await device(on=node)
    token = token_of(client)
    (connection,) = node.gateway.connections
    client.transport.pauseProducing()
    while not connection.blocked:
        await node.push("token", token, data="x" * 20_000, qos=0)
    await node.gateway.end_session(node.boot, connection.session_id)
    sent = [await node.push("token", token, data="late", ttl_seconds=0) for _ in range(3)]
    client.transport.resumeProducing()
    await wait_until(lambda: client.closed)

    assert client.ended_with == "taken_over"
    assert "late" not in client.numbers
    await node.gateway._counts.stop()
    for published in sent:
        assert await book.funnel(published.id) == {"addressed": 1}


# --- Truncation -----


@KINDS
@pytest_twisted.ensureDeferred
async def test_a_device_that_was_away_is_told_that_messages_were_dropped(
    make_node: Make,
    redis_url: str,
    make_book: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    limits = {"device_max_messages": 3, "shared_max_messages": 3}
    node = await make_node(redis_url, retention=limits)
    node.listen()
    book = make_book(node)
    first = await device(on=node)
    to = await target(kind, first, node)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    sent = [await node.push(*to, data=n) for n in range(5)]
    second = await dial(node, acks=True)
    accepted = await second.connect(**first._credentials)
    await wait_until(lambda: second.numbers == [2, 3, 4])

    stream = {"all": "all", "user": "user:anna", "token": f"dev:{token_of(first)}"}[kind]
    reason = "backlog" if kind == "token" else "retention"
    assert accepted["truncated"] == [stream]
    for published in sent[:2]:
        await book.settles(published.id, **{reason: 1})
    for published in sent[2:]:
        await book.settles(published.id, written=1, acknowledged=1)
    third = await dial(node)
    assert (await third.connect(**first._credentials))["truncated"] == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_a_session_that_was_behind_is_told_by_a_push_what_was_dropped(
    make_node: Make,
    redis_url: str,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    limits = {"device_max_messages": 3, "shared_max_messages": 3}
    node = await make_node(redis_url, retention=limits)
    node.listen()
    book = make_book(node)
    client = await device(on=node, window=1)
    to = await target(kind, client, node)
    sent = [await node.push(*to, data=n) for n in range(6)]
    await wait_until(lambda: client.numbers == [0])
    await book.settles(sent[0].id, written=1, **{"backlog" if kind == "token" else "retention": 1})
    client.acks = True
    client.ack_all()
    await wait_until(lambda: client.numbers == [0, 3, 4, 5])

    (notice,) = [body for body in client.bodies if body.get("kind") == "truncated"]
    offsets = [body["offset"] for body in client.bodies if "kind" not in body]
    assert offsets[0] == notice["from"] < notice["to"] < offsets[1]
    for published in (sent[0], *sent[3:]):
        await book.settles(published.id, written=1, acknowledged=1)
    for published in sent[1:3]:
        await book.settles(published.id, **{"backlog" if kind == "token" else "retention": 1})

"""A master that dies while pushes go on: nothing answered is lost, and all go on by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from push.devices.session_ending import EndedSession, SessionEnding
from push.redis import replayed_writes
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.session.subscription import UNACKNOWLEDGED
from tests.redis.sentinels import Cluster
from tests.waiting import WaitUntil

Connect = Callable[..., Awaitable[RedisClient]]

PUSHES = 150
# By which all is well again after the sentinels have decided.


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, cluster: Cluster) -> AsyncIterator[RedisClient]:
    """What `desk` is at."""
    yield await connect(cluster.url)


class Pusher:
    """Pushes to everyone, several at a time, until it is stopped."""

    def __init__(self, sender: Any) -> None:
        self.answered: list[str] = []
        self.refused = 0
        self._sender = sender
        self._n = 0
        self._stopping = False

    def start(self, lanes: int) -> list[Deferred[None]]:
        return [Deferred.fromCoroutine(self._push()) for _ in range(lanes)]

    def stop(self) -> None:
        self._stopping = True

    async def _push(self) -> None:
        from twisted.internet import reactor

        while not self._stopping:
            self._n += 1
            try:
                self.answered.append((await self._sender.send("all", n=self._n)).id)
            except StoreUnavailable:
                self.refused += 1
            await deferLater(reactor, 0.002)


@pytest_twisted.ensureDeferred
async def test_a_killed_master_loses_nothing_that_was_answered_and_delivery_goes_on(
    cluster: Cluster, connect: Connect, listen: Any, make_sender: Any, wait_until: WaitUntil
) -> None:
    ear = listen(await connect(cluster.url))
    await ear.follow()
    pushing = await connect(cluster.url)
    pusher = Pusher(make_sender(pushing))
    lanes = pusher.start(4)
    await wait_until(lambda: len(pusher.answered) >= PUSHES)
    old = cluster.master()

    old.kill()
    await wait_until(lambda: cluster.has_switched_from(old))
    new = cluster.master()
    old.start()  # a master for a while, until the sentinels see to it
    stored_by_old = old.ask("XINFO", "STREAM", "push:log:all")
    before = len(pusher.answered)
    await wait_until(lambda: len(pusher.answered) > before)
    late = await connect(cluster.url)
    assert int((await late.command("CONFIG", "GET", "port"))[1]) == new.port
    await wait_until(lambda: len(pusher.answered) >= before + PUSHES)
    pusher.stop()
    for lane in lanes:
        await lane

    in_log = [
        fields[fields.index("i") + 1] for _, fields in new.ask("XRANGE", "push:log:all", "-", "+")
    ]
    assert set(pusher.answered) <= set(in_log)
    assert len(in_log) == len(set(in_log))
    await wait_until(lambda: set(in_log) <= set(ear.ids()))
    assert pusher.refused
    if old.ask("ROLE")[0] == "master":
        assert old.ask("XINFO", "STREAM", "push:log:all") == stored_by_old


STREAMS = ("dev:t", "user:u", "all")


async def lose_master(cluster: Cluster, wait_until: WaitUntil) -> None:
    """It is killed. The next one has nothing that was written since `cut_off`."""
    old = cluster.master()
    old.kill()
    for server in cluster.servers:
        if server is not old:
            server.join_again()
    await wait_until(lambda: cluster.has_switched_from(old))


def outstanding(phone: Any, id: str) -> tuple[int, Any]:
    """A message that the phone has, by id: its number there."""
    (found,) = (item for item in phone.window.outstanding.items() if item[1].id == id)
    return cast(tuple[int, Any], found)


@pytest_twisted.ensureDeferred
async def test_what_only_a_killed_master_knew_of_acknowledgements_is_told_to_the_next(
    cluster: Cluster, store: RedisClient, desk: Any, wait_until: WaitUntil
) -> None:
    """Of messages with lines and with counters, also what was given up and acknowledged late; and
    that a session has ended."""
    phones = [await desk.phone("t", user="u"), await desk.phone("o", user="u")]
    sent = {stream: (await desk.push(stream)).id for stream in STREAMS}
    given_up = (await desk.push("all")).id
    for replica in cluster.replicas():
        replica.cut_off()

    for stream in STREAMS:
        await desk.hand_out(stream, *phones[: 1 if stream == "dev:t" else 2])
        desk.acknowledge(stream, phones[0], sent[stream])
        await desk.writer.flush()
    number, delivery = outstanding(phones[0], given_up)
    phones[0].window.finish(delivery, 1.0, UNACKNOWLEDGED)
    desk.writer.moved(phones[0], phones[0].subscriptions["all"])
    desk.writer.late(phones[0], phones[0].window.acknowledge(number, 2.0))

    async def counts() -> list[tuple[int, int]]:
        funnels = [await desk.funnel(id) for id in [*sent.values(), given_up]]
        return [(funnel.written, funnel.acknowledged) for funnel in funnels]

    async def is_right() -> bool:
        try:
            return await counts() == [(1, 1), (2, 1), (2, 1), (2, 1)]
        except StoreUnavailable:
            return False

    assert await is_right()
    await SessionEnding(Shards([store]), 60).close([EndedSession("o", "s")])
    await lose_master(cluster, wait_until)
    await wait_until(is_right)
    assert await store.command("HGET", store.key("device:o"), "s") is None
    await wait_until(lambda: not len(store.replayed))


@pytest_twisted.ensureDeferred
async def test_what_replicas_have_counts_once_though_it_is_told_again(
    store: RedisClient, desk: Any, wait_until: WaitUntil
) -> None:
    phones = [await desk.phone("t", user="u"), await desk.phone("o", user="u")]
    sent = {stream: (await desk.push(stream)).id for stream in STREAMS}
    for stream in STREAMS:
        await desk.hand_out(stream, *phones[: 1 if stream == "dev:t" else 2])
        desk.acknowledge(stream, phones[0], sent[stream])
    number, late = outstanding(phones[1], sent["all"])
    phones[1].window.finish(late, 1.0, UNACKNOWLEDGED)
    desk.writer.moved(phones[1], late.subscription)
    await desk.writer.flush()
    desk.writer.late(phones[1], phones[1].window.acknowledge(number, 2.0))

    async def counts() -> list[tuple[int, int, int]]:
        funnels = [await desk.funnel(id) for id in sent.values()]
        return [(each.written, each.acknowledged, sum(each.dropped.values())) for each in funnels]

    before = await counts()
    assert len(store.replayed)
    restored = store.measures.restored
    store.rebuild("the test wants it")
    await wait_until(lambda: store.measures.restored > restored and not len(store.replayed))
    assert await counts() == before


@pytest_twisted.ensureDeferred
async def test_what_is_kept_to_be_told_again_is_bounded(
    cluster: Cluster, store: RedisClient, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is no replica; the latest is kept."""
    monkeypatch.setattr(replayed_writes, "MAX_KEPT_BYTES", 2000)
    phone = await desk.phone("t")
    sent = [(await desk.push("all")).id for _ in range(40)]
    for replica in cluster.replicas():
        replica.cut_off()
    await desk.hand_out("all", phone)
    for id in sent:
        desk.acknowledge("all", phone, id)
        await desk.writer.flush()
    assert 0 < len(store.replayed) < len(sent)

"""A master that dies while pushes go on: nothing answered is lost, and all go on by themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
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

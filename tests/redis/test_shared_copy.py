"""Copies of shared state, on a real Redis: when they may be judged by, and what waits for what."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.shared_copy import Lease, SharedCopy
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]
KEY, CHANNEL = "state", "state-changed"


class Copied:
    """A copy of one string; `gate`, while it is set, is waited for before a read is answered."""

    def __init__(self, server: RedisClient) -> None:
        from twisted.internet import reactor

        self.server = server
        self.lease = Lease(reactor, server, "boot")
        self.copy: SharedCopy[str] = SharedCopy(
            reactor, server, self.lease, CHANNEL, self.read, self.apply
        )
        self.content = ""
        self.reads = 0
        self.applied: list[str] = []
        self.gate: Deferred[None] | None = None
        self.broken = False

    async def read(self) -> str:
        self.reads += 1
        if self.broken:
            raise StoreUnavailable("broken by the test")
        content = (await self.server.command("GET", self.server.key(KEY)) or b"").decode()
        gate = self.gate
        if gate is not None:
            await gate
        return str(content)

    async def apply(self, content: str) -> None:
        self.content = content
        self.applied.append(content)

    async def change(self, content: str, *, notify: bool = True) -> None:
        await self.server.command("SET", self.server.key(KEY), content)
        if notify:
            await self.server.command("PUBLISH", self.server.channel(CHANNEL), b"")

    def start(self) -> None:
        self.lease.start()
        self.copy.start()

    def stop(self) -> None:
        self.copy.stop()
        self.lease.stop()


@pytest_twisted.async_yield_fixture
async def copied(connect: Make, redis_url: str, wait_until: WaitUntil) -> AsyncIterator[Copied]:
    found = Copied(await connect(redis_url, timeout_seconds=2))
    found.start()
    await wait_until(lambda: found.copy.is_current)
    yield found
    found.stop()


def asking(copied: Copied) -> Deferred[None]:
    return Deferred.fromCoroutine(copied.copy.wait_until_current())


@pytest_twisted.ensureDeferred
async def test_a_notice_brings_the_new_content(copied: Copied, wait_until: WaitUntil) -> None:
    await copied.change("one")
    await wait_until(lambda: copied.content == "one" and copied.copy.is_current)
    reads = copied.reads
    await copied.copy.wait_until_current()
    assert copied.reads == reads


@pytest_twisted.ensureDeferred
async def test_a_read_that_began_before_a_notice_does_not_make_the_copy_current(
    copied: Copied, wait_until: WaitUntil
) -> None:
    gate = copied.gate = Deferred()
    reads, epoch = copied.reads, copied.copy._epoch
    await copied.change("old")
    await wait_until(lambda: copied.reads == reads + 1)
    await copied.server.command("PING")  # so it has "old", and is held back
    await copied.change("new")
    await wait_until(lambda: copied.copy._epoch == epoch + 2)
    late = asking(copied)
    copied.gate = None
    gate.callback(None)
    assert not copied.copy.is_current, "what was read is older than the notice"
    await late
    assert (copied.content, copied.copy.is_current) == ("new", True)


@pytest_twisted.ensureDeferred
async def test_all_that_wait_share_a_read(copied: Copied, wait_until: WaitUntil) -> None:
    gate = copied.gate = Deferred()
    await copied.change("one")
    await wait_until(lambda: not copied.copy.is_current)
    reads = copied.reads
    waiting = [asking(copied) for _ in range(100)]
    assert not any(each.called for each in waiting)
    copied.gate = None
    gate.callback(None)
    await DeferredList(waiting, fireOnOneErrback=True)
    assert copied.content == "one"
    assert copied.reads <= reads + 1


@pytest_twisted.ensureDeferred
async def test_who_waits_is_told_that_it_cannot_be_read_and_it_is_tried_again(
    copied: Copied, wait_until: WaitUntil
) -> None:
    copied.broken = True
    await copied.change("one")
    await wait_until(lambda: not copied.copy.is_current)
    with pytest.raises(StoreUnavailable, match="broken"):
        await copied.copy.wait_until_current()
    copied.broken = False
    await wait_until(lambda: copied.copy.is_current)  # nobody asked
    assert copied.content == "one"


@pytest_twisted.ensureDeferred
async def test_what_changed_without_notice_while_subscriptions_were_lost_is_read(
    copied: Copied, redis_server: Any, wait_until: WaitUntil
) -> None:
    await copied.change("one", notify=False)
    assert copied.copy.is_current, "the test's own premise"
    losses = copied.server.channels.losses
    redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
    await wait_until(lambda: copied.server.channels.losses > losses)
    assert not copied.copy.is_current
    await copied.copy.wait_until_current()
    assert copied.content == "one"
    await wait_until(lambda: copied.copy.is_current)


@pytest_twisted.ensureDeferred
async def test_a_process_that_cannot_make_sure_of_its_subscriptions_reads_before_it_judges(
    copied: Copied, redis_server: Any, wait_until: WaitUntil
) -> None:
    """Redis stands still: the lease ends, and begins again by itself."""
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        await wait_until(lambda: not copied.lease.holds)
        assert copied.copy.is_valid
        assert not copied.copy.is_current
        waiting = asking(copied)
        assert not waiting.called
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    reads = copied.reads
    await waiting
    assert copied.reads == reads, "the read that was asked for, and no other"
    await wait_until(lambda: copied.copy.is_current)


@pytest_twisted.ensureDeferred
async def test_without_redis_what_waits_is_told_so(
    copied: Copied, redis_server: Any, wait_until: WaitUntil
) -> None:
    redis_server.kill()
    await wait_until(lambda: copied.server.problem is not None)
    assert not copied.copy.is_current
    with pytest.raises(StoreUnavailable):
        await copied.copy.wait_until_current()
    redis_server.start()
    await wait_until(lambda: copied.copy.is_current)

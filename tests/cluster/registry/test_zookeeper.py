"""What only ZooKeeper has: sessions, ephemeral nodes, access control."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_twisted
from kazoo.security import make_digest_acl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.protocols.portforward import ProxyFactory

from push.cluster.registry.entry import CONNECTOR, RegistryEntry, encode_entry
from push.cluster.registry.interface import Registry
from tests.cluster.real_zookeeper import own_stops_of_kazoo
from tests.waiting import WaitUntil

MakeEntry = Callable[..., RegistryEntry]


def names(registry: Registry) -> set[str]:
    return set(registry.view().get(CONNECTOR, {}))


class Wire(ProxyFactory):
    """A way to ZooKeeper that can be cut."""

    noisy = False

    def __init__(self, port: int) -> None:
        from twisted.internet import reactor

        super().__init__("127.0.0.1", port)
        self._reactor: Any = reactor
        self._protocols: list[Any] = []
        self._listener: Any = reactor.listenTCP(0, self, interface="127.0.0.1")  # type: ignore
        self.hosts = f"127.0.0.1:{self._listener.getHost().port}"
        self.cut_now = False
        self.accepts_only = False
        self.accepted = 0

    def buildProtocol(self, addr: Any) -> Any:
        if self.cut_now:
            return None
        if self.accepts_only:
            self.accepted += 1
            return Protocol()
        protocol = super().buildProtocol(addr)
        self._protocols.append(protocol)
        return protocol

    def cut(self) -> None:
        self.cut_now = True
        for protocol in self._protocols:
            for side in (protocol, protocol.peer):
                if side is not None and side.transport is not None:
                    side.transport.abortConnection()
        self._protocols.clear()

    def mend(self) -> None:
        self.cut_now = False

    async def close(self) -> None:
        self.cut()
        await self._listener.stopListening()


@pytest_twisted.async_yield_fixture
async def wire(zookeeper_server: Any) -> AsyncIterator[Wire]:
    wire = Wire(zookeeper_server.port)
    yield wire
    await wire.close()


@pytest_twisted.ensureDeferred
async def test_a_session_that_expired_is_followed_by_another_with_the_same_entry(
    zookeeper_cluster: Any, wire: Wire, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    other = cluster.registry()
    one = cluster.registry(hosts=wire.hosts + cluster.chroot)
    await one.register(entry("n1", sessions=1))
    await wait_until(lambda: names(other) == {"n1"})
    wire.cut()
    # The session ends at the server, and so does the node.
    await wait_until(lambda: not names(other))
    assert "is unreachable" in one.problem
    assert names(one) == {"n1"}
    one.update(entry("n1", sessions=2))
    wire.mend()
    await wait_until(lambda: names(other) == {"n1"})
    assert other.view()[CONNECTOR]["n1"].sessions == 2
    await wait_until(lambda: one.problem is None)


@pytest_twisted.ensureDeferred
async def test_a_short_cut_keeps_the_session_and_misses_nothing(
    zookeeper_cluster: Any, wire: Wire, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    one = cluster.registry(hosts=wire.hosts + cluster.chroot)
    other = cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    gone: list[bool] = []
    other.on_change(lambda: gone.append("n1" not in names(other)))
    wire.cut()
    await wait_until(lambda: one.problem is not None)
    await other.register(entry("n2"))
    assert names(one) == {"n1"}
    wire.mend()
    await wait_until(lambda: names(one) == {"n1", "n2"})
    assert not any(gone)


@pytest_twisted.ensureDeferred
async def test_a_server_that_accepts_and_never_answers_is_tried_again_before_a_long_session_ends(
    zookeeper_cluster: Any, wire: Wire, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    cluster.let_nothing_lapse()
    cluster.timing = cluster.timing._replace(reconnect=1.0)
    one = cluster.registry(hosts=wire.hosts + cluster.chroot)
    other = cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    gone: list[bool] = []
    other.on_change(lambda: gone.append("n1" not in names(other)))
    wire.accepts_only = True
    wire.cut()
    wire.mend()
    # kazoo now waits for the answer of a connection that gets none.
    await wait_until(lambda: wire.accepted)
    one.update(entry("n1", sessions=7))
    wire.accepts_only = False
    await wait_until(lambda: one.problem is None)
    await wait_until(lambda: other.view()[CONNECTOR]["n1"].sessions == 7)
    assert not any(gone)


@pytest_twisted.ensureDeferred
async def test_a_node_left_by_a_dead_session_of_the_same_process_is_replaced(
    zookeeper_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    one = cluster.registry()
    await cluster.put_raw(CONNECTOR, "n1", encode_entry(entry("n1", boot="b1")))
    await one.register(entry("n1", boot="b1", sessions=2))
    stat = await cluster.with_client(lambda client: client.exists(cluster.path(CONNECTOR, "n1")))
    assert stat.ephemeralOwner
    assert one.view()[CONNECTOR]["n1"].sessions == 2


@pytest_twisted.ensureDeferred
async def test_a_node_made_though_the_answer_was_lost_is_known_as_our_own(
    zookeeper_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    one = cluster.registry()
    path = cluster.path(CONNECTOR, "n1")
    await one.register(entry("n1", boot="b1"))
    made = await cluster.with_client(lambda client: client.exists(path))
    one._written.clear()  # as after a ConnectionLoss: nothing is known of what was written
    await one.register(entry("n1", boot="b1", sessions=2))
    assert one.view()[CONNECTOR]["n1"].sessions == 2
    stat = await cluster.with_client(lambda client: client.exists(path))
    assert stat.czxid == made.czxid
    assert stat.version > made.version


@pytest_twisted.ensureDeferred
async def test_a_node_that_somebody_deleted_is_made_again(
    zookeeper_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    one = cluster.registry()
    await one.register(entry("n1"))
    path = cluster.path(CONNECTOR, "n1")
    before = await cluster.with_client(lambda client: client.exists(path))
    await cluster.with_client(lambda client: client.delete(path))

    async def made_again() -> bool:
        stat = await cluster.with_client(lambda client: client.exists(path))
        return stat is not None and stat.czxid > before.czxid

    await wait_until(made_again)
    await wait_until(lambda: names(one) == {"n1"})


@pytest_twisted.ensureDeferred
async def test_with_a_digest_only_its_user_reads_and_writes(
    zookeeper_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster = zookeeper_cluster
    one = cluster.registry(hosts=f"push:se:cret@{cluster.address}")
    await one.register(entry("n1"))
    other = cluster.registry(digest="push:se:cret")
    stranger = cluster.registry(digest="stranger:secret")
    await wait_until(lambda: names(other) == {"n1"})
    await wait_until(lambda: "NoAuth" in (stranger.problem or ""))
    assert not stranger.view()
    assert "cret" not in str(one.problem)

    def acls(client: Any) -> Any:
        client.add_auth("digest", "push:se:cret")
        return client.get_acls(cluster.path(CONNECTOR, "n1"))

    found, _ = await cluster.with_client(acls)
    assert [acl.id for acl in found] == [make_digest_acl("push", "se:cret", all=True).id]


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_the_threads(
    zookeeper_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    before = threading.active_count()
    one = zookeeper_cluster.registry()
    await one.register(entry("n1"))
    assert threading.active_count() > before
    await one.stop()
    await wait_until(lambda: threading.active_count() <= before)


@pytest_twisted.ensureDeferred
async def test_starting_and_stopping_never_block_the_reactor(
    zookeeper_cluster: Any, wait_until: WaitUntil
) -> None:
    """A server that takes connections and never says a word is the worst case for kazoo: its own
    start fails after 15 s, and its own stop takes 10 s."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        one = zookeeper_cluster.registry(hosts=f"127.0.0.1:{silent.getsockname()[1]}")
        await wait_until(lambda: one.problem is not None)
        before = own_stops_of_kazoo()
        stopping = Deferred.fromCoroutine(one.stop())
        assert not stopping.called, "what kazoo's own stop says comes in a later turn"
        assert own_stops_of_kazoo() - before, "it was waited for"
        await stopping

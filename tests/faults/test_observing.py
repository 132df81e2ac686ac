"""What operators see of a whole deployment: daemons as processes, one paused, drained, killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from push.sdk.backend import AsyncPushAPI, Event, PushAPI, PushAPIError, PushAPIUnreachable
from tests.faults.processes import Daemon
from tests.faults.raw import Ended, Pair, RawDevice
from tests.faults.system import System
from tests.waiting import DEADLINE_SECONDS, wait_for


class Watcher:
    """Follows events in a thread until it is closed."""

    def __init__(self, daemon: Daemon, key: str, **wanted: Any) -> None:
        self.events: list[Event] = []
        self.began = threading.Event()
        self._api = PushAPI(daemon.http_url, key)
        self._stream = self._api.events(**wanted)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for event in self._stream:
                self.events.append(event)
        except PushAPIUnreachable:
            pass

    def of(self, kind: str) -> list[Event]:
        return [event for event in list(self.events) if event.kind == kind]


@pytest.fixture
def system(make_system: Callable[..., System]) -> System:
    """An API and two connectors."""
    system = make_system(2, sub=True)
    system.wait_registered()
    return system


@pytest.fixture
def api(system: System) -> Iterator[PushAPI]:
    with PushAPI(system.api.http_url, system.admin_key, retries=0) as api:
        yield api


def connect(daemon: Daemon, pair: Pair) -> RawDevice:
    device = RawDevice(daemon.device_port)
    device.connect(pair)
    return device


def take(device: RawDevice, count: int = 1) -> None:
    """Take so many messages and acknowledge them."""
    for _ in range(count):
        message = device.message()
        assert message is not None
        device.acknowledge(message[1])


def watch(system: System, api: PushAPI, **wanted: Any) -> Watcher:
    """A watcher that is known to see what happens on all connectors."""
    watcher = Watcher(system.api, system.admin_key, **wanted)
    pair = system.register(1)[0]
    for daemon in system.connectors:

        def seen(daemon: Daemon = daemon) -> bool:
            connect(daemon, pair).close()
            return any(event.node == daemon.name for event in watcher.of("connected"))

        wait_for(seen, lambda: f"{watcher.events}")
    return watcher


def test_events_of_all_nodes_come_to_one_client_and_a_silent_node_is_named(
    system: System, api: PushAPI
) -> None:
    watcher = watch(system, api)
    pairs = system.register(2)
    devices = [connect(d, pair) for d, pair in zip(system.connectors, pairs, strict=True)]
    message = api.push(to={"tokens": [pair.token for pair in pairs]}, data={"n": 1}).id
    for device in devices:
        take(device)

    def nodes(kind: str) -> set[tuple[str, str | None]]:
        return {(event.node, event.token) for event in watcher.of(kind) if event.message == message}

    expected = {(d.name, p.token) for d, p in zip(system.connectors, pairs, strict=True)}
    wait_for(lambda: nodes("acknowledged") == expected)
    assert [(event.node, event.n) for event in watcher.of("pushed")] == [("api", 2)]
    for device in devices:
        device.close(abruptly=True)
    wait_for(
        lambda: {e.token for e in watcher.of("disconnected")} >= {pair.token for pair in pairs}
    )
    assert all(
        event.code == "connection_lost"
        for event in watcher.of("disconnected")
        if event.token in (pairs[0].token, pairs[1].token)
    )

    silent = system.connectors[1]
    silent.pause()
    try:
        wait_for(
            lambda: [(e.node, e.code) for e in watcher.of("skipped")] == [(silent.name, "silent")]
        )
        page = api.device_events(pairs[0].token)
        assert page.silent == [silent.name]
        assert page.events[-1].event == "connected"
        found = api.series("connections")
        assert found.silent == [silent.name]
        assert api.series("connections", node=system.connectors[0].name).silent == []
    finally:
        silent.resume()
    before = len(watcher.of("connected"))
    device = connect(silent, pairs[1])  # its events come again, once it is asked again

    def heard() -> bool:
        connect(silent, pairs[1]).close()
        return any(event.node == silent.name for event in watcher.of("connected")[before:])

    wait_for(heard)
    device.close()


def test_a_drain_redirects_and_both_nodes_tell_it_in_the_timeline(
    system: System, api: PushAPI
) -> None:
    watcher = watch(system, api)
    pair = system.register(1)[0]
    device = connect(system.connectors[0], pair)
    api.drain(system.connectors[0].name)
    wait_for(lambda: device.ended_with() == "draining")
    again = connect(system.connectors[1], pair)
    wait_for(lambda: [event.token for event in watcher.of("redirected")] == [pair.token])

    def timeline() -> list[tuple[str, str, str | None]]:
        events = api.device_events(pair.token).events
        return [(event.node, event.event, event.code) for event in events][::-1]

    first, second = (daemon.name for daemon in system.connectors)
    wait_for(lambda: not system.connectors[0].running)
    expected = [
        (first, "connected", None),
        (first, "disconnected", "draining"),
        (first, "redirected", "draining"),
        (second, "connected", None),
    ]
    # An end and its redirect are of one millisecond.
    wait_for(lambda: sorted(timeline(), key=str) == sorted(expected, key=str))
    again.close()


def test_a_killed_api_and_a_killed_redis_leave_timelines_messages_and_the_trail(
    system: System, api: PushAPI
) -> None:
    pair = system.register(1)[0]
    device = connect(system.connectors[0], pair)
    ids = [api.push(to={"token": pair.token}, data={"n": n}).id for n in range(3)]
    take(device, 3)
    api.subscribe("news", pair.token)
    device.close(abruptly=True)
    wait_for(lambda: len(api.recent_messages(to=f"token:{pair.token}").messages) == 3)
    wait_for(lambda: len(api.audit().audit) >= 1)

    def stored() -> bool:
        name = f"push:device-events:{pair.token}".encode()
        return b":3\r\n" in system.redis.call("ZCARD", name)

    wait_for(stored)  # connected, acknowledged, disconnected
    for daemon in (system.api, *system.connectors):
        daemon.kill()
    system.redis.kill()
    system.redis.start()
    system.api.start()
    wait_for(system.api.ready)

    events = api.device_events(pair.token).events
    assert [(event.event, event.n) for event in events] == [
        ("disconnected", None),
        ("acknowledged", 3),
        ("connected", None),
    ]
    found = api.recent_messages(to=f"token:{pair.token}").messages
    assert [message.id for message in found] == ids[::-1]
    assert "PUT /v1/topics/{topic}/devices/{token}" in {e.route for e in api.audit().audit}
    # Figures are kept in memory: what was before the start is not known.
    assert sum(value or 0 for value in api.series("pushes").values) == 0


def test_a_refused_credential_of_a_device_is_in_the_trail(system: System, api: PushAPI) -> None:
    pair = system.register(1)[0]
    wrong = RawDevice(system.connectors[0].device_port)
    with pytest.raises(Ended):
        wrong.connect(Pair(pair.token, "x" * 22))
    with PushAPI(system.api.http_url, "wrong", retries=0) as stranger:
        with pytest.raises(PushAPIError):
            stranger.stats()
        with pytest.raises(PushAPIError):
            next(stranger.events())

    def refused() -> set[tuple[str, str, int]]:
        return {(e.route, e.target, e.status) for e in api.audit().audit if e.key is None}

    wait_for(
        lambda: (
            refused()
            == {
                ("CONNECT", pair.token, 401),
                ("GET /v1/stats", "", 401),
                ("GET /v1/events", "", 401),
            }
        )
    )


def test_the_client_for_asyncio_follows_events(system: System) -> None:
    async def first_event() -> Event:
        async with AsyncPushAPI(system.api.http_url, system.admin_key) as api:
            stream = api.events(kinds=["pushed"], user="anna")
            following = asyncio.ensure_future(anext(stream))
            while not following.done():
                await api.push(to={"user": "anna"}, data={"n": 1})
                await asyncio.wait([following], timeout=0.1)
            await stream.aclose()
            return await following

    event = asyncio.run(first_event())
    assert (event.kind, event.user, event.node, event.n) == ("pushed", "anna", "api", 1)


def test_a_storm_is_sampled_where_it_happens(system: System, api: PushAPI) -> None:
    """A client gets at most 200 events a second and is told how many it did not get."""
    watcher = watch(system, api, kinds=["connected", "acknowledged"])
    pair = system.register(1)[0]
    device = connect(system.connectors[0], pair)
    count = 2000
    items = [{"to": {"token": pair.token}, "data": {"n": n}} for n in range(count)]
    pusher = threading.Thread(
        target=lambda: [api.push_batch(items[i : i + 500]) for i in range(0, count, 500)]
    )
    pusher.start()
    take(device, count)
    pusher.join(DEADLINE_SECONDS)

    def told() -> int:
        got = len([e for e in watcher.of("acknowledged") if e.token == pair.token])
        return got + sum(event.n or 0 for event in watcher.of("skipped"))

    wait_for(lambda: told() == count)
    device.close()

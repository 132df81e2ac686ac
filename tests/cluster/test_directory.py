"""Where devices are sent, and what is said of the cluster."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from push.cluster.directory import Directory
from push.cluster.planned_load import AWAITED_SECONDS
from push.cluster.registry.entry import RegistryEntry
from push.wire.addresses import UNKNOWN_IP

MakeEntry = Callable[..., RegistryEntry]

FAR = "203.0.113.5"


class FixedRegistry:
    """A registry with a view and nothing else."""

    def __init__(self, *entries: RegistryEntry) -> None:
        self.fill(*entries)

    def fill(self, *entries: RegistryEntry) -> None:
        services: dict[str, dict[str, RegistryEntry]] = {}
        for entry in entries:
            services.setdefault(entry.service, {})[entry.instance] = entry
        self._view = services

    def view(self) -> Any:
        return self._view


def directory(*entries: RegistryEntry, zone: str = "") -> Directory:
    """So seldom asked that nobody who was told to go somewhere is still on the way."""
    seconds = itertools.count(0.0, 2 * AWAITED_SECONDS)
    registry: Any = FixedRegistry(*entries)
    return Directory(registry, random.Random(1), seconds.__next__, zone=zone)


@pytest.fixture
def node(entry: MakeEntry) -> MakeEntry:
    def make(name: str, **fields: Any) -> RegistryEntry:
        return entry(name, addresses={"tls": f"tls://{name}:6790"}, **fields)

    return make


def shares(listed: Directory, draws: int = 3000) -> dict[str, float]:
    """The part of `draws` that each server was first in."""
    firsts = Counter(listed.servers("tls", FAR)[0] for _ in range(draws))
    return {url[6:8]: count / draws for url, count in firsts.items()}


def spread(nodes: list[RegistryEntry], devices: int, told_every: int) -> Counter[str]:
    """Connect devices one by one. Each node tells of its sessions after each `told_every`, and they
    do not tell at the same time."""
    told = {entry.instance: entry for entry in nodes}
    registry: Any = FixedRegistry(*nodes)
    listed = Directory(registry, random.Random(7), lambda: 0.0)
    sessions = Counter({entry.instance: entry.sessions for entry in nodes})
    for number in range(devices):
        sessions[listed.servers("tls", FAR)[0][6:8]] += 1
        for place, name in enumerate(told):
            if (number + place * told_every // len(told)) % told_every == 0:
                told[name] = msgspec.structs.replace(told[name], sessions=sessions[name])
                registry.fill(*told.values())
    return sessions


def test_equal_nodes_are_chosen_evenly_and_all_are_listed(node: MakeEntry) -> None:
    listed = directory(node("n1"), node("n2"), node("n3"))
    assert sorted(listed.servers("tls", FAR)) == ["tls://n1:6790", "tls://n2:6790", "tls://n3:6790"]
    for share in shares(listed).values():
        assert share == pytest.approx(1 / 3, rel=0.1)


@pytest.mark.parametrize("capacity", [0, 5000, 100_000])
@pytest.mark.parametrize("devices", [300, 3000])
@pytest.mark.parametrize("times_told", [0.5, 3, 30])
def test_devices_that_come_spread_within_a_tenth(
    node: MakeEntry, capacity: int, devices: int, times_told: float
) -> None:
    """Also when all come before the connectors say how many have come."""
    nodes = [node(name, capacity=capacity) for name in ("n1", "n2", "n3")]
    for sessions in spread(nodes, devices, told_every=int(devices / times_told)).values():
        assert sessions == pytest.approx(devices / 3, rel=0.1)


def test_who_was_sent_to_a_connector_counts_there_until_it_comes_or_is_given_up(
    node: MakeEntry,
) -> None:
    now = 0.0
    registry: Any = FixedRegistry(node("n1"), node("n2", sessions=900))
    listed = Directory(registry, random.Random(1), lambda: now)

    def to_n1(listed: Directory, devices: int) -> int:
        return sum(listed.servers("tls", FAR)[0] == "tls://n1:6790" for _ in range(devices))

    sent = to_n1(listed, 900)
    assert 600 < sent < 900
    # Three quarters have come, and the connectors say so: 225 are still on the way.
    registry.fill(node("n1", sessions=sent - 150), node("n2", sessions=1800 - sent - 75))
    at_the_end: Any = FixedRegistry(node("n1", sessions=sent), node("n2", sessions=1800 - sent))
    from_there = to_n1(Directory(at_the_end, random.Random(2), lambda: now), 600)
    assert to_n1(listed, 600) == pytest.approx(from_there, abs=60)
    # Nobody of all these comes. After a while it is as if nobody had asked.
    now = 2 * AWAITED_SECONDS
    registry.fill(node("n1"), node("n2", sessions=1000))
    assert to_n1(listed, 100) == pytest.approx(80, abs=10)


def test_weight_is_a_nodes_share(node: MakeEntry) -> None:
    sessions = spread([node("n1", weight=2), node("n2"), node("n3")], 4000, told_every=100)
    assert sessions["n1"] == pytest.approx(2000, rel=0.1)


def test_larger_nodes_take_more(node: MakeEntry) -> None:
    sessions = spread([node("n1", capacity=9000), node("n2", capacity=3000)], 4000, told_every=100)
    assert sessions["n1"] == pytest.approx(3000, rel=0.1)


@pytest.mark.parametrize("capacity", [0, 20_000, 1_000_000])
def test_an_empty_node_catches_up_and_is_not_run_over(node: MakeEntry, capacity: int) -> None:
    sessions = {"n1": 0, "n2": 5000, "n3": 5000}
    listed = directory(*(node(n, capacity=capacity, sessions=s) for n, s in sessions.items()))
    first = shares(listed)
    assert 0.6 < first["n1"] < 0.8


def test_a_node_that_is_nearly_full_is_given_its_last_places_only(node: MakeEntry) -> None:
    first = shares(
        directory(
            node("n1", capacity=1000, sessions=990),
            node("n2", capacity=1000, sessions=900),
        )
    )
    assert first["n1"] == pytest.approx(10 / 110, abs=0.03)


def test_draining_full_and_weightless_nodes_are_never_given(node: MakeEntry) -> None:
    listed = directory(
        node("n1", draining=True),
        node("n2", capacity=10, sessions=10),
        node("n3", capacity=10, sessions=11),
        node("n4", weight=0),
        node("n5", capacity=10, sessions=9),
    )
    assert listed.servers("tls", FAR) == ["tls://n5:6790"]


def test_without_a_connector_that_takes_any_the_list_is_empty(node: MakeEntry) -> None:
    assert directory().servers("tls", FAR) == []
    assert directory(node("n1", draining=True)).servers(None, FAR) == []


def test_a_carrier_that_a_node_does_not_offer_leaves_it_out(entry: MakeEntry) -> None:
    listed = directory(
        entry("n1", addresses={"tcp": "tcp://n1:6789"}),
        entry("n2", addresses={"tls": "tls://n2:6790"}),
    )
    assert listed.servers("tcp", FAR) == ["tcp://n1:6789"]
    assert listed.servers("ws", FAR) == []


def test_all_carriers_go_encrypted_first_in_one_order_of_nodes(entry: MakeEntry) -> None:
    def carriers(name: str) -> dict[str, str]:
        return {carrier: f"{carrier}://{name}" for carrier in ("ws", "tcp", "wss", "tls")}

    urls = directory(
        entry("n1", addresses=carriers("n1")), entry("n2", addresses=carriers("n2"))
    ).servers(None, FAR)
    assert [url.partition(":")[0] for url in urls] == [
        *("tls", "tls", "wss", "wss", "tcp", "tcp", "ws", "ws")
    ]
    names = [url.rpartition("/")[2] for url in urls]
    assert names == names[:2] * 4


def test_connectors_of_the_callers_zone_come_first(node: MakeEntry) -> None:
    listed = directory(
        node("n1", zone="a"), node("n2", zone="b"), node("n3", zone="b", sessions=9), zone="b"
    )
    for _ in range(50):
        assert listed.servers("tls", FAR)[2] == "tls://n1:6790"


def test_other_services_are_no_servers_but_are_nodes(node: MakeEntry) -> None:
    api = RegistryEntry(service="push-api", instance="n1", boot="b1", addresses={"tls": "tls://x"})
    listed = directory(node("n1"), api)
    assert listed.servers(None, FAR) == ["tls://n1:6790"]
    assert [(e.service, e.instance) for e in listed.nodes()] == [
        ("push-connector", "n1"),
        ("push-api", "n1"),
    ]


def test_a_boot_is_live_while_its_connector_is_registered(node: MakeEntry) -> None:
    registry = FixedRegistry(
        node("n1", boot="b1"), RegistryEntry(service="push-api", instance="n2", boot="b2")
    )
    listed = Directory(registry, random.Random(1), lambda: 0.0)  # type: ignore[arg-type]
    assert listed.is_live_boot("b1")
    assert not listed.is_live_boot("b2")
    registry.fill(node("n1", boot="b3"))
    assert not listed.is_live_boot("b1")
    assert listed.is_live_boot("b3")


def test_totals_are_sums_over_the_cluster(node: MakeEntry) -> None:
    totals = directory(
        node("n1", sessions=3, counters={"pushed": 1, "acknowledged": 2}),
        node("n2", sessions=4, counters={"pushed": 5}),
        RegistryEntry(service="push-api", instance="n1", boot="b", counters={"requests": 7}),
    ).totals()
    assert totals == {
        "nodes": 2,
        "connectors": 2,
        "sessions": 7,
        "counters": {"pushed": 6, "acknowledged": 2, "requests": 7},
    }


def test_an_address_that_instances_share_is_named_once_by_the_room_of_all(entry: MakeEntry) -> None:
    a, b, c = ("tls://aa:6790", "tls://aa:6790", "tls://cc:6790")
    nodes = [
        entry(name, addresses={"tls": url}, capacity=100)
        for name, url in (("1", a), ("2", b), ("3", c))
    ]
    listed = directory(*nodes)
    assert sorted(listed.servers(None, FAR)) == [a, c]
    assert shares(listed)["aa"] == pytest.approx(2 / 3, abs=0.05)


# Servers told to clients


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.9.8.7",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "LOCALHOST.",
        "api.localhost",
        "localhost.localdomain",
        "0.0.0.0",
        "[::]",
    ],
)
def test_a_loopback_address_is_told_on_loopback_only(entry: MakeEntry, host: str) -> None:
    url = f"tls://{host}:6790"
    listed = directory(entry("n1", addresses={"tls": url}))
    for near in ("127.0.0.1", "127.5.5.5", "::1", ""):
        assert listed.servers("tls", near) == listed.others("tls", "x", near) == [url]
    for far in (FAR, "10.0.0.1", "2001:db8::7", "fe80::1%eth0", UNKNOWN_IP, "0.0.0.0", "::"):
        assert listed.servers("tls", far) == listed.servers(None, far) == []
        assert listed.others("tls", "x", far) == []


def test_of_several_addresses_those_that_lead_somewhere_are_told(entry: MakeEntry) -> None:
    addresses = {"tcp": "tcp://127.0.0.1:6789", "tls": "tls://push.example:6790"}
    listed = directory(entry("n1", addresses=addresses))
    assert listed.servers(None, FAR) == ["tls://push.example:6790"]
    assert listed.others("tcp", "x", FAR) == ["tls://push.example:6790"]
    assert len(listed.servers(None, "::1")) == 2


def test_public_addresses_are_told_as_configured(entry: MakeEntry) -> None:
    url = "tls://localhost:6790"  # as through a tunnel that every client has
    listed = directory(entry("n1", addresses={"tls": url}, public=True))
    assert listed.servers("tls", FAR) == listed.others("tls", "x", FAR) == [url]

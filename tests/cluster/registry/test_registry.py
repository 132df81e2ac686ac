"""The contract of the registry, on a real Redis and on a real ZooKeeper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from push.cluster.registry.entry import CONNECTOR, RegistryEntry, encode_entry
from push.cluster.registry.interface import NameTaken, Registry
from tests.cluster.real_zookeeper import own_stops_of_kazoo
from tests.waiting import WaitUntil

MakeEntry = Callable[..., RegistryEntry]


def connectors(registry: Registry) -> dict[str, RegistryEntry]:
    return dict(registry.view().get(CONNECTOR, {}))


def names(registry: Registry) -> set[str]:
    return set(connectors(registry))


@pytest_twisted.ensureDeferred
async def test_a_registered_entry_is_seen_by_others_as_it_was_given(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one, other = cluster.registry(), cluster.registry()
    await other.ready()
    given = entry(
        "n1",
        addresses={"tls": "tls://host:6790", "tcp": "tcp://host:6789"},
        sessions=3,
        capacity=10,
        version="1",
        zone="a",
        weight=2,
        started=1_700_000_000_000,
        counters={"acknowledged": 5},
    )
    await one.register(given)
    assert connectors(one) == {"n1": given}
    await wait_until(lambda: connectors(other) == {"n1": given})
    assert one.problem is None
    assert other.problem is None


@pytest_twisted.ensureDeferred
async def test_the_first_view_is_full_when_ready_fires(cluster: Any, entry: MakeEntry) -> None:
    one = cluster.registry()
    for name in ("n1", "n2", "n3"):
        await one.register(entry(name))
    other = cluster.registry()
    assert other.problem is not None
    assert not other.view()
    assert not other.joined
    await other.ready()
    assert other.joined
    assert names(other) == {"n1", "n2", "n3"}
    await other.ready()


@pytest_twisted.ensureDeferred
async def test_registering_again_is_harmless(cluster: Any, entry: MakeEntry) -> None:
    one = cluster.registry()
    await one.register(entry("n1"))
    await one.register(entry("n1"))
    await one.register(entry("n1", sessions=4))
    assert connectors(one)["n1"].sessions == 4


@pytest_twisted.ensureDeferred
async def test_updates_are_joined_and_the_last_one_arrives(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    changes: list[int] = []
    other.on_change(lambda: changes.append(connectors(other)["n1"].sessions))
    for sessions in range(1, 51):
        one.update(entry("n1", sessions=sessions))
    await wait_until(lambda: connectors(other)["n1"].sessions == 50)
    assert len(changes) <= 3


@pytest_twisted.ensureDeferred
async def test_an_update_of_what_is_not_registered_is_ignored(
    cluster: Any, entry: MakeEntry
) -> None:
    one = cluster.registry()
    one.update(entry("n1"))
    await one.register(entry("n2"))
    assert names(one) == {"n2"}


@pytest_twisted.ensureDeferred
async def test_a_withdrawn_entry_is_gone_at_once_for_everybody(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster.let_nothing_lapse()
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1"))
    await one.register(entry("n2"))
    await wait_until(lambda: names(other) == {"n1", "n2"})
    await one.withdraw(CONNECTOR, "n1")
    assert names(one) == {"n2"}
    await wait_until(lambda: names(other) == {"n2"})
    await one.withdraw(CONNECTOR, "n1")


@pytest_twisted.ensureDeferred
async def test_stopping_withdraws(cluster: Any, entry: MakeEntry, wait_until: WaitUntil) -> None:
    cluster.let_nothing_lapse()
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    await one.stop()
    await wait_until(lambda: not names(other))
    await one.stop()


@pytest_twisted.ensureDeferred
async def test_a_view_is_replaced_and_never_modified(cluster: Any, entry: MakeEntry) -> None:
    one = cluster.registry()
    await one.register(entry("n1"))
    before = one.view()
    assert one.view() is before
    await one.register(entry("n2"))
    assert set(before[CONNECTOR]) == {"n1"}
    assert names(one) == {"n1", "n2"}


@pytest_twisted.ensureDeferred
async def test_a_callback_that_fails_is_logged_and_holds_up_nothing(
    cluster: Any, entry: MakeEntry, flush_logged_errors: Callable[..., list[Any]]
) -> None:
    one = cluster.registry()
    told: list[bool] = []

    def fail() -> None:
        if not told:
            raise ZeroDivisionError

    one.on_change(fail)
    one.on_change(lambda: told.append(True))
    await one.register(entry("n1"))
    assert told
    assert flush_logged_errors(ZeroDivisionError)


@pytest_twisted.ensureDeferred
async def test_an_impossible_name_is_refused(cluster: Any, entry: MakeEntry) -> None:
    one = cluster.registry()
    for name in ("", ".", "..", "a/b", "a b", "x" * 129):
        with pytest.raises(ValueError, match="cannot be registered"):
            await one.register(entry(name, boot="b1"))


@pytest_twisted.ensureDeferred
async def test_an_entry_that_cannot_be_read_is_skipped_and_logged_once(
    cluster: Any, entry: MakeEntry, log_lines: list[str]
) -> None:
    await cluster.put_raw(CONNECTOR, "n1", b'{"service": ')
    await cluster.put_raw(CONNECTOR, "n2", encode_entry(entry("n9")))
    one = cluster.registry()
    await one.ready()
    await one.register(entry("n3"))
    await one.register(entry("n3", sessions=1))
    assert names(one) == {"n3"}
    assert len([line for line in log_lines if "n1 is skipped" in line]) == 1
    assert len([line for line in log_lines if "n2 is skipped" in line]) == 1


@pytest_twisted.ensureDeferred
async def test_what_others_have_put_into_the_registry_is_checked(
    cluster: Any, entry: MakeEntry, log_lines: list[str]
) -> None:
    good = encode_entry(entry("n1"))
    deep = b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"," + good[1:]
    foreign = {
        "n1": deep,
        "n2": encode_entry(entry("n2", addresses={"tls": "tls://x:1\x1b[2J"})),
        "n3": encode_entry(entry("n3", addresses={"tls": "javascript:alert(1)"})),
        "n4": encode_entry(entry("n4", addresses={"tls": "tls://" + "x" * 600})),
        "n5": encode_entry(entry("n5", boot="../x")),
        "n6": b"\xff" + encode_entry(entry("n6")),
        "n7": encode_entry(entry("n7")).replace(b'"sessions":0', b'"sessions":1e999'),
        "n8": encode_entry(entry("n8", zone="Z" * 9_000)).replace(b'"weight":1', b'"weight":"Z"'),
    }
    for name, raw in foreign.items():
        await cluster.put_raw(CONNECTOR, name, raw)
    one = cluster.registry()
    await one.ready()
    await one.register(entry("good"))
    assert names(one) == {"good"}
    skipped = [line for line in log_lines if "is skipped" in line]
    assert len(skipped) == len(foreign)
    assert all(len(line) < 400 for line in skipped)


@pytest_twisted.ensureDeferred
async def test_fields_of_a_newer_version_are_ignored(cluster: Any, entry: MakeEntry) -> None:
    raw = encode_entry(entry("n1", sessions=2)).replace(b"{", b'{"colour": ["red"], ', 1)
    await cluster.put_raw(CONNECTOR, "n1", raw)
    one = cluster.registry()
    await one.ready()
    assert connectors(one) == {"n1": entry("n1", sessions=2)}


# --- Names -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_name_of_a_live_process_is_refused(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1", boot="b1"))
    with pytest.raises(NameTaken, match=r"'n1' is taken.*b1.*name of its own"):
        await other.register(entry("n1", boot="b2"))
    assert connectors(other)["n1"].boot == "b1"
    assert other.problem is None
    # Refused is forgotten: it does not come back when the name is free.
    await one.withdraw(CONNECTOR, "n1")
    await other.register(entry("n2"))
    await wait_until(lambda: names(other) == {"n2"})


@pytest_twisted.ensureDeferred
async def test_the_name_of_a_killed_process_is_taken_when_its_lease_is_over(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    member = cluster.member("n1", boot="b1")
    await wait_until(member.registered)
    member.kill()
    one = cluster.registry()
    await one.ready()
    assert connectors(one)["n1"].boot == "b1"
    await one.register(entry("n1", boot="b2"))
    await wait_until(lambda: connectors(one)["n1"].boot == "b2")


@pytest_twisted.ensureDeferred
async def test_the_time_that_the_store_was_away_makes_nobody_a_live_rival(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    """No lease lapses in a store that is away: a killed process's stands for a while afterwards."""
    from twisted.internet import reactor

    member = cluster.member("n1", boot="b1")
    await wait_until(member.registered)
    member.kill()
    one = cluster.registry()
    registered = Deferred.fromCoroutine(one.register(entry("n1", boot="b2")))
    await wait_until(lambda: "is taken" in (one.problem or ""))
    cluster.stop_store()
    assert not one.joined
    # Longer than an entry under our name may stand unchanged.
    await deferLater(reactor, 2 * cluster.timing.lease)
    cluster.start_store()
    await registered
    assert one.joined
    assert connectors(one)["n1"].boot == "b2"


@pytest_twisted.ensureDeferred
async def test_a_process_that_slept_while_its_name_was_taken_says_so_and_disturbs_nobody(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    member = cluster.member("n1", boot="b1")
    await wait_until(member.registered)
    member.pause()
    one = cluster.registry()
    await one.register(entry("n1", boot="b2"))
    member.resume()
    await wait_until(lambda: "'n1' is taken" in member.said())
    assert connectors(one)["n1"].boot == "b2"
    # And it is there again once the name is free.
    await one.withdraw(CONNECTOR, "n1")
    await wait_until(lambda: "n1" in names(one) and connectors(one)["n1"].boot == "b1")


# --- Faults ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_killed_process_disappears(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one = cluster.registry()
    await one.register(entry("n1"))
    member = cluster.member("n2")
    await wait_until(lambda: names(one) == {"n1", "n2"})
    member.kill()
    await wait_until(lambda: names(one) == {"n1"})


@pytest_twisted.ensureDeferred
async def test_while_the_store_is_away_the_view_stays_and_afterwards_all_is_as_before(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster.let_nothing_lapse()
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1"))
    await other.register(entry("n2"))
    for registry in (one, other):
        await wait_until(lambda registry=registry: names(registry) == {"n1", "n2"})
    seen: list[set[str]] = []
    other.on_change(lambda: seen.append(names(other)))
    cluster.stop_store()
    await wait_until(lambda: one.problem and other.problem)
    assert "is unreachable" in other.problem
    assert one.joined
    assert other.joined
    one.update(entry("n1", sessions=7))
    assert names(other) == {"n1", "n2"}
    cluster.start_store()
    await wait_until(lambda: one.problem is None and other.problem is None)
    await wait_until(lambda: connectors(other)["n1"].sessions == 7)
    assert names(one) == {"n1", "n2"}
    assert all(names == {"n1", "n2"} for names in seen)


@pytest_twisted.ensureDeferred
async def test_a_store_that_freezes_is_away_until_it_answers_again(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1"))
    await other.register(entry("n2"))
    await wait_until(lambda: names(one) == names(other) == {"n1", "n2"})
    cluster.pause_store()
    await wait_until(lambda: one.problem and other.problem)
    one.update(entry("n1", draining=True))
    assert names(one) == {"n1", "n2"}
    cluster.resume_store()
    await wait_until(lambda: one.problem is None and other.problem is None)
    await wait_until(lambda: connectors(other)["n1"].draining)
    assert names(one) == names(other) == {"n1", "n2"}


@pytest_twisted.ensureDeferred
async def test_a_store_that_lost_everything_is_filled_again_and_nobody_seemed_gone(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster.let_nothing_lapse()
    registries = [cluster.registry() for _ in range(4)]
    for number, registry in enumerate(registries):
        await registry.register(entry(f"n{number}"))
    everybody = {"n0", "n1", "n2", "n3"}
    for registry in registries:
        await wait_until(lambda registry=registry: names(registry) == everybody)
    seen: list[set[str]] = []
    for registry in registries:
        registry.on_change(lambda registry=registry: seen.append(names(registry)))
    await cluster.lose_everything()
    fresh = cluster.registry()
    await wait_until(lambda: names(fresh) == everybody)
    for registry in registries:
        await wait_until(lambda registry=registry: registry.problem is None)
    assert all(names >= everybody for names in seen)


@pytest_twisted.ensureDeferred
async def test_registering_waits_for_a_store_that_is_away(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster.stop_store()
    one = cluster.registry()
    registering = Deferred.fromCoroutine(one.register(entry("n1")))
    await wait_until(lambda: one.problem is not None)
    assert not registering.called
    cluster.start_store()
    await registering
    assert names(one) == {"n1"}


@pytest_twisted.ensureDeferred
async def test_what_is_withdrawn_while_the_store_is_away_does_not_come_back(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one, other = cluster.registry(), cluster.registry()
    await one.register(entry("n1"))
    await one.register(entry("n2"))
    await wait_until(lambda: names(other) == {"n1", "n2"})
    cluster.stop_store()
    await wait_until(lambda: one.problem and other.problem)
    await one.withdraw(CONNECTOR, "n1")
    cluster.start_store()
    await wait_until(lambda: names(other) == {"n2"})
    await wait_until(lambda: names(one) == {"n2"})


@pytest_twisted.ensureDeferred
async def test_stopping_without_a_store_ends_what_waits(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster.stop_store()
    one = cluster.registry()
    waiting = [
        Deferred.fromCoroutine(one.register(entry("n1"))),
        Deferred.fromCoroutine(one.ready()),
    ]
    await one.stop()
    for deferred in waiting:
        with pytest.raises(CancelledError):
            await deferred


@pytest_twisted.ensureDeferred
async def test_a_store_that_does_not_answer_holds_up_a_stop_for_seconds_only(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    cluster.let_nothing_lapse()  # else kazoo gives up when its session does
    one = cluster.registry()
    await one.register(entry("n1"))
    cluster.pause_store()
    before = own_stops_of_kazoo()
    await one.stop()
    # It has ended before the store answers; and before kazoo gives up, after 10 s.
    assert cluster.kind != "zookeeper" or own_stops_of_kazoo() - before


@pytest_twisted.ensureDeferred
async def test_most_nodes_lost_at_once_are_held_until_that_is_verified(
    cluster: Any, entry: MakeEntry, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    one = cluster.registry()
    await one.register(entry("n1"))
    member = cluster.member("n2", "n3", "n4")
    await wait_until(lambda: len(names(one)) == 4)
    sizes: list[int] = []
    one.on_change(lambda: sizes.append(len(names(one))))
    member.kill()
    await wait_until(
        lambda: any("missing in the registry at once" in line for line in log_lines),
    )
    assert len(names(one)) > 1
    await wait_until(lambda: names(one) == {"n1"})
    assert any("were verified and are gone" in line for line in log_lines)

"""What is believed of readings, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from twisted.internet.task import Clock

from push.cluster.registry.entry import Key, RegistryEntry, encode_entry
from push.cluster.registry.view import View

C, A = "push-connector", "push-api"


def entries(keys: Iterable[Key]) -> dict[Key, bytes]:
    return {
        (s, n): encode_entry(RegistryEntry(service=s, instance=n, boot="b" + n)) for s, n in keys
    }


def connectors(count: int) -> list[Key]:
    return [(C, f"n{number}") for number in range(count)]


class Eye:
    """A view with its clock; `names` is what it believes of the connectors."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.changes = 0
        self.view = View(self.clock.seconds, self._changed, window_seconds=10)

    def _changed(self) -> None:
        self.changes += 1

    def read(self, keys: Iterable[Key], *, verifying: bool = False, doubtful: bool = False) -> None:
        self.view.read(entries(keys), verifying=verifying, doubtful=doubtful)

    @property
    def names(self) -> int:
        return len(self.view.snapshot.get(C, {}))


@pytest.fixture
def eye() -> Eye:
    return Eye()


@pytest.mark.parametrize(("before", "after"), [(1, 0), (2, 1), (4, 2), (5, 3), (100, 50)])
def test_half_or_fewer_and_a_single_one_are_believed_at_once(
    eye: Eye, before: int, after: int
) -> None:
    eye.read(connectors(before))
    eye.read(connectors(after))
    assert eye.names == after
    assert not eye.view.unsure


@pytest.mark.parametrize(("before", "after"), [(2, 0), (3, 1), (4, 1), (100, 49)])
def test_more_than_half_are_held_until_two_verifying_readings(
    eye: Eye, before: int, after: int
) -> None:
    eye.read(connectors(before))
    eye.read(connectors(after))
    assert (eye.names, eye.view.unsure) == (before, True)
    eye.read(connectors(after), verifying=True)
    assert (eye.names, eye.view.unsure) == (before, True)
    eye.read(connectors(after), verifying=True)
    assert (eye.names, eye.view.unsure) == (after, False)


def test_readings_that_something_else_set_off_confirm_nothing(eye: Eye) -> None:
    eye.read(connectors(5))
    for _ in range(10):
        eye.read(connectors(1))
    assert (eye.names, eye.view.unsure) == (5, True)


def test_who_comes_back_is_held_no_longer(eye: Eye) -> None:
    eye.read(connectors(5))
    eye.read(connectors(1))
    eye.read(connectors(5), verifying=True)
    assert (eye.names, eye.view.unsure) == (5, False)
    # And a new loss starts from the beginning.
    eye.read(connectors(1), verifying=True)
    eye.read(connectors(1), verifying=True)
    assert eye.names == 5


def test_while_some_are_held_others_come_change_and_leave(eye: Eye) -> None:
    eye.read(connectors(5))
    eye.read(connectors(1))
    eye.view.put((C, "new"), entries([(C, "new")])[(C, "new")])
    assert eye.names == 6
    eye.view.withdraw((C, "n4"))
    assert eye.names == 5


def test_losses_one_after_the_other_count_together(eye: Eye) -> None:
    eye.read(connectors(10))
    for left in (9, 8, 7, 6, 5):
        eye.clock.advance(0.5)
        eye.read(connectors(left))
        assert eye.names == left
    eye.read(connectors(4))
    assert (eye.names, eye.view.unsure) == (5, True)


def test_losses_of_long_ago_do_not_count(eye: Eye) -> None:
    eye.read(connectors(10))
    for left in range(9, 1, -1):
        eye.clock.advance(11)
        eye.read(connectors(left))
        assert eye.names == left


def test_a_service_is_judged_by_itself(eye: Eye) -> None:
    others = [(A, f"a{number}") for number in range(10)]
    eye.read([*connectors(3), *others])
    eye.read([*connectors(1), *others])
    assert (eye.names, eye.view.unsure) == (3, True)


def test_one_node_with_several_services_is_one(eye: Eye) -> None:
    everything = [(service, name) for service in (C, A, "push-sub") for name in ("n1", "n2")]
    eye.read(everything)
    eye.read([key for key in everything if key[1] == "n2"])
    assert eye.names == 1


def test_nodes_with_one_service_each_are_judged_together(eye: Eye) -> None:
    eye.read([(C, "n1"), (A, "n2"), ("push-sub", "n3")])
    eye.read([])
    assert eye.view.unsure


def test_in_a_doubtful_reading_every_loss_is_held(eye: Eye) -> None:
    eye.read(connectors(10))
    eye.read(connectors(9), doubtful=True)
    assert (eye.names, eye.view.unsure) == (10, True)
    # Later readings that are not in doubt do not believe it either, unless they verify.
    eye.read(connectors(9))
    assert eye.names == 10
    eye.read(connectors(9), verifying=True)
    eye.read(connectors(9), verifying=True)
    assert eye.names == 9


def test_nothing_new_tells_nobody(eye: Eye) -> None:
    eye.read(connectors(3))
    eye.read(connectors(3))
    assert eye.changes == 1

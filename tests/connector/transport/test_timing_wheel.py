"""Deadlines of connections: all are looked at, however many are due, and others have their turn."""

from __future__ import annotations

from twisted.internet.task import Clock

from push.connector.transport.timing_wheel import (
    NEVER,
    SECONDS_PER_TURN,
    SLOT_SECONDS,
    TimingWheel,
)

MANY = 50


class Item:
    def __init__(self) -> None:
        self.due_slot = NEVER


class World:
    """To look at an item takes half of what a turn may take. `done`: items, and "other" for work
    that came after the first of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wheel = TimingWheel(self.clock, self.look)
        self.wheel.start()
        self.done: list[Item | str] = []

    def look(self, item: Item) -> None:
        if not self.done:
            self.clock.callLater(0, self.done.append, "other")
        self.done.append(item)
        self.clock.rightNow += SECONDS_PER_TURN / 2

    def put_many(self) -> list[Item]:
        items = [Item() for _ in range(MANY)]
        for item in items:
            self.wheel.at(item, 1.0)
        return items


def test_when_many_are_due_others_have_their_turn() -> None:
    world = World()
    items = world.put_many()
    world.clock.advance(1.0 + SLOT_SECONDS)
    assert world.done.index("other") <= 3, "after a turn of the wheel"
    assert {item for item in world.done if item != "other"} == set(items)
    assert len(world.done) == MANY + 1, "each is looked at once"
    world.wheel.stop()
    assert not world.clock.getDelayedCalls()


def test_one_that_is_forgotten_while_it_is_overdue_is_not_looked_at() -> None:
    world = World()
    items = world.put_many()
    forgotten: list[Item] = []
    original = world.wheel._on_due

    def look(item: Item) -> None:
        original(item)
        if not forgotten:
            forgotten.extend(each for each in items if each is not item)
            for each in forgotten[:-1]:
                world.wheel.remove(each)
            world.wheel.remove(forgotten[-1])
            world.wheel.at(forgotten[-1], 5.0)

    world.wheel._on_due = look
    world.clock.advance(1.0 + SLOT_SECONDS)
    looked_at = [item for item in world.done if item != "other"]
    assert len(looked_at) == 1
    world.clock.advance(5.0)
    assert world.done[-1] is forgotten[-1]
    assert len([item for item in world.done if item != "other"]) == 2
    world.wheel.stop()


def test_no_more_are_looked_at_once_it_has_stopped() -> None:
    world = World()
    world.put_many()
    world.clock.callLater(1.0 + SLOT_SECONDS, world.wheel.stop)
    world.clock.advance(1.0 + SLOT_SECONDS)
    assert 0 < len(world.done) < MANY
    assert not [call for call in world.clock.getDelayedCalls() if call.active()]

"""Events of one process: who gets which, how many, and what is left out."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from push.observe.events import EventFilter, EventListener, Events, SampledEvent


class At:
    def now_ms(self) -> int:
        return 1_700_000_000_000


class Looker:
    """Somebody who looks."""

    def __init__(self, events: Events, **wanted: Any) -> None:
        self.got: list[SampledEvent] = []
        self.listener = EventListener(EventFilter(**wanted), self.got.append)
        events.add(self.listener)

    @property
    def kinds(self) -> list[str]:
        return [sampled.kind for sampled in self.got]


def make_events() -> tuple[Events, Clock]:
    clock = Clock()
    return Events(clock, At(), "n1"), clock  # type: ignore[arg-type]  # of zope


def test_nobody_looks_and_nothing_is_wanted() -> None:
    events, _ = make_events()
    assert not events.wants("acknowledged")
    events.record("acknowledged", token="t")
    looker = Looker(events, kinds=("connected",))
    assert events.wants("connected")
    assert not events.wants("acknowledged")
    events.remove(looker.listener)
    assert not events.wants("connected")


def test_an_event_must_match_all_that_is_asked_for() -> None:
    events, _ = make_events()
    annas, every = Looker(events, user="anna", token="t1"), Looker(events)
    here, elsewhere = Looker(events, node="n1"), Looker(events, node="n2")
    events.record("connected", user="anna", token="t1")
    events.record("connected", user="anna", token="t2")
    events.record("connected", user="ben", token="t1")
    events.record("pushed", message="m")
    assert [len(each.got) for each in (annas, every, here, elsewhere)] == [1, 4, 4, 0]
    assert not Events(Clock(), At(), "n3").wants("pushed")  # type: ignore[arg-type]  # of zope
    assert (every.got[0].event.node, every.got[0].event.ts) == ("n1", 1_700_000_000_000)


def test_a_listener_gets_200_a_second_and_what_is_left_out_is_counted() -> None:
    events, clock = make_events()
    looker, filtered = Looker(events), Looker(events, token="rare")
    for number in range(1000):
        events.record("disconnected", token="rare" if number == 999 else "often")
    assert len(looker.got) == 200
    assert looker.listener.sample.skipped == 800
    assert len(filtered.got) == 1  # a storm of others hides nothing of it
    clock.advance(1)
    events.record("disconnected")
    assert len(looker.got) == 201


def test_a_storm_of_messages_does_not_hide_who_connects() -> None:
    events, _ = make_events()
    looker = Looker(events)
    for _ in range(1000):
        events.record("pushed")
        events.record("acknowledged")
    for _ in range(30):
        events.record("connected")
    assert looker.kinds.count("connected") == 30
    assert len(looker.got) == 190
    assert looker.listener.sample.skipped == 2030 - 190

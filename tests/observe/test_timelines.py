"""Timelines of very many devices at once cost a bounded number of calls and of work a turn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest_twisted
from twisted.internet.defer import Deferred

from push.cluster.survey import Survey, SurveyHandler
from push.observe import journal as journal_module
from push.observe import timelines as timelines_module
from push.observe.journal import ENTRIES_PER_CALL
from push.observe.session_events import SessionEvents
from push.observe.timelines import Timelines
from push.redis.client import RedisClient
from push.redis.shards import Shards
from push.wire.idents import encode_crockford
from tests.observe.conftest import MakeDevice
from tests.waiting import WaitUntil

SESSIONS = 5_000


class Session:
    """A session of a device, as far as it is observed."""

    def __init__(self, number: int) -> None:
        self.session_id = f"session{number}"
        self.token = encode_crockford(number + 1_000_000)
        self.user = None
        self.connected_ms = 0
        self.unsettled = 0
        self.ip = "192.0.2.1"


class Nobody:
    """Nobody looks at events, and nothing else is told of an acknowledgement of a QoS 0 message."""

    wants_acknowledged = False


def make_timelines(shards: Shards, max_in_all: int = 200_000) -> Timelines:
    from twisted.internet import reactor

    store: Any = shards.first
    clock: Any = reactor
    survey = Survey(clock, store, dict, "boot")
    survey_handler = SurveyHandler(store, "boot", "n1")
    return Timelines(clock, shards, survey, survey_handler, "n1", max_in_all)


def acknowledge(timelines: Timelines, session: Session, count: int = 1) -> None:
    timelines.acknowledging[session] = timelines._wall_clock.now_ms()
    session.unsettled += count


async def script_calls(store: RedisClient) -> int:
    """How many scripts the server has run."""
    text = (await store.command("INFO", "commandstats")).decode()
    rows = [row for row in text.splitlines() if row.startswith("cmdstat_evalsha:")]
    return int(rows[0].partition("calls=")[2].partition(",")[0]) if rows else 0


@pytest_twisted.ensureDeferred
async def test_a_minute_of_many_sessions_is_one_entry_each_in_few_calls(
    store: RedisClient, shards: Shards, make_device: MakeDevice
) -> None:
    timelines = make_timelines(shards)
    sessions = [Session(number) for number in range(SESSIONS)]
    for session in sessions:
        await make_device(session.token)
    for _ in range(100):
        for session in sessions:
            acknowledge(timelines, session)
    before = await script_calls(store)
    await timelines.store_all()
    calls = await script_calls(store) - before
    assert calls <= SESSIONS // ENTRIES_PER_CALL + 2  # and one or two tries before it is loaded
    total = int(await store.command("GET", store.key("device-events-total")))
    assert total == SESSIONS
    assert not timelines.acknowledging
    page = await timelines.page(sessions[7].token, "", 10)
    assert [(each.event, each.n) for each in page.events] == [("acknowledged", 100)]
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_more_sessions_than_may_wait_are_stored_in_parts(
    store: RedisClient, shards: Shards, make_device: MakeDevice, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING", 400)
    monkeypatch.setattr(timelines_module, "SLICE", 100)
    timelines = make_timelines(shards)
    sessions = [Session(number) for number in range(1_000)]
    for session in sessions:
        await make_device(session.token)
        acknowledge(timelines, session)
        timelines.count(session.token, session.session_id, "dropped", "too_large")
    timelines.add(sessions[0].token, "connected", sessions[0].session_id)
    await timelines._settle()
    await timelines.store_all()
    assert timelines.given_up == 0
    assert int(await store.command("GET", store.key("device-events-total"))) == 2_001
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_without_redis_what_is_counted_drives_out_nothing(
    make_redis: Any, connect: Any, wait_until: WaitUntil, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING", 10)
    redis = make_redis()
    store = await connect(redis.url)
    timelines = make_timelines(Shards([store]))
    redis.stop()
    await wait_until(lambda: store.problem is not None)
    timelines.add("ended", "disconnected", "session")
    for number in range(30):
        acknowledge(timelines, Session(number))
    await timelines.store_all()
    assert timelines.given_up == 30 - 9
    (event,) = await timelines._unstored(b'"ended"')
    assert event.event == "disconnected"
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_equal_minutes_of_a_session_are_entries_each(
    store: RedisClient, shards: Shards, make_device: MakeDevice
) -> None:
    timelines = make_timelines(shards)
    session = Session(1)
    await make_device(session.token)
    minutes = []
    for minute in range(3):
        store.clock.observe((store.clock.now_us() // 60_000_000 + 1) * 60_000_000)
        acknowledge(timelines, session)
        timelines.count(session.token, session.session_id, "dropped", "too_large")
        await timelines.store_all()
        minutes.append(store.clock.now_us() // 60_000_000)
        page = await timelines.page(session.token, "", 10)
        assert len(page.events) == 2 * (minute + 1)
    assert {each.ts // 60_000 for each in page.events} == set(minutes)
    assert {(each.event, each.n) for each in page.events} == {("acknowledged", 1), ("dropped", 1)}
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_over_the_bound_of_all_the_devices_with_nothing_for_longest_have_none(
    store: RedisClient, shards: Shards, make_device: MakeDevice
) -> None:
    timelines = make_timelines(shards, max_in_all=100)
    sessions = [Session(number) for number in range(300)]
    for session in sessions:
        await make_device(session.token)
        timelines.add(session.token, "connected", session.session_id)
    await timelines.store_all()
    assert int(await store.command("GET", store.key("device-events-total"))) <= 100
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_what_strangers_say_they_are_takes_no_room_and_makes_no_timeline(
    store: RedisClient, shards: Shards, make_device: MakeDevice, monkeypatch: Any
) -> None:
    """A CONNECT that is sent elsewhere names any token: it may be none."""
    monkeypatch.setattr(timelines_module, "MAX_COUNTED", 50)
    monkeypatch.setattr(timelines_module, "MAX_CLAIMED", 20)
    timelines = make_timelines(shards)
    for number in range(1_000):
        timelines.count_claimed(encode_crockford(number), "redirected", "full")
    session = Session(1)
    await make_device(session.token)
    timelines.count(session.token, session.session_id, "dropped", "too_large")
    await timelines.store_all()
    (key,) = await store.command("KEYS", store.key("device-events:*"))
    assert key.decode() == store.key(f"device-events:{session.token}")
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_what_is_not_stored_is_found_among_many_sessions(
    shards: Shards, monkeypatch: Any
) -> None:
    monkeypatch.setattr(timelines_module, "LOOKED_AT", 7)
    timelines = make_timelines(shards)
    sessions = [Session(number) for number in range(50)]
    for number, session in enumerate(sessions):
        acknowledge(timelines, session, number + 1)
        timelines.count(session.token, session.session_id, "dropped", "too_large")
    for number in (0, 20, 49):
        token = sessions[number].token
        unstored = await timelines._unstored(msgspec.json.encode(token))
        assert {(each.event, each.session, each.n) for each in unstored} == {
            ("acknowledged", f"session{number}", number + 1),
            ("dropped", f"session{number}", 1),
        }
    # While some were looked at, it ended.
    looking = Deferred.fromCoroutine(timelines._unstored(msgspec.json.encode(sessions[0].token)))
    timelines.settle_session(sessions[0])
    assert sorted(each.event for each in await looking) == ["acknowledged", "dropped"]
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_acknowledgements_have_the_time_of_the_last_one_of_their_minute(
    store: RedisClient, shards: Shards, make_device: MakeDevice, wait_until: WaitUntil
) -> None:
    timelines = make_timelines(shards)
    timelines.start()
    session = Session(1)
    await make_device(session.token)
    began_ms = store.clock.now_ms()
    await wait_until(lambda: timelines.second_ms > began_ms)
    nobody: Any = Nobody()
    told = SessionEvents(nobody, timelines, nobody, nobody)
    told.acknowledged_online(session, "m1")
    at_ms = timelines.second_ms
    asked = msgspec.json.encode(session.token)
    [unstored] = await timelines._unstored(asked)
    assert at_ms <= unstored.ts <= store.clock.now_ms()
    await wait_until(lambda: store.clock.now_ms() > at_ms + 1000)  # and then it stays
    [unstored] = await timelines._unstored(asked)
    assert (unstored.event, unstored.n, unstored.ts) == ("acknowledged", 1, at_ms + 1000)
    await timelines.store_all()
    assert (await timelines.page(session.token, "", 10)).events == [unstored]
    timelines.stop()


@pytest_twisted.ensureDeferred
async def test_what_is_counted_has_the_time_of_the_last_one_from_the_first_look_on(
    store: RedisClient, shards: Shards, make_device: MakeDevice, wait_until: WaitUntil
) -> None:
    timelines = make_timelines(shards)
    session = Session(1)
    await make_device(session.token)
    before_ms = store.clock.now_ms()
    timelines.count(session.token, session.session_id, "dropped", "too_large")
    after_ms = store.clock.now_ms()

    asked = msgspec.json.encode(session.token)
    first = await timelines._unstored(asked)
    [dropped] = first
    assert before_ms <= dropped.ts <= after_ms
    assert (dropped.event, dropped.n) == ("dropped", 1)
    await wait_until(lambda: store.clock.now_ms() > after_ms)
    assert await timelines._unstored(asked) == first
    await timelines.store_all()
    assert (await timelines.page(session.token, "", 10)).events == first
    timelines.stop()

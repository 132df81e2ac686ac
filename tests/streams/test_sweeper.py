"""What has expired leaves the logs, is counted, and leaves no key behind (rules 6 and 7)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from push.streams.sweeper import QUEUE, STREAMS_PER_CLAIM, SWEEP_SECONDS, Sweeper
from tests.waiting import WaitUntil

DAY = 86_400
KINDS = pytest.mark.parametrize("stream", ["all", "dev:t", "user:u"])


@pytest.fixture
def make_sweeper(store: Any) -> Any:
    """`make_sweeper(max_age_seconds=60)`: one whose turns come by `clock` alone."""

    def make(*, max_age_seconds: int = DAY, clock: Clock | None = None) -> Sweeper:
        return Sweeper(clock or Clock(), store, max_age_seconds)

    return make


async def due_at_ms(desk: Any, stream: str) -> int | None:
    """When the sweeper is to come for a stream."""
    score = await desk.store.command("ZSCORE", desk.store.key("expiry"), stream)
    return None if score is None else int(score)


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_has_expired_is_counted_and_nothing_is_left_of_an_empty_log(
    desk: Any, make_sweeper: Any, stream: str
) -> None:
    await desk.phone("t", user="u")
    sent = await desk.push(stream, ttl_seconds=60, collapse="k")
    assert await make_sweeper().sweep() == 0
    await desk.pass_time(61)

    assert await make_sweeper().sweep() == 1

    funnel = await desk.funnel(sent.id)
    assert (funnel.expired, funnel.written) == (1, 0)
    assert await desk.keys() == {"device:t", "devices", "user-devices:u", f"message:{sent.id}"}
    assert await make_sweeper().sweep() == 0


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_lives_longer_stays_wherever_it_lies_in_the_log(
    desk: Any, make_sweeper: Any, stream: str
) -> None:
    await desk.phone("t", user="u")
    ttls = [60, 3600, 60, 600, 60]
    sent = [await desk.push(stream, ttl_seconds=ttl) for ttl in ttls]
    await desk.pass_time(61)
    await make_sweeper().sweep()

    assert [entry.id for entry in await desk.log(stream)] == [sent[1].id, sent[3].id]
    assert [(await desk.funnel(p.id)).expired for p in sent] == [1, 0, 1, 0, 1]
    assert await due_at_ms(desk, stream) == sent[3].offset // 1000 + 600_000
    await desk.pass_time(600)
    await make_sweeper().sweep()
    assert [entry.id for entry in await desk.log(stream)] == [sent[1].id]


@KINDS
@pytest_twisted.ensureDeferred
async def test_who_had_acknowledged_it_does_not_count_as_expired(
    desk: Any, make_sweeper: Any, stream: str
) -> None:
    done = await desk.phone("t", user="u")
    sent = await desk.push(stream, ttl_seconds=60)
    await desk.hand_out(stream, done)
    desk.acknowledge(stream, done, sent.id)
    await desk.writer.flush()
    await desk.pass_time(61)
    await make_sweeper().sweep()

    funnel = await desk.funnel(sent.id)
    assert (funnel.acknowledged, funnel.expired) == (1, 0)


@KINDS
@pytest_twisted.ensureDeferred
async def test_an_acknowledgement_that_was_under_way_counts(
    desk: Any, make_sweeper: Any, stream: str
) -> None:
    phone = await desk.phone("t", user="u")
    sent = await desk.push(stream, ttl_seconds=60)
    await desk.hand_out(stream, phone)
    await desk.pass_time(61)
    await make_sweeper().sweep()
    assert (await desk.funnel(sent.id)).expired == 1
    desk.acknowledge(stream, phone, sent.id)

    funnel = await desk.funnel(sent.id)
    assert (funnel.acknowledged, funnel.expired, funnel.written) == (1, 0, 1)


@pytest_twisted.ensureDeferred
async def test_a_log_of_many_parts_is_swept_whole(desk: Any, make_sweeper: Any) -> None:
    await desk.phone("t")
    for n in range(650):
        await desk.push("dev:t", ttl_seconds=60 if n % 2 else 600)
    await desk.pass_time(61)
    await make_sweeper().sweep()

    left = await desk.log("dev:t")
    assert len(left) == 325
    due = await due_at_ms(desk, "dev:t")
    assert due == left[0].expires_ms
    await desk.pass_time(601)
    await make_sweeper().sweep()
    assert await desk.log("dev:t") == []
    assert await due_at_ms(desk, "dev:t") is None


@pytest_twisted.ensureDeferred
async def test_what_comes_between_two_parts_is_not_forgotten(
    desk: Any, make_sweeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It expires before all that was there."""
    for _ in range(250):
        await desk.push("all", ttl_seconds=3600)
    first = await desk.push("all", ttl_seconds=60)
    await desk.pass_time(61)
    run, parts = desk.store.run, []

    async def run_and_publish(script: Any, *arguments: Any, **options: Any) -> Any:
        reply = await run(script, *arguments, **options)
        if script.name == "expire" and not parts:
            parts.append(await desk.push("all", ttl_seconds=30))
        return reply

    monkeypatch.setattr(desk.store, "run", run_and_publish)
    assert await make_sweeper().sweep() == 1

    assert first.id not in {entry.id for entry in await desk.log("all")}
    assert await due_at_ms(desk, "all") == parts[0].offset // 1000 + 30_000


@pytest_twisted.ensureDeferred
async def test_more_streams_than_one_claim_takes_are_swept_in_one_go(
    desk: Any, make_sweeper: Any
) -> None:
    users = [f"user:u{n}" for n in range(2 * STREAMS_PER_CLAIM + 5)]
    await desk.push(*users, ttl_seconds=60)
    await desk.pass_time(61)

    assert await make_sweeper().sweep() == len(users)
    assert not [key for key in await desk.keys() if key.startswith(("log:", "expiry"))]


@pytest_twisted.ensureDeferred
async def test_several_sweepers_share_the_work_and_count_once(desk: Any, make_sweeper: Any) -> None:
    await desk.phone("t")
    sent = await desk.push("all", *(f"user:u{n}" for n in range(250)), ttl_seconds=60)
    await desk.pass_time(61)
    sweeps = [Deferred.fromCoroutine(make_sweeper().sweep()) for _ in range(4)]

    assert sum(await gatherResults(sweeps)) == 251
    assert (await desk.funnel(sent.id)).expired == (await desk.funnel(sent.id)).addressed


@pytest_twisted.ensureDeferred
async def test_a_stream_whose_sweeper_died_is_swept_a_minute_later(
    desk: Any, make_sweeper: Any
) -> None:
    await desk.push("all", ttl_seconds=60)
    await desk.pass_time(61)
    assert await QUEUE.claim(desk.store, STREAMS_PER_CLAIM) == [b"all"]

    assert await make_sweeper().sweep() == 0
    await desk.pass_time(60)
    assert await make_sweeper().sweep() == 1


@pytest_twisted.ensureDeferred
async def test_what_was_published_to_a_claimed_stream_is_swept_in_its_time(
    desk: Any, make_sweeper: Any
) -> None:
    await desk.push("all", ttl_seconds=60)
    await desk.pass_time(61)
    await QUEUE.claim(desk.store, STREAMS_PER_CLAIM)
    await desk.push("all", ttl_seconds=1)
    await desk.pass_time(2)

    assert await make_sweeper().sweep() == 1
    assert await desk.log("all") == []


@pytest.mark.parametrize(("stream", "dropped"), [("all", 1), ("user:u", 1), ("dev:t", 0)])
@pytest_twisted.ensureDeferred
async def test_what_many_follow_is_dropped_when_it_is_too_old_and_who_had_not_read_it_can_see(
    desk: Any, make_sweeper: Any, stream: str, dropped: int
) -> None:
    """A device's own messages stay until they expire."""
    await desk.phone("t", user="u")
    old = await desk.push(stream, ttl_seconds=30 * DAY)
    await desk.pass_time(3 * DAY)
    new = await desk.push(stream, ttl_seconds=60)
    await desk.pass_time(61)
    await make_sweeper(max_age_seconds=2 * DAY).sweep()

    funnel = await desk.funnel(old.id)
    assert funnel.dropped == ({"retention": 1} if dropped else {})
    assert (await desk.funnel(new.id)).expired == 1
    lost = await desk.store.command("GET", desk.store.key(f"lost:{stream}"))
    assert lost == (str(old.offset).encode() if dropped else None)
    assert len(await desk.log(stream)) == 1 - dropped


@pytest_twisted.ensureDeferred
async def test_age_is_looked_at_once_a_day(desk: Any, make_sweeper: Any) -> None:
    await desk.push("all", ttl_seconds=30 * DAY)
    await desk.push("all", ttl_seconds=60)
    await desk.pass_time(61)
    await make_sweeper(max_age_seconds=2 * DAY).sweep()
    due = await due_at_ms(desk, "all")
    now_ms = desk.store.clock.now_us() // 1000

    assert due is not None
    assert now_ms < due <= now_ms + DAY * 1000
    for _ in range(2):
        await desk.pass_time(DAY)
        await make_sweeper(max_age_seconds=2 * DAY).sweep()
    assert await desk.log("all") == []


@pytest_twisted.ensureDeferred
async def test_expiry_is_no_loss_that_is_told(desk: Any, make_sweeper: Any) -> None:
    await desk.push("all", ttl_seconds=60)
    await desk.pass_time(10 * DAY)
    await make_sweeper(max_age_seconds=DAY).sweep()

    assert await desk.keys() == {"message:m1"}


@pytest_twisted.ensureDeferred
async def test_a_sweep_comes_by_itself_and_stops(
    desk: Any, make_sweeper: Any, wait_until: WaitUntil
) -> None:
    clock = Clock()
    sweeper = make_sweeper(clock=clock)
    await desk.push("all", ttl_seconds=60)
    await desk.pass_time(61)
    sweeper.start()
    clock.advance(SWEEP_SECONDS)
    await wait_until(lambda: bool(clock.getDelayedCalls()))  # the next turn

    assert await desk.log("all") == []
    sweeper.stop()
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_stop_in_the_middle_of_a_sweep_is_no_error(desk: Any, make_sweeper: Any) -> None:
    clock = Clock()
    sweeper = make_sweeper(clock=clock)
    await desk.push("all", ttl_seconds=60)
    await desk.pass_time(61)
    sweeper.start()
    clock.advance(SWEEP_SECONDS)
    sweeper.stop()
    await desk.store.command("PING")

    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_devices_that_have_acknowledged_all_leave_the_queue_together_when_their_time_comes(
    desk: Any, make_sweeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the next message finds them there; none of them costs a call of its own."""
    phones = {f"dev:t{n}": await desk.phone(f"t{n}") for n in range(5)}
    for stream, phone in phones.items():
        sent = await desk.push(stream, ttl_seconds=60)
        await desk.hand_out(stream, phone)
        desk.acknowledge(stream, phone, sent.id)
    await desk.writer.flush()
    assert not [key for key in await desk.keys() if key.startswith("log:")]
    waiting = await desk.push("dev:t0", ttl_seconds=600)
    await desk.pass_time(61)
    run, names = desk.store.run, []

    async def counted(script: Any, *arguments: Any, **options: Any) -> Any:
        names.append(script.name)
        return await run(script, *arguments, **options)

    monkeypatch.setattr(desk.store, "run", counted)
    assert await make_sweeper().sweep() == len(phones)

    assert names.count("drop_empty") == names.count("expire") == 1
    assert await due_at_ms(desk, "dev:t0") == waiting.offset // 1000 + 600_000
    assert [await due_at_ms(desk, stream) for stream in phones if stream != "dev:t0"] == [None] * 4


@pytest_twisted.ensureDeferred
async def test_a_message_that_expires_sooner_than_one_acknowledged_before_is_swept_in_time(
    desk: Any, make_sweeper: Any
) -> None:
    phone = await desk.phone("t")
    first = await desk.push("dev:t", ttl_seconds=3600)
    await desk.hand_out("dev:t", phone)
    desk.acknowledge("dev:t", phone, first.id)
    await desk.writer.flush()
    second = await desk.push("dev:t", ttl_seconds=60)
    await desk.pass_time(61)

    assert await make_sweeper().sweep() == 1

    assert (await desk.funnel(second.id)).expired == 1
    assert await due_at_ms(desk, "dev:t") is None

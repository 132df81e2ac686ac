"""What a connector keeps of logs in memory, and how several readers share one read."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from push.redis.connection.errors import StoreUnavailable
from push.runtime.turn_share import TurnShare, TurnTime
from push.session.entry import Entry
from push.streams.channel import Channel
from push.streams.log import LogReader, LogReading
from push.streams.log_cache import ENTRY_BYTES, RUN_ENTRIES, LogCache
from push.streams.shared_reader import SHARED_PAGE_ENTRIES, SharedLogReader


def entry(offset: int, previous: int = 0, size_bytes: int = 10) -> Entry:
    return Entry(f"m{offset}", previous, offset, b"x" * size_bytes)


def offsets(entries: list[Entry]) -> list[int]:
    return [item.offset for item in entries]


def remembered(*live: tuple[int, int]) -> LogCache:
    memory = LogCache()
    for previous, offset in live:
        memory.add_live("all", entry(offset, previous))
    return memory


# --- LogMemory -----


def test_nothing_is_known_behind_the_end_or_before_the_beginning() -> None:
    memory = remembered((5, 7), (7, 9))

    assert offsets(memory.after("all", 5, 10)) == [7, 9]
    assert offsets(memory.after("all", 7, 10)) == [9]
    assert offsets(memory.after("all", 8, 10)) == [9]
    assert memory.after("all", 4, 10) == []
    assert memory.after("all", 9, 10) == []
    assert memory.after("user:u", 5, 10) == []


def test_no_more_is_given_than_is_asked_for() -> None:
    assert offsets(remembered((5, 7), (7, 9)).after("all", 5, 1)) == [7]


def test_a_gap_begins_anew() -> None:
    memory = remembered((5, 7), (8, 9))

    assert memory.after("all", 5, 10) == []
    assert offsets(memory.after("all", 8, 10)) == [9]


def test_a_message_behind_one_that_was_taken_out_of_the_log_goes_on() -> None:
    memory = remembered((5, 7), (7, 9))
    memory.remove("all", 9)
    memory.add_live("all", entry(11, 7))

    assert offsets(memory.after("all", 5, 10)) == [7, 11]


def test_what_is_known_twice_is_kept_once() -> None:
    memory = remembered((5, 7), (7, 9))
    memory.add_live("all", entry(9, 7))
    memory.add_read("all", 5, [entry(7, 5), entry(9, 7)])
    memory.add_read("all", 7, [entry(9, 7), entry(11, 9)])

    assert offsets(memory.after("all", 5, 10)) == [7, 9]
    assert offsets(memory.after("all", 9, 10)) == [11]


def test_what_was_taken_out_is_given_to_nobody() -> None:
    memory = remembered((5, 7), (7, 9))
    memory.add_read("all", 1, [entry(3, 1), entry(7, 3), entry(9, 7)])
    for offset in (7, 9, 8):
        memory.remove("all", offset)
    memory.remove("user:u", 7)

    assert offsets(memory.after("all", 1, 10)) == [3]
    assert memory.after("all", 3, 10) == []
    assert memory.after("all", 5, 10) == []


def test_a_run_is_bounded_and_forgets_its_oldest() -> None:
    memory = LogCache()
    last = RUN_ENTRIES + 10
    for offset in range(1, last + 1):
        memory.add_live("all", entry(offset, offset - 1))

    assert memory.after("all", 9, 5) == []
    assert offsets(memory.after("all", 10, 1)) == [11]
    assert offsets(memory.after("all", last - 1, 5)) == [last]


def test_the_least_recently_used_stream_goes_first_and_sizes_add_up() -> None:
    one = 2 * 100 + ENTRY_BYTES
    memory = LogCache(max_bytes=3 * one)
    for stream in ("a", "b", "c"):
        memory.add_live(stream, entry(1, 0, 100))
    memory.add_live("a", entry(2, 1, 100))

    assert memory.after("b", 0, 1) == []
    assert offsets(memory.after("a", 0, 5)) == [1, 2]
    assert memory.size_bytes == 3 * one
    memory.remove("a", 1)
    assert memory.size_bytes == 2 * one
    memory.forget("c")
    assert memory.size_bytes == one
    memory.clear()
    assert (memory.size_bytes, memory.after("a", 0, 5)) == (0, [])


def test_a_message_larger_than_all_memory_is_not_kept() -> None:
    memory = LogCache(max_bytes=1000)
    memory.add_live("all", entry(1, 0, 5000))

    assert memory.size_bytes == 0
    assert memory.after("all", 0, 1) == []


# --- PageReader -----


class HeldReader:
    """A reader of the real log whose answers arrive when the test lets them."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.reads = 0
        self._gates: list[Deferred[None]] = []
        self.open = False

    async def read(self, wanted: Any) -> LogReading:
        self.reads += 1
        gate: Deferred[None] = Deferred()
        self._gates.append(gate)
        reading = await self._reader.read(wanted)
        if not self.open:
            await gate
        return reading

    def release(self) -> None:
        self.open = True
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.callback(None)

    def fail(self) -> None:
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.errback(StoreUnavailable("away"))


class Readers:
    """Two followers of a stream, a reader for them, and the hub's memory."""

    def __init__(self, ear: Any, channel: Channel) -> None:
        self.ear = ear
        self.channel = channel
        self.held = HeldReader(ear.reader)
        reader: Any = self.held
        steps = TurnShare(TurnTime(ear.server.reactor), 16)
        self.pages = SharedLogReader(ear.server, reader, ear.log_cache, steps)

    def read(self, after: int = 0, limit: int = 10) -> Deferred[LogReading]:
        return Deferred.fromCoroutine(self.pages.read([(self.channel, after, limit)]))


async def ids_of(reading: Deferred[LogReading]) -> list[str]:
    return [item.id for item in (await reading).pages[0].entries]


@pytest.fixture
def make_reading(listen: Any, store: Any) -> Any:
    async def make(*, followers: int = 2, stream: str = "all") -> Readers:
        ear = listen(store)
        for n in range(followers):
            channel = await ear.follow(stream, who=f"follower {n}")
        return Readers(ear, channel)

    return make


@pytest_twisted.ensureDeferred
async def test_a_page_that_is_being_read_is_waited_for_and_read_once(
    make_reading: Any, sender: Any, ids: Any
) -> None:
    for n in range(3):
        await sender.send("all", n=n, announced=False)
    reading = await make_reading()
    readers = [reading.read() for _ in range(50)]
    reading.held.release()

    assert [await ids_of(reader) for reader in readers] == [ids(0, 2)] * 50
    assert reading.held.reads == 1
    assert reading.channel.readers == 0


@pytest_twisted.ensureDeferred
async def test_a_page_for_many_is_read_larger_than_one_asks_for(
    make_reading: Any, sender: Any, ids: Any
) -> None:
    for n in range(SHARED_PAGE_ENTRIES + 6):
        await sender.send("all", n=n, announced=False)
    reading = await make_reading()
    reading.held.release()

    assert await ids_of(reading.read(0, 10)) == ids(0, SHARED_PAGE_ENTRIES - 1)
    assert await ids_of(reading.read(0, 10)) == ids(0, 9)
    assert reading.held.reads == 1


@pytest_twisted.ensureDeferred
async def test_nothing_is_kept_of_what_one_alone_reads(make_reading: Any, sender: Any) -> None:
    await sender.send("all", n=1, announced=False)
    reading = await make_reading(followers=1)
    reading.held.release()

    assert await ids_of(reading.read()) == ["m1"]
    assert await ids_of(reading.read()) == ["m1"]
    assert reading.held.reads == 2
    assert reading.ear.log_cache.size_bytes == 0


@pytest_twisted.ensureDeferred
async def test_a_page_from_memory_is_never_complete(make_reading: Any, sender: Any) -> None:
    sent = await sender.send("all", n=1, announced=False)
    reading = await make_reading()
    reading.held.release()
    first, again = (await reading.read()).pages[0], (await reading.read()).pages[0]
    end = (await reading.read(sent.offset)).pages[0]

    assert (first.complete, again.complete) == (True, False)
    assert (end.complete, end.entries) == (True, [])


@pytest_twisted.ensureDeferred
async def test_who_waited_for_a_read_that_failed_reads_by_itself(
    make_reading: Any, sender: Any
) -> None:
    await sender.send("all", n=1, announced=False)
    reading = await make_reading()
    first, second = reading.read(), reading.read()
    while reading.held.reads < 2:
        reading.held.fail()
        await reading.ear.server.command("PING")
    reading.held.release()

    with pytest.raises(StoreUnavailable):
        await first
    assert await ids_of(second) == ["m1"]
    assert reading.channel.readers == 0


@pytest_twisted.ensureDeferred
async def test_who_gives_up_waiting_disturbs_nobody(make_reading: Any, sender: Any) -> None:
    await sender.send("all", n=1, announced=False)
    reading = await make_reading()
    first, second, third = reading.read(), reading.read(), reading.read()
    second.cancel()
    with pytest.raises(CancelledError):
        await second
    reading.held.release()

    assert await ids_of(first) == await ids_of(third) == ["m1"]
    assert reading.channel.readers == 0


@pytest_twisted.ensureDeferred
async def test_who_waited_for_one_that_gave_up_reads_by_itself(
    make_reading: Any, sender: Any
) -> None:
    await sender.send("all", n=1, announced=False)
    reading = await make_reading()
    first, second = reading.read(), reading.read()
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    reading.held.release()

    assert await ids_of(second) == ["m1"]


@pytest.mark.parametrize("followers", [1, 2])
@pytest_twisted.ensureDeferred
async def test_rule_16_what_is_taken_out_while_it_is_read_is_not_handed_out(
    make_reading: Any, desk: Any, wait_until: Any, store: Any, followers: int
) -> None:
    """The log was read before, and the answer comes after it was said on the channel."""
    kept, gone = await desk.push("all"), await desk.push("all")
    reading = await make_reading(followers=followers)
    first = reading.read()
    await store.command("PING")
    await desk.cancel(gone.id, "all")
    await wait_until(lambda: reading.channel.removed)
    reading.held.release()

    assert await ids_of(first) == [kept.id]
    assert await ids_of(reading.read()) == [kept.id]
    assert reading.channel.removed is None


@pytest_twisted.ensureDeferred
async def test_rule_16_what_is_taken_out_while_another_stream_is_read_is_not_handed_out(
    make_reading: Any, desk: Any, wait_until: Any
) -> None:
    """The page of one stream is known, the other's has to be waited for."""
    reading = await make_reading()
    other = await reading.ear.follow("user:u")
    sent = await desk.push("all")
    await wait_until(lambda: reading.ear.log_cache.after("all", 0, 1))
    both = Deferred.fromCoroutine(reading.pages.read([(reading.channel, 0, 9), (other, 0, 9)]))
    await desk.cancel(sent.id, "all")
    await wait_until(lambda: not reading.ear.log_cache.after("all", 0, 1))
    reading.held.release()

    assert [page.entries for page in (await both).pages] == [[], []]


@pytest_twisted.ensureDeferred
async def test_what_is_read_for_a_stream_that_is_followed_no_longer_is_not_kept(
    make_reading: Any, sender: Any
) -> None:
    """Nobody would tell what is taken out of its log."""
    await sender.send("all", n=1, announced=False)
    reading = await make_reading()
    first = reading.read()
    for n in range(2):
        reading.ear.hub.unfollow("all", f"follower {n}")
    reading.held.release()
    await first

    assert reading.ear.log_cache.size_bytes == 0


@pytest_twisted.ensureDeferred
async def test_what_comes_live_for_many_is_remembered_until_it_is_taken_out(
    make_reading: Any, desk: Any, wait_until: Any
) -> None:
    reading = await make_reading()
    before = reading.channel.last
    await desk.push("all", collapse="k")
    second = await desk.push("all", collapse="k")
    await wait_until(lambda: reading.channel.last == second.offset)

    assert [e.id for e in reading.ear.log_cache.after("all", before, 9)] == [second.id]

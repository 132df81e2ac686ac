"""Cursors that moved alike are stored together: each device is counted as if it were alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import pytest_twisted

from push.redis.connection.errors import StoreUnavailable
from push.session.entry import Batch
from push.streams.cursors import writer
from push.streams.cursors.moves import MOST_MESSAGES, Move
from tests.streams.conftest import Phone

PHONES = 60
MESSAGES = 8
STREAM = "all"


class Crowd:
    """Phones that get messages together, as on a channel, and acknowledge as they like."""

    def __init__(self, desk: Any, phones: list[Phone], chance: random.Random) -> None:
        self.desk = desk
        self.phones = phones
        self.chance = chance
        self.sent: list[str] = []
        self.offsets: dict[str, int] = {}
        self.got: dict[Phone, set[str]] = {phone: set() for phone in phones}
        self.number = 0

    async def publish(self, count: int) -> None:
        """Some of the phones get all of it, as one object; the others miss it."""
        self.sent += [(await self.desk.push(STREAM)).id for _ in range(count)]
        entries = [each for each in await self.desk.log(STREAM) if each.id in self.sent[-count:]]
        for entry in entries:
            self.number += 1
            entry.message_id = self.number
            self.offsets[entry.id] = entry.offset
        batch = Batch(entries)
        for phone in self.phones:
            if self.chance.random() < 0.8 and phone.subscriptions[STREAM].position == self.before:
                phone.window.add_all(
                    phone.subscriptions[STREAM], batch.handed_out(1.0), batch.stored_bytes
                )
                self.desk.writer.handed(phone, phone.subscriptions[STREAM])
                self.got[phone] |= {entry.id for entry in entries}
                for entry in entries:
                    phone.numbers[entry.id] = entry.message_id
        self.before = entries[-1].offset

    before = 0

    def acknowledge(self) -> None:
        for phone in self.phones:
            open_ = [id for id in self.sent if id in phone.numbers]
            what = self.chance.random()
            if what < 0.5:  # in order, as most do
                chosen = open_[: self.chance.randint(0, len(open_))]
                numbers = [phone.numbers.pop(id) for id in chosen]
                if numbers and phone.window.acknowledge_in_order(numbers, 2.0) is None:
                    for number in numbers:
                        phone.window.acknowledge(number, 2.0)
            elif what < 0.7:
                chosen = self.chance.sample(open_, self.chance.randint(0, len(open_)))
                for id in chosen:
                    phone.window.acknowledge(phone.numbers.pop(id), 2.0)
            self.desk.writer.moved(phone, phone.subscriptions[STREAM])

    async def check(self, gone: set[Phone]) -> None:
        for id in self.sent:
            funnel = await self.desk.funnel(id)
            here = [phone for phone in self.phones if phone not in gone]
            cursors = [
                phone.subscriptions[STREAM].cursor for phone in here if id in self.got[phone]
            ]
            done = [cursor for cursor in cursors if cursor >= self.offsets[id]]
            assert (funnel.written, funnel.acknowledged) == (len(cursors), len(done)), id
        for phone in self.phones:
            stored = await self.desk.store.command(
                "HGET", self.desk.store.key(f"device:{phone.token}"), f"c:{STREAM}"
            )
            if phone not in gone:
                assert int(stored) == phone.subscriptions[STREAM].cursor


async def make_crowd(desk: Any, seed: int) -> Crowd:
    phones = [await desk.phone(f"t{number}") for number in range(PHONES)]
    crowd = Crowd(desk, phones, random.Random(seed))
    crowd.before = phones[-1].subscriptions[STREAM].position
    for phone in phones:
        phone.subscriptions[STREAM].position = crowd.before
        phone.subscriptions[STREAM].cursor = crowd.before
        phone.subscriptions[STREAM].reported = crowd.before
        key = desk.store.key(f"device:{phone.token}")
        await desk.store.command("HSET", key, f"c:{STREAM}", crowd.before)
    return crowd


@pytest.mark.parametrize("most_messages", [MOST_MESSAGES, 5])
@pytest.mark.parametrize("seed", range(4))
@pytest_twisted.ensureDeferred
async def test_each_of_many_devices_is_counted_for_what_it_got_and_acknowledged(
    desk: Any, seed: int, most_messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_MESSAGES", most_messages)
    batches: list[list[Move]] = []
    encoded = writer.encoded

    def note(batch: list[Move]) -> bytes:
        batches.append(batch)
        return encoded(batch)

    monkeypatch.setattr(writer, "encoded", note)
    crowd = await make_crowd(desk, seed)
    for _ in range(MESSAGES):
        await crowd.publish(crowd.chance.randint(1, 3))
        crowd.acknowledge()
        if crowd.chance.random() < 0.5:
            await desk.writer.flush()
            assert not desk.writer._waiting
    await crowd.check(set())
    for batch in batches:
        assert len(batch) == 1 or sum(len(move.messages) for move in batch) <= most_messages


@pytest_twisted.ensureDeferred
async def test_sessions_that_were_taken_over_are_told_among_those_that_moved_alike(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = await make_crowd(desk, 5)
    lost: list[Any] = []
    monkeypatch.setattr(desk.writer, "_on_lost", lost.append)
    gone = set(crowd.chance.sample(crowd.phones, 7))
    for phone in gone:
        await desk.store.command("HSET", desk.store.key(f"device:{phone.token}"), "s", "another")
    crowd.chance = random.Random(6)
    await crowd.publish(2)
    for phone in crowd.phones:
        phone.window.acknowledge_in_order(list(phone.numbers.values()), 2.0)
        desk.writer.moved(phone, phone.subscriptions[STREAM])
    await crowd.check(gone)
    assert set(lost) == gone
    assert len(lost) == len(gone), "each once"


@pytest_twisted.ensureDeferred
async def test_what_was_not_stored_goes_with_the_next_batch_of_each(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answers are lost: nobody knows whether the cursors were stored."""
    crowd = await make_crowd(desk, 7)
    run, calls = desk.store.run, []

    async def run_and_lose(*arguments: Any, **options: Any) -> Any:
        reply = await run(*arguments, **options)
        calls.append(arguments)
        if len(calls) <= 2:
            raise StoreUnavailable("the answer was lost", unknown=True)
        return reply

    await crowd.publish(3)
    monkeypatch.setattr(desk.store, "run", run_and_lose)
    crowd.acknowledge()
    await desk.writer.flush()
    crowd.acknowledge()
    await desk.writer.flush()
    assert len(calls) == 2
    monkeypatch.setattr(desk.store, "run", run)
    await crowd.publish(2)
    crowd.acknowledge()
    await crowd.check(set())

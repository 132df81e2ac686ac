"""The items of a batch: a large one is read in turns, and found to be what a small one would be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.http.routes import batches
from push.http.routes.batches import PartTurns, read_items, read_items_in_turns
from push.wire.api.push import MAX_BATCH_ITEMS
from push.wire.errors import RequestError

GOOD = [
    b"[1]",
    b' [ 1 , "x" ,null,true,-1.5e3 ] \n',
    b'[{"a":[1,2,{"b":"]"}]},"\\"],[",[[],[]]]',
    '["é€😀"]'.encode(),
    b"[" + b"[" * 31 + b"]" * 31 + b"]",
    json.dumps([{"to": {"user": "u"}, "data": "x" * 50}] * MAX_BATCH_ITEMS).encode(),
]
BAD = [
    b"[]",
    b" [ ] ",
    b"{}",
    b'{"a":1}',
    b'"text"',
    b"1",
    b"",
    b" ",
    b"[",
    b"[1",
    b"[1,",
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"[1]2",
    b"[1]]",
    b"[1}",
    b"[nul]",
    b"[01]",
    b'["\xff"]',
    b'["x]',
    b"[" * 100_000,
    b"{" * 10,
    b"\xff",
    b"[" + b"1," * MAX_BATCH_ITEMS + b"1]",
    b"[" + b"1," * MAX_BATCH_ITEMS + b"}",
]


class CountingClock(Clock):
    """Counts how often something was put off."""

    calls_made = 0

    def callLater(self, when: float, what: Any, *args: Any, **kw: Any) -> Any:
        self.calls_made += 1
        return super().callLater(when, what, *args, **kw)


class Reading:
    """`read_items_in_turns`, with a clock of a test."""

    def __init__(self) -> None:
        self.clock = CountingClock()

    def read(self, raw: bytes) -> tuple[list[bytes], int]:
        """The items, and how many turns it took."""
        items = Deferred.fromCoroutine(read_items_in_turns(PartTurns(self.clock), "anna", raw))
        while not items.called:
            self.clock.advance(0)
        found: list[bytes] = []
        failed: list[BaseException] = []
        items.addCallbacks(
            lambda read: found.extend(map(bytes, read)),
            lambda failure: failed.append(failure.value),
        )
        if failed:
            raise failed[0]
        return found, 1 + self.clock.calls_made


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """Every body is a large one."""
    monkeypatch.setattr(batches, "PART_BYTES", -1)
    return Reading()


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_a_large_body_has_the_items_that_it_would_have_as_a_small_one(
    in_parts: Reading, number: int
) -> None:
    items, turns = in_parts.read(GOOD[number])
    assert [json.loads(item) for item in items] == json.loads(GOOD[number])
    assert [item.strip() for item in items] == [bytes(item) for item in read_items(GOOD[number])]
    assert turns == len(items) + 1


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_large_body_is_refused_for_what_a_small_one_would_be(
    in_parts: Reading, number: int
) -> None:
    with pytest.raises(RequestError) as small:
        read_items(BAD[number])
    with pytest.raises(RequestError) as large:
        in_parts.read(BAD[number])
    assert large.value.code == small.value.code
    if small.value.code == "invalid":
        assert large.value.detail == small.value.detail


def test_of_a_large_body_a_turn_reads_a_part() -> None:
    raw = json.dumps(["x" * 100_000] * 160).encode()
    items, turns = Reading().read(raw)
    assert len(items) == 160
    assert 12 <= turns <= 17


def test_a_small_body_is_read_at_once() -> None:
    items, turns = Reading().read(b"[1,2,3]")
    assert (items, turns) == ([b"1", b"2", b"3"], 1)


def test_a_turn_works_off_one_part_of_all_batches_and_each_owner_has_one_after_the_other() -> None:
    clock = Clock()
    turns = PartTurns(clock)
    done: list[str] = []

    async def batch(owner: str) -> None:
        for _ in range(2):
            await turns.next(owner)
            done.append(owner)

    for owner in ("greedy", "greedy", "greedy", "anna"):
        Deferred.fromCoroutine(batch(owner)).addErrback(done.append)
    for number in range(8):
        assert len(done) == number
        (call,) = clock.getDelayedCalls()  # all that the next turn does
        work, given = call.func, call.args
        call.cancel()
        work(*given)
    assert len(done) == 8
    assert done[:4] == ["greedy", "greedy", "anna", "greedy"]

"""A fan-out over several turns: pieces of it, and what comes meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.connector.delivery import fanout, rounds
from push.connector.delivery.rounds import LEAST_ENTRY_BYTES, MOST_SINCE_BYTES, Round
from push.runtime.turn_share import TurnTime
from push.session.entry import Batch, Entry
from push.session.subscription import Subscription
from push.streams.channel import Channel
from push.streams.ledger import CONGESTED
from push.wire.signals import DisconnectCode
from tests.connector.conftest import Client, Node
from tests.waiting import WaitUntil

ROOM = MOST_SINCE_BYTES // LEAST_ENTRY_BYTES  # small entries for which there is room


def entry(offset: int, user: str = "", control: dict[str, str] | None = None) -> Entry:
    return Entry(f"m{offset}", offset - 1, offset, b"x", exclude_user=user, control=control)


def begun(followers: int = 3) -> Round:
    channel = Channel("all")
    for number in range(followers):
        channel.followers[number] = Subscription("all", 0)
    return Round(channel, [Batch([entry(1)])], None)


def offsets_of(following: Round | None) -> list[int]:
    assert following is not None
    return [each.offset for batch in following.batches for each in batch.entries]


def test_pieces_are_all_that_followed_when_it_began() -> None:
    current = begun(5)
    pieces = []
    while not current.is_over:
        pieces.append(len(current.next_piece(2)))

    assert pieces == [2, 2, 1]
    assert current.next_round(None) is None


def test_who_has_left_meanwhile_is_left_out() -> None:
    current = begun()
    piece = current.next_piece(3)
    del current.channel.followers[1]
    current.channel.left += 1

    assert [device for device, _ in current.still_following(piece)] == [0, 2]


def test_what_comes_meanwhile_is_the_next_round_in_its_order() -> None:
    current = begun()
    for offset in (2, 3, 4):
        assert current.add(entry(offset))

    assert offsets_of(current.next_round(None)) == [2, 3, 4]
    assert not current.fell_behind


def test_what_is_too_much_is_read_in_the_log_and_nothing_of_it_is_kept() -> None:
    """What is for the connector, too: it may end what comes before it."""
    current = begun()
    controls = [entry(2, control={"op": "groups"}), entry(ROOM + 5, control={"op": "groups"})]
    assert current.add(controls[0])
    for offset in range(3, ROOM + 4):
        assert current.add(entry(offset))

    assert current.fell_behind
    assert current.add(entry(ROOM + 4))
    assert current.add(controls[1])
    assert current.add(entry(0))
    assert offsets_of(current.next_round(None)) == [0]
    assert current.left_to_log == controls


def test_what_is_in_no_log_has_the_room_of_what_is() -> None:
    current = begun()
    for offset in range(2, ROOM + 2):
        assert current.add(entry(offset))

    assert not current.fell_behind
    assert current.add(entry(0))
    assert current.fell_behind
    assert offsets_of(current.next_round(None)) == [0]


def test_what_is_in_no_log_is_lost_once_there_is_no_room() -> None:
    current = begun()

    taken = [current.add(entry(0)) for _ in range(ROOM + 2)]

    assert taken == [True] * ROOM + [False] * 2
    assert not current.fell_behind
    assert len(offsets_of(current.next_round(None))) == ROOM


def test_of_a_user_who_types_on_end_one_note_is_kept() -> None:
    current = begun()
    for _ in range(3 * ROOM):
        assert current.add(entry(0, user="anna"))
    assert current.add(entry(0, user="bob"))

    assert len(offsets_of(current.next_round(None))) == 2


@pytest_twisted.ensureDeferred
async def test_a_fan_out_that_falls_behind_loses_nothing_that_is_stored(
    device: Any, node: Node, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "SLICE", 1)
    monkeypatch.setattr(rounds, "MOST_SINCE_BYTES", 3 * LEAST_ENTRY_BYTES)
    count = 40
    clients: list[Client] = await gatherResults(
        [Deferred.fromCoroutine(device(acks=True)) for _ in range(20)]
    )
    fan_out, run_slices = node.gateway.fanout, fanout.FanOut._run_slices
    allowed: list[bool] = []

    def go_on_when_allowed(self: fanout.FanOut) -> None:
        if allowed:
            run_slices(self)

    monkeypatch.setattr(fanout.FanOut, "_run_slices", go_on_when_allowed)
    for number in range(count):
        await node.push("all", data=number)
    [channel] = [each for stream, each in node.hub.channels.items() if stream == "all"]
    await wait_until(lambda: channel in fan_out._rounds and fan_out._rounds[channel].fell_behind)

    allowed.append(True)
    fan_out.end_turn()

    await wait_until(lambda: all(len(client.numbers) == count for client in clients))
    assert all(client.numbers == list(range(count)) for client in clients)


def held_back(fan_out: fanout.FanOut, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Rounds of `fan_out` go on when there is something in this list."""
    allowed: list[bool] = []
    run_slices = fan_out._run_slices
    monkeypatch.setattr(fan_out, "_run_slices", lambda: run_slices() if allowed else None)
    return allowed


@pytest_twisted.ensureDeferred
async def test_what_ends_a_stream_does_not_overtake_what_came_before_it(
    device: Any, node: Node, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much comes after it: it is read in the log, at its place."""
    monkeypatch.setattr(fanout, "FEW", 0)
    monkeypatch.setattr(fanout, "SLICE", 1)
    monkeypatch.setattr(rounds, "MOST_SINCE_BYTES", 6 * LEAST_ENTRY_BYTES)
    clients: list[Client] = [await device(acks=True), await device(acks=True)]
    fan_out, channel = node.gateway.fanout, node.hub.channels["all"]
    allowed = held_back(fan_out, monkeypatch)
    for number in range(4):
        await node.push("all", data=number)
    await wait_until(lambda: channel in fan_out._rounds and channel.handed == channel.last)
    current = fan_out._rounds[channel]
    control = {"op": "removed", "stream": "all", "users": "*"}
    current.add(Entry("c", channel.last, channel.last + 1, b"", control=control))
    for number in range(4, 14):
        await node.push("all", data=number)
    await wait_until(lambda: current.fell_behind)

    monkeypatch.setattr(fanout, "SLICE", 500)
    allowed.append(True)
    fan_out.end_turn()

    await wait_until(lambda: all(len(client.numbers) >= 14 for client in clients))
    assert [client.numbers for client in clients] == [list(range(14))] * 2


@pytest_twisted.ensureDeferred
async def test_what_a_round_has_no_room_for_is_counted_once_for_all(
    device: Any, node: Node, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be lost to thousands of sessions. Those that end lose nothing."""
    for _ in range(3):
        await device()
    fan_out, channel = node.gateway.fanout, node.hub.channels["all"]
    node.gateway.disconnect(next(iter(channel.followers)).connection, DisconnectCode.KICKED, "")
    counted: list[Any] = []
    counts = node.gateway.streams.counts._counts[0]
    monkeypatch.setattr(counts, "count", lambda *what: counted.append(what))
    fan_out._rounds[channel] = Round(channel, [Batch([entry(1)])], None)
    for _ in range(ROOM):
        fan_out.batch(channel, Batch([entry(0)]))
    before = fan_out.lost_qos0

    fan_out.batch(channel, Batch([entry(0)]))
    fan_out.batch(channel, Batch([entry(0)]))
    fan_out._end_round(fan_out._rounds.pop(channel))

    fan_out._rounds.clear()
    assert fan_out.lost_qos0 == before + 4
    assert counted == [("all", "", "m0", CONGESTED, 2)] * 2
    timelines = node.domain.observer.timelines
    await wait_until(lambda: len(timelines._counts) == 2)
    [told] = (await timelines.page(next(iter(timelines._counts)).token, "", 1)).events
    assert (told.event, told.reason, told.n) == ("dropped", "congested", 2)


@pytest_twisted.ensureDeferred
async def test_who_is_removed_in_a_round_gets_nothing_in_the_next(
    device: Any, node: Node, wait_until: WaitUntil
) -> None:
    """Not even what is in no log, when a round has left the removal to the log."""
    await device()
    fan_out, channel = node.gateway.fanout, node.hub.channels["all"]
    await wait_until(lambda: all(each.live for each in channel.followers.values()))
    for subscription in channel.followers.values():
        subscription.live = False  # it was behind
    ended = Round(channel, [Batch([entry(1)])], None)
    control = {"op": "removed", "stream": "all", "users": "*"}
    offset = max(each.start_offset for each in channel.followers.values()) + 1
    ended.left_to_log = [Entry("c", channel.last, offset, b"", control=control)]
    ended.fell_behind = True
    assert ended.add(entry(0))

    fan_out._end_round(ended)

    assert channel not in fan_out._rounds


@pytest_twisted.ensureDeferred
async def test_of_all_that_are_to_read_on_a_turn_wakes_a_bounded_number(
    device: Any, node: Node, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason for which they are behind."""
    monkeypatch.setattr(fanout, "AT_ONCE", 2)
    count = 9
    await gatherResults([Deferred.fromCoroutine(device()) for _ in range(count)])
    fan_out, channel = node.gateway.fanout, node.hub.channels["all"]
    await wait_until(lambda: all(each.live for each in channel.followers.values()))
    woken: list[int] = []  # by turn
    catch_up, turn_time = node.gateway.catch_up, node.gateway._turn_time

    def wake(_session: Any) -> None:
        woken.append(turn_time.turn)

    monkeypatch.setattr(catch_up, "wake", wake)
    monkeypatch.setattr(TurnTime, "is_over", property(lambda self: True))

    def behind_as_there_was_too_much() -> None:
        fan_out._leave_to_log(channel.followers.items(), [])

    for fall_behind in (
        behind_as_there_was_too_much,
        lambda: fan_out.wake_followers(channel),
        lambda: fan_out.gap_closed(channel),
    ):
        woken.clear()
        fall_behind()
        assert not woken, "what is queued for them comes first"
        await wait_until(lambda: len(woken) == count)
        assert max(woken.count(turn) for turn in woken) == 2


@pytest_twisted.ensureDeferred
async def test_when_the_time_of_a_turn_is_over_no_further_piece_is_written(
    device: Any, node: Node, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = 5
    monkeypatch.setattr(fanout, "PIECE", piece)
    monkeypatch.setattr(fanout, "FEW", 0)
    monkeypatch.setattr(fanout, "BYTES_PER_TURN", 30 * rounds.LEAST_BYTES)  # half of it at once
    monkeypatch.setattr(TurnTime, "is_over", property(lambda self: True))
    clients: list[Client] = await gatherResults(
        [Deferred.fromCoroutine(device(acks=True)) for _ in range(30)]
    )
    written: list[int] = []
    run_slices, write = fanout.FanOut._run_slices, fanout.write_to_all

    def count_turn(self: fanout.FanOut) -> None:
        written.append(0)
        run_slices(self)

    def count(devices: list[Any], data: bytes) -> None:
        written[-1] += len(devices)
        write(devices, data)

    monkeypatch.setattr(fanout.FanOut, "_run_slices", count_turn)
    monkeypatch.setattr(fanout, "write_to_all", count)

    await node.push("all", data=0)  # the next turn has so many bytes
    await wait_until(lambda: all(client.numbers for client in clients))
    written.clear()

    await node.push("all", data=1)

    await wait_until(lambda: all(len(client.numbers) == 2 for client in clients))
    assert [number for number in written if number] == [piece] * (30 // piece)

"""At least once, first deliveries in order, bounded memory: over real sockets and a real Redis."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.connector.sessions.sharded_streams import STEPS_PER_TURN
from push.session.entry import FIRST_PRIVATE_ID, LAST_SHARED_ID
from push.streams.log import LogReader
from push.wire.signals import ConnectStatus, Signal
from tests.amounts import amount
from tests.waiting import WaitUntil, pause

Make = Callable[..., Awaitable[Any]]
# A stalled device has as many times the messages of its window to come as this.
ROUNDS = amount(15, 40)


async def together(*jobs: Any) -> list[Any]:
    return list(await gatherResults([Deferred.fromCoroutine(job) for job in jobs]))


async def has_waiting(node: Any, pair: dict[str, str], count: int) -> bool:
    """So many messages wait for the device: acknowledgements are stored a while after they came."""
    return (await node.devices.get(pair["token"])).backlog == count


def once_in_order(numbers: list[Any], last: int, first: int = 0) -> bool:
    assert numbers == list(range(first, first + len(numbers))), numbers
    return len(numbers) == last - first


@pytest_twisted.ensureDeferred
async def test_one_push_to_all_reaches_each_of_300_devices_exactly_once(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    clients = await together(*(device(acks=True) for _ in range(300)))

    receipt = await node.push("all", data=0)
    await wait_until(lambda: all(client.numbers for client in clients))
    await pause(0.3)

    assert [client.numbers for client in clients] == [[0]] * 300
    assert {client.bodies[0]["id"] for client in clients} == {receipt.id}
    # One number, and one frame, for all of them (rule 9).
    assert len({client.pushes[0] for client in clients}) == 1

    async def stored() -> bool:
        tokens = [client._credentials["token"] for client in clients]
        records = [await node.record(token) for token in tokens]
        return len({record["c:all"] for record in records}) == 1

    await wait_until(stored)


@pytest_twisted.ensureDeferred
async def test_a_fan_out_in_slices_keeps_the_order_of_each(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    from push.connector.delivery import fanout

    monkeypatch.setattr(fanout, "SLICE", 7)
    clients = await together(*(device(acks=True) for _ in range(60)))
    joining = []
    for n in range(60):
        await node.push("all", data=n, qos=n % 2)
        if n % 10 == 5:
            clients.pop().transport.loseConnection()
            joining.append(Deferred.fromCoroutine(device(acks=True)))
    late = await gatherResults(joining)
    await node.push("all", data=60)

    await wait_until(lambda: all(60 in client.numbers for client in [*clients, *late]))
    for client in clients:
        assert client.numbers == list(range(61))
    for client in late:
        stored = [n for n in client.numbers if n % 2 or n == 60]
        assert stored == sorted(set(stored))
        assert stored == [*range(stored[0] | 1, 60, 2), 60]


@pytest_twisted.ensureDeferred
async def test_what_fits_in_a_turn_goes_before_what_takes_several(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one stream, in one turn of the hub."""
    from push.connector.delivery import fanout

    count, of_each_bytes = 12, 5_000
    clients = await together(*(device(acks=True) for _ in range(count)))
    monkeypatch.setattr(fanout, "BYTES_PER_TURN", 8 * of_each_bytes * count)
    await node.push("all", data="00")  # the next turn has so many bytes
    await wait_until(lambda: all(client.numbers for client in clients))
    allowed: list[bool] = []
    monkeypatch.setattr(node.hub, "_may_hand_on", lambda server: bool(allowed))
    for number in range(1, count):
        await node.push("all", data=f"{number:0{of_each_bytes}}")
    await wait_until(lambda: [len(entries) for entries in node.hub.pending.values()] == [count - 1])

    allowed.append(True)

    await wait_until(lambda: all(len(client.numbers) == count for client in clients))
    for client in clients:
        assert [int(text[-2:]) for text in client.numbers] == list(range(count))


@pytest_twisted.ensureDeferred
async def test_a_turn_writes_so_many_bytes_of_all_fan_outs(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    from push.connector.delivery import fanout

    data_bytes, of_each = 8_000, 6
    clients = await together(*(device(acks=True) for _ in range(30)))
    for client in clients:
        for topic in ("one", "two"):
            await node.topics.subscribe(topic, client._credentials["token"])
    monkeypatch.setattr(fanout, "BYTES_PER_TURN", 6 * data_bytes)
    written = [0]  # in each turn, to those that follow with many others
    write_slices, write = fanout.FanOut._run_slices, fanout.write_to_all

    def count_turn(self: fanout.FanOut) -> None:
        written.append(0)
        write_slices(self)

    def count(devices: list[Any], data: bytes) -> None:
        written[-1] += len(devices) * len(data)
        write(devices, data)

    monkeypatch.setattr(fanout.FanOut, "_run_slices", count_turn)
    monkeypatch.setattr(fanout, "write_to_all", count)
    for number in range(of_each):
        for topic in ("one", "two"):
            await node.push("topic", topic, data=f"{number}{topic:x>{data_bytes}}")

    await wait_until(lambda: all(len(client.numbers) == 2 * of_each for client in clients))
    for client in clients:
        for topic in ("one", "two"):
            of_topic = [text for text in client.numbers if text.endswith(topic)]
            assert [int(text[0]) for text in of_topic] == list(range(of_each))
    assert sum(written) >= len(clients) * data_bytes  # the rest may be read from the log
    assert max(written) <= 2 * fanout.BYTES_PER_TURN


@pytest_twisted.ensureDeferred
async def test_of_many_that_are_behind_a_turn_gives_to_a_bounded_number(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    """They read on together; each is given all of a page in its step."""
    count, of_each = 5 * STEPS_PER_TURN, 3
    clients = await together(*(device(acks=True) for _ in range(count)))
    [channel] = [each for stream, each in node.hub.channels.items() if stream == "all"]
    for subscription in channel.followers.values():
        subscription.live = False
    for number in range(of_each):
        await node.push("all", data=number)
    await wait_until(lambda: node.hub.channels["all"].handed == channel.last)
    written = [node.gateway.delivery_policy.written]  # at the end of each turn

    def note() -> None:
        written.append(node.gateway.delivery_policy.written)
        if len(written) < 10_000 and written[-1] - written[0] < count * of_each:
            node.reactor.callLater(0, note)

    node.reactor.callLater(0, note)
    node.gateway.fanout.wake_followers(channel)

    await wait_until(lambda: written[-1] - written[0] == count * of_each)
    await wait_until(lambda: all(len(client.numbers) == of_each for client in clients))
    assert [client.numbers for client in clients] == [list(range(of_each))] * count
    in_turns = [after - before for before, after in pairwise(written)]
    assert max(in_turns) <= 2 * STEPS_PER_TURN * of_each  # two turns if they met between two notes
    await wait_until(lambda: all(each.live for each in channel.followers.values()))


@pytest_twisted.ensureDeferred
async def test_a_message_wakes_those_that_fall_behind_and_none_that_are_behind(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many messages come, a session that waits for its acknowledgements costs nothing."""
    clients = await together(*(device(window=2) for _ in range(10)))
    woken: list[Any] = []
    catch_up = node.gateway.catch_up

    class NotedCatchUp:
        """As the fan-out sees it; what an acknowledgement wakes goes another way."""

        forget, stop = catch_up.forget, catch_up.stop

        def wake(self, woken_device: Any) -> None:
            woken.append(woken_device)
            catch_up.wake(woken_device)

    monkeypatch.setattr(node.gateway, "catch_up", NotedCatchUp())
    for number in range(20):
        await node.push("all", data=number)
    await wait_until(lambda: all(len(client.numbers) == 2 for client in clients))
    await wait_until(lambda: len(woken) == len(clients))

    for client in clients:
        client.acks = True
        client.ack_all()
    await wait_until(lambda: all(len(client.numbers) == 20 for client in clients))
    assert [client.numbers for client in clients] == [list(range(20))] * len(clients)
    assert len(woken) == len(clients)


@pytest_twisted.ensureDeferred
async def test_streams_of_a_device_come_each_in_its_order(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(acks=True)
    token = client._credentials["token"]
    await node.devices.bind("alice", token)
    await wait_until(lambda: client.kinds == ["follow"])
    pushes = []
    for n in range(150):
        target = [("all",), ("user", "alice"), ("token", token)][n % 3]
        pushes.append(node.push(*target, data=n))
    await together(*pushes)

    await wait_until(lambda: len(client.numbers) >= 150)
    for remainder in range(3):
        assert [n for n in client.numbers if n % 3 == remainder] == list(range(remainder, 150, 3))
    assert len(client.numbers) == 150


@pytest_twisted.ensureDeferred
async def test_who_was_away_gets_what_it_missed_in_order(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device(acks=True)
    pair = first._credentials
    await node.push("token", pair["token"], data=0)
    await wait_until(lambda: has_waiting(node, pair, 0))
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    for n in range(1, 301):
        await node.push("token", pair["token"], data=n)
    second = await dial(node, acks=True)
    await second.connect(**pair)
    for n in range(301, 320):
        await node.push("token", pair["token"], data=n)

    await wait_until(lambda: once_in_order(second.numbers, 320, first=1))


@pytest_twisted.ensureDeferred
async def test_what_is_known_to_be_empty_is_not_read_again_and_nothing_is_missed(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(await device())._credentials for _ in range(3)]
    for connection in list(node.gateway.connections):
        connection.abort()
    await wait_until(lambda: not node.gateway.sessions)
    await node.push("user", "somebody", data="the clock goes on")
    read: list[str] = []
    read_logs = LogReader.read

    async def noted(reader: LogReader, wanted: Any, *options: Any) -> Any:
        read.extend(item.stream for item in wanted)
        return await read_logs(reader, wanted, *options)

    monkeypatch.setattr(LogReader, "read", noted)

    async def until_live(pair: dict[str, str]) -> Any:
        client = await dial(node, acks=True)
        await client.connect(**pair)
        (session,) = (s for s in node.gateway.sessions.values() if s.token == pair["token"])
        await wait_until(lambda: all(each.live for each in session.subscriptions.values()))
        return client

    clients = [await until_live(pair) for pair in pairs[:2]]
    assert read.count("all") == 1  # the first device has followed for longer than the second
    await node.push("all", data=0)
    await wait_until(lambda: all(client.numbers == [0] for client in clients))
    clients.append(await until_live(pairs[2]))
    await wait_until(lambda: clients[-1].numbers == [0])
    await node.push("all", data=1)
    await wait_until(lambda: all(client.numbers == [0, 1] for client in clients))


@pytest_twisted.ensureDeferred
async def test_what_was_not_acknowledged_comes_again_after_a_reconnect(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    pair = first._credentials
    for n in range(5):
        await node.push("token", pair["token"], data=n)
    await wait_until(lambda: len(first.numbers) == 5)
    for frame in (first.pushes[0], first.pushes[1], first.pushes[3]):
        first.ack(frame)
    await wait_until(lambda: has_waiting(node, pair, 3))
    first.transport.abortConnection()
    await wait_until(lambda: not node.gateway.sessions)
    second = await dial(node)
    await second.connect(**pair)

    await wait_until(lambda: len(second.numbers) == 3)
    assert second.numbers == [2, 3, 4]  # the cursor moves over the contiguous prefix
    assert second.bodies[0]["id"] == first.bodies[2]["id"]


@pytest_twisted.ensureDeferred
async def test_cursors_of_the_client_acknowledge_and_read_again(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    pair = first._credentials
    for n in range(4):
        await node.push("all", data=n)
    await wait_until(lambda: len(first.numbers) == 4)
    offsets = [body["offset"] for body in first.bodies]
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)

    ahead = await dial(node, acks=True)
    await ahead.connect(**pair, cursors={"all": offsets[1], "user:x": "5"})
    await wait_until(lambda: ahead.numbers == [2, 3])

    async def is_stored() -> bool:
        return bool((await node.record(pair["token"]))["c:all"] >= offsets[3])

    await wait_until(is_stored)
    ahead.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)

    behind = await dial(node, acks=True)
    await behind.connect(**pair, cursors={"all": offsets[0]})
    await wait_until(lambda: behind.numbers == [1, 2, 3])
    behind.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)

    beyond = await dial(node, acks=True)
    await beyond.connect(**pair, cursors={"all": "9999999999999999"})
    await node.push("all", data=4)
    await wait_until(lambda: beyond.numbers == [4])


@pytest_twisted.ensureDeferred
async def test_rule_4_reading_again_begins_no_earlier_than_following_began(
    node: Any, dial: Make, device: Make, wait_until: WaitUntil
) -> None:
    await node.push("all", data="before")
    first = await device()
    pair = first._credentials
    await node.push("all", data="after")
    await wait_until(lambda: first.numbers)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)

    second = await dial(node)
    await second.connect(**pair, cursors={"all": "0"})

    await wait_until(lambda: second.numbers)
    await pause(0.1)
    assert second.numbers == ["after"]


@pytest_twisted.ensureDeferred
async def test_redelivery_on_a_live_connection_has_the_same_number_and_id(
    make_node: Make, redis_url: str, device: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"redeliver_after_seconds": 0.4})
    node.listen()
    client = await device(on=node)
    token = client._credentials["token"]
    await node.push("token", token, data=0)
    await node.push("all", data=1)

    await wait_until(lambda: len(client.pushes) >= 4)
    first, second, third, fourth = client.pushes[:4]
    assert {first, second} == {third, fourth}
    for frame in client.pushes:
        client.ack(frame)
    await pause(1)
    seen = len(client.pushes)
    await pause(1)
    assert len(client.pushes) == seen == 4
    assert (await node.devices.get(token)).backlog == 0


@pytest_twisted.ensureDeferred
async def test_a_message_that_is_gone_from_the_log_is_not_sent_again_and_counts_as_done(
    make_node: Make, redis_url: str, device: Make, wait_until: WaitUntil
) -> None:
    """Rule 16: a redelivery reads the log again."""
    node = await make_node(redis_url, limits={"redeliver_after_seconds": 0.3})
    node.listen()
    client = await device(on=node, window=2)
    token = client._credentials["token"]
    for n in range(4):
        await node.push("token", token, data=n)
    await wait_until(lambda: len(client.pushes) == 2)
    log = node.store.key(f"log:dev:{token}")
    await node.store.command("XDEL", log, f"{client.bodies[0]['offset']}-0")

    await wait_until(lambda: 2 in client.numbers)
    assert client.numbers.count(0) == 1


@pytest_twisted.ensureDeferred
async def test_rule_8_a_poison_message_is_given_up_after_max_deliveries(
    make_node: Make, redis_url: str, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"redeliver_after_seconds": 0.25, "max_deliveries": 3})
    node.listen()
    client = await device(on=node, window=1)
    pair = client._credentials
    await node.push("token", pair["token"], data=0)
    await node.push("token", pair["token"], data=1)
    await wait_until(lambda: len(client.pushes) == 1)
    client.transport.loseConnection()  # in vain, once
    await wait_until(lambda: not node.gateway.sessions)
    await node.gateway.until_ended_are_done()
    client = await dial(node)
    await client.connect(**pair, window=1)

    await wait_until(lambda: 1 in client.numbers)
    assert client.numbers.count(0) == 2
    assert node.gateway.counters.dropped_unacknowledged == 1


@pytest_twisted.ensureDeferred
async def test_rule_8_connections_that_break_at_once_use_no_message_up(
    make_node: Make, redis_url: str, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    """A flapping network is no refusal: attempts count only some time after each other."""
    limits = {"max_deliveries": 3}
    node = await make_node(redis_url, limits=limits, redeliver_after_of_records=60)
    node.listen()
    client = await device(on=node)
    pair = client._credentials
    await node.push("token", pair["token"], data=0)
    for _ in range(5):
        await wait_until(lambda client=client: client.numbers == [0])
        client.transport.loseConnection()
        await wait_until(lambda: not node.gateway.sessions)
        await node.gateway.until_ended_are_done()
        client = await dial(node)
        await client.connect(**pair)
    await wait_until(lambda: client.numbers == [0])
    assert node.gateway.counters.dropped_unacknowledged == 0


@pytest_twisted.ensureDeferred
async def test_rule_8_the_window_counts_from_the_cursor(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(window=4)
    token = client._credentials["token"]
    for n in range(20):
        await node.push("token", token, data=n)
    await wait_until(lambda: client.numbers == [0, 1, 2, 3])
    for frame in client.pushes[1:]:
        client.ack(frame)
    await pause(0.2)
    assert client.numbers == [0, 1, 2, 3]

    client.ack(client.pushes[0])
    await wait_until(lambda: once_in_order(client.numbers, 8))

    client.acks = True
    for frame in client.pushes[4:]:
        client.ack(frame)
    await wait_until(lambda: once_in_order(client.numbers, 20))


@pytest_twisted.ensureDeferred
async def test_rule_8_a_stalled_device_costs_bounded_memory_and_delays_nobody(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    """It reads nothing, while thousands of messages go to it and to all."""
    stalled = await device()
    others = await together(*(device(acks=True) for _ in range(5)))
    token = stalled._credentials["token"]
    stalled.transport.pauseProducing()
    filler = "x" * 2000
    (connection,) = [c for c in node.gateway.connections if c.device.token == token]
    for n in range(ROUNDS):
        pushes = [node.push("token", token, data=filler) for _ in range(50)]
        await together(*pushes, *(node.push("all", data=filler) for _ in range(24)))
        await node.push("all", data=n)
        await wait_until(lambda n=n: all(client.numbers[-1:] == [n] for client in others))

    window = connection.protocol.window
    assert window.used <= 64
    assert len(window.outstanding) <= 64
    assert connection.waiting_bytes <= 32 * 1024
    assert node.log_cache.size_bytes <= 8 * 1024 * 1024
    for channel in node.hub.channels.values():
        assert not channel.held
    assert not node.hub.pending

    stalled.acks = True
    stalled.ack_all()
    stalled.transport.resumeProducing()
    await wait_until(
        lambda: len(stalled.numbers) >= ROUNDS * 75 and stalled.numbers.count(ROUNDS - 1)
    )
    counted = [n for n in stalled.numbers if n != filler]
    assert counted == list(range(ROUNDS))
    assert len(stalled.numbers) == ROUNDS * 75


@pytest_twisted.ensureDeferred
async def test_a_blocked_connection_that_resumes_gets_everything_in_order(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    """Small buffers: the direct write is cut short, in the middle of frames."""
    node.listen(sndbuf=4096)
    client = await dial(node, acks=True)
    pair = await client.register()
    await client.connect(**pair)
    chance = random.Random(2)
    for round_ in range(6):
        client.transport.pauseProducing()
        await together(
            *(
                node.push("token", pair["token"], data=[n, "y" * chance.randrange(9000)])
                for n in range(round_ * 60, round_ * 60 + 60)
            )
        )
        await pause(0.02)
        client.transport.resumeProducing()
        await pause(chance.random() * 0.03)

    await wait_until(lambda: len(client.numbers) >= 360)
    assert [data[0] for data in client.numbers] == list(range(360))


@pytest_twisted.ensureDeferred
async def test_a_stalled_tls_connection_that_resumes_gets_everything_in_order(
    node: Any, dial: Make, wait_until: WaitUntil, certificate: tuple[Any, Any]
) -> None:
    server, trust = certificate
    node.listen(tls=server, sndbuf=4096)
    client = await dial(node, acks=True, tls=trust)
    pair = await client.register()
    await client.connect(**pair)
    (connection,) = node.gateway.connections
    client.transport.pauseProducing()
    for n in range(300):
        await node.push("token", pair["token"], data=[n, "y" * 9000])
    await wait_until(lambda: connection.blocked)
    await node.push("all", data=[-1, ""])
    client.transport.resumeProducing()

    await wait_until(lambda: len(client.numbers) >= 301)
    assert [data[0] for data in client.numbers if data[0] >= 0] == list(range(300))


@pytest_twisted.ensureDeferred
async def test_qos_0_goes_to_who_is_online_and_is_kept_nowhere(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    client = await device()
    pair = client._credentials
    receipt = await node.push("token", pair["token"], data=1, qos=0)
    await node.push("token", pair["token"], data=2, ttl_seconds=0)
    await wait_until(lambda: client.numbers == [1, 2])

    # `ttl` 0 is acknowledged, for the ledger only.
    assert [bool(frame.message_id) for frame in client.pushes] == [False, True]
    assert not [body for body in client.bodies if "offset" in body]
    assert (receipt.streams, receipt.online) == (1, 1)
    assert (await node.devices.get(pair["token"])).backlog == 0


@pytest_twisted.ensureDeferred
async def test_qos_0_and_ttl_0_arrives_whatever_is_stored_at_the_same_time(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    """Its expiry is the moment of its push: what is stored in the same call shows a later one."""
    client = await device()
    token = client._credentials["token"]
    for n in range(0, 80, 4):
        await together(
            node.push("token", token, data=n, qos=0, ttl_seconds=0),
            node.push("all", data=n + 1),
            node.push("token", token, data=n + 2, qos=0, ttl_seconds=0),
            node.push("token", token, data=n + 3),
        )
    await wait_until(lambda: len(client.numbers) >= 80)
    assert sorted(client.numbers) == list(range(80))


@pytest_twisted.ensureDeferred
async def test_qos_0_to_a_device_that_reads_nothing_is_lost_beyond_a_bound(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    node.listen(sndbuf=4096)
    client = await device()
    client.transport.pauseProducing()
    (connection,) = node.gateway.connections
    for _ in range(30):
        await together(*(node.push("all", data="z" * 9000, qos=0) for _ in range(40)))

    assert connection.waiting_bytes <= 300 * 1024
    await wait_until(lambda: node.gateway.fanout.lost_qos0)
    client.transport.resumeProducing()
    await wait_until(lambda: not connection.blocked)
    await node.push("all", data="end")
    await wait_until(lambda: client.numbers[-1] == "end")


@pytest_twisted.ensureDeferred
async def test_a_message_larger_than_the_device_wants_is_skipped(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(acks=True, max_frame=4096)
    other = await device(acks=True)
    for n in range(6):
        data = "x" * 5000 if n % 2 else n
        await node.push("all", data=data, qos=n // 3)
    await node.push("token", client._credentials["token"], data="x" * 5000)
    await node.push("all", data="end")

    await wait_until(lambda: client.numbers[-1:] == other.numbers[-1:] == ["end"])
    assert client.numbers == [0, 2, 4, "end"]
    assert len(other.numbers) == 7
    assert node.gateway.counters.dropped_too_large >= 2

    async def nothing_waits() -> bool:
        return (await node.devices.get(client._credentials["token"])).backlog == 0

    await wait_until(nothing_waits)


@pytest_twisted.ensureDeferred
async def test_what_has_expired_is_not_delivered(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    pair = first._credentials
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    for n in range(4):
        await node.push("token", pair["token"], data=n, ttl_seconds=1 if n % 2 else 60)
    await pause(1.1)
    second = await dial(node, acks=True)
    await second.connect(**pair)

    await wait_until(lambda: len(second.numbers) >= 2)

    async def nothing_waits() -> bool:
        return (await node.devices.get(pair["token"])).backlog == 0

    await wait_until(nothing_waits)
    assert second.numbers == [0, 2]


@pytest_twisted.ensureDeferred
async def test_rule_9_numbers_that_are_taken_are_replaced_by_the_sessions_own(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    slow, quick = await device(), await device(acks=True)
    await node.push("all", data=0)
    await wait_until(lambda: slow.numbers == quick.numbers == [0])
    taken = slow.pushes[0].message_id
    assert taken <= LAST_SHARED_ID
    node.hub._next_number = taken

    await node.push("all", data=1)
    await wait_until(lambda: slow.numbers == quick.numbers == [0, 1])

    assert quick.pushes[1].message_id == taken
    assert slow.pushes[1].message_id >= FIRST_PRIVATE_ID
    slow.ack(slow.pushes[1])
    slow.ack(slow.pushes[0])
    await node.push("all", data=2)
    await wait_until(lambda: slow.numbers == [0, 1, 2])


@pytest_twisted.ensureDeferred
async def test_rule_9_a_number_stays_taken_until_every_copy_was_acknowledged(
    make_node: Make, redis_url: str, device: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"redeliver_after_seconds": 0.3})
    node.listen()
    client = await device(on=node)
    token = client._credentials["token"]
    await node.push("token", token, data=0)
    await wait_until(lambda: len(client.pushes) >= 2)
    client.ack(client.pushes[0])
    await wait_until(lambda: has_waiting(node, client._credentials, 0))
    (connection,) = node.gateway.connections
    number = client.pushes[0].message_id
    assert number in connection.protocol.window.outstanding

    for frame in client.pushes[1:]:
        client.ack(frame)

    await wait_until(lambda: number not in connection.protocol.window.outstanding)


@pytest_twisted.ensureDeferred
async def test_a_newer_connection_takes_the_session_over(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    pair = first._credentials
    await node.push("token", pair["token"], data=0)
    await wait_until(lambda: first.numbers == [0])
    second = await dial(node, acks=True)

    await second.connect(**pair)

    await wait_until(lambda: first.closed)
    assert first.ended_with == "taken_over"
    await wait_until(lambda: second.numbers == [0])
    await node.push("token", pair["token"], data=1)
    await wait_until(lambda: second.numbers == [0, 1])
    assert (await node.devices.get(pair["token"])).online
    assert len(node.gateway.sessions) == 1


@pytest_twisted.ensureDeferred
async def test_a_session_is_taken_over_between_two_connectors(
    device: Make,
    node: Any,
    make_node: Make,
    redis_url: str,
    dial: Make,
    wait_until: WaitUntil,
) -> None:
    other = await make_node(redis_url)
    other.listen()
    first = await device()
    pair = first._credentials
    for n in range(5):
        await node.push("token", pair["token"], data=n)
    await wait_until(lambda: len(first.numbers) == 5)
    first.ack(first.pushes[0])
    await wait_until(lambda: has_waiting(node, pair, 4))

    second = await dial(other, acks=True)
    await second.connect(**pair)
    await node.push("token", pair["token"], data=5)

    await wait_until(lambda: second.numbers == [1, 2, 3, 4, 5])
    await wait_until(lambda: first.closed)
    assert first.ended_with == "taken_over"
    assert (await node.devices.get(pair["token"])).online
    assert not node.gateway.sessions


@pytest_twisted.ensureDeferred
async def test_rule_4_a_session_taken_over_unheard_is_closed_at_its_next_acknowledgement(
    device: Make,
    node: Any,
    make_node: Make,
    redis_url: str,
    dial: Make,
    wait_until: WaitUntil,
) -> None:
    """The question to end it got lost: what the store says about its cursors is enough."""
    other = await make_node(redis_url)
    other.listen()
    first = await device()
    pair = first._credentials
    node.store.channels.unsubscribe(f"questions:{node.boot}")
    second = await dial(other)
    await second.connect(**pair)
    await pause(0.1)
    assert not first.closed
    await node.push("token", pair["token"], data=0)
    await wait_until(lambda: first.numbers == second.numbers == [0])

    first.ack_all()

    await wait_until(lambda: first.closed)
    assert first.ended_with == "taken_over"
    assert (await node.devices.get(pair["token"])).backlog == 1


@pytest_twisted.ensureDeferred
async def test_many_connections_of_one_token_at_once_leave_one(
    device: Make,
    node: Any,
    make_node: Make,
    redis_url: str,
    dial: Make,
    wait_until: WaitUntil,
) -> None:
    other = await make_node(redis_url)
    other.listen()
    first = await device()
    pair = first._credentials
    clients = [first]
    for n in range(20):
        clients.append(await dial(other if n % 2 else node))
    for client in clients[1:]:
        client.send(Signal.CONNECT, pair)  # some are taken over before they are answered

    await wait_until(lambda: sum(not client.closed for client in clients) == 1)
    (left,) = [client for client in clients if not client.closed]
    await node.push("token", pair["token"], data="x")
    await wait_until(lambda: left.numbers == ["x"])
    assert (await node.devices.get(pair["token"])).online


@pytest_twisted.ensureDeferred
async def test_a_refused_second_connection_leaves_the_first_alone(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device(acks=True)
    pair = first._credentials

    answer = await (await dial(node)).connect(token=pair["token"], secret="wrong")

    assert answer["status"] is ConnectStatus.BAD_CREDENTIALS
    await node.push("token", pair["token"], data=1)
    await wait_until(lambda: first.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_messages_published_while_a_device_connects_come_once(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device(acks=True)
    pair = first._credentials
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    going = True
    sent = 0

    async def publish() -> None:
        nonlocal sent
        while going:
            await node.push("token", pair["token"], data=sent)
            sent += 1

    publishing = Deferred.fromCoroutine(publish())
    seen: list[int] = []
    for _ in range(amount(6, 12)):
        client = await dial(node, acks=True)
        await client.connect(**pair)
        await pause(0.08)
        client.acks = False
        await pause(0.12)  # the last acknowledgements are stored
        kept = list(client.numbers)
        client.transport.abortConnection()
        await wait_until(lambda: not node.gateway.sessions)
        await pause(0.02)
        fresh = [n for n in kept if n not in seen]
        assert fresh == list(range(len(seen), len(seen) + len(fresh)))
        assert kept == sorted(set(kept))
        seen += fresh
    going = False
    await publishing
    assert sent > 50


def test_bodies_are_json() -> None:
    """The body is put together from parts: a strange user id or title must not break it."""
    from push.streams.message import push_body

    content = b'{"id":"x","data":{"a":1},"title":"\\"\\u00e9"}'
    body = push_body("user:a@b.c:+=-", b"5", b"1", b"2", content)

    assert json.loads(body) == {
        "stream": "user:a@b.c:+=-",
        "offset": "5",
        "ts": 1,
        "expires": 2,
        "id": "x",
        "data": {"a": 1},
        "title": '"é',
    }


@pytest_twisted.ensureDeferred
async def test_only_an_open_session_for_which_nothing_waits_is_written_to_past_its_connection(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    node.listen(sndbuf=4096)
    client = await device()
    (connection,) = node.gateway.connections
    session = connection.device
    send = connection.transport.getHandle().send
    assert session.send == send

    client.transport.pauseProducing()
    while not connection.blocked:
        await node.push("all", data="z" * 9000, qos=0)
    assert session.send is None
    client.transport.resumeProducing()
    await wait_until(lambda: not connection.blocked)
    assert session.send == send

    node.gateway.kick(session, "by a test")
    assert session.send is None
    await wait_until(lambda: not node.gateway.sessions)
    assert session.send is None

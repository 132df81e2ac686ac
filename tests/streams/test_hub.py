"""Following on a real Redis whose pub/sub loses messages: gaps (rule 2), silence (rule 3)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.redis.client import RedisClient
from push.session.entry import FIRST_SHARED_ID, LAST_SHARED_ID
from push.streams import loss_check
from push.streams.hub import FEW_FOLLOWERS
from tests.waiting import WaitUntil, pause

Connect = Callable[..., Awaitable[RedisClient]]


@pytest_twisted.ensureDeferred
async def test_rule_2_what_comes_next_is_handed_on_and_what_came_already_is_not(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    ear = listen(store)
    channel = await ear.follow()
    for n in range(3):
        await sender.send("all", n=n)
    await wait_until(lambda: ear.ids() == ids(0, 2))
    first = ear.listener.entries["all"][0]

    payload = f"0 {first.offset} 1 {first.expires_ms} m m0 0\n{{}}".encode()
    ear.hub.receive(channel, payload)
    await sender.send("all", n=3)

    await wait_until(lambda: len(ear.ids()) >= 4)
    assert ear.ids() == ids(0, 3)
    assert ear.hub.repairs == 0


@pytest_twisted.ensureDeferred
async def test_rule_6_what_expired_on_its_way_is_not_handed_on(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    """A connector that stood still hears what was published long ago."""
    ear = listen(store)
    channel = await ear.follow()
    await sender.send("all", n=0)
    await wait_until(lambda: ear.ids() == ids(0, 0))
    (subscription,) = channel.followers.values()
    offset = channel.last + 1
    assert subscription.live

    ear.hub.receive(channel, f"{channel.last} {offset} 1 2 m m1 0\n{{}}".encode())
    ear.hub.receive(channel, b"0 0 1 2 m m2 0\n{}")
    ear.hub.receive(channel, b"0 0 1 1 o m3 0\n{}")

    await wait_until(lambda: len(ear.ids()) >= 2)
    assert ear.ids() == ["m0", "m3"]  # ttl 0 is for who is there when it comes
    assert not subscription.live  # it reads the log, and passes what expired
    assert channel.last == offset


@pytest_twisted.ensureDeferred
async def test_rule_2_a_gap_is_repaired_from_the_log(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    ear = listen(store)
    await ear.follow()
    for n in range(10):
        await sender.send("all", n=n, announced=n in (0, 5, 9))

    await wait_until(lambda: len(ear.ids()) >= 10)
    assert ear.ids() == ids(0, 9)
    assert ear.listener.repairs == ear.hub.repairs >= 1


@pytest_twisted.ensureDeferred
async def test_rule_2_a_gap_of_many_pages_is_repaired_while_messages_go_on(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    ear = listen(store)
    await ear.follow()
    for n in range(900):
        await sender.send("all", n=n, announced=False)
    for n in range(900, 1300):
        await sender.send("all", n=n, announced=n % 3 == 0 or n == 1299)

    await wait_until(lambda: len(ear.ids()) >= 1300)
    assert ear.ids() == ids(0, 1299)


@pytest.mark.parametrize("seed", range(4))
@pytest_twisted.ensureDeferred
async def test_rule_2_each_comes_once_and_in_order_whatever_gets_lost(
    store: RedisClient,
    sender: Any,
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
    redis_server: Any,
    seed: int,
) -> None:
    """Announcements get lost at random and the subscriber is cut off in mid-stream."""
    chance = random.Random(seed)
    ears = [listen(store)]
    streams = ["all", "user:u", "dev:t"]
    for stream in streams:
        await ears[0].follow(stream)
    counts = dict.fromkeys(streams, 0)
    for step in range(400):
        stream = chance.choice(streams)
        await sender.send(stream, n=counts[stream], announced=chance.random() < 0.7)
        counts[stream] += 1
        if step % 130 == 100:
            redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
            await wait_until(lambda: store.problem is None)
    for stream in streams:
        await sender.send(stream, n=counts[stream])
        counts[stream] += 1

    for stream in streams:
        await wait_until(lambda stream=stream: len(ears[0].ids(stream)) >= counts[stream])
        assert ears[0].ids(stream) == ids(0, counts[stream] - 1)


@pytest_twisted.ensureDeferred
async def test_rule_3_the_loss_of_a_last_message_is_found_by_the_sweep(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    ear = listen(store)
    for n in range(600):  # more than one call sweeps
        await ear.follow(f"user:u{n}")
    await sender.send("user:u3", "user:u580", n=0)
    await sender.send("user:u3", "user:u580", "user:u599", n=1, announced=False)
    await pause(0.1)
    assert ear.ids("user:u3") == ids(0, 0)

    ear.hub.sweep()

    await wait_until(lambda: ear.ids("user:u3") == ear.ids("user:u580") == ids(0, 1))
    await wait_until(lambda: ear.ids("user:u599") == ids(1, 1))
    assert ear.hub.repairs == 3


@pytest_twisted.ensureDeferred
async def test_rule_3_the_sweep_comes_by_itself(
    store: RedisClient,
    sender: Any,
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss_check, "SWEEP_SECONDS", 0.2)
    ear = listen(store)
    await ear.follow()

    await sender.send("all", n=1, announced=False)

    await wait_until(lambda: ear.ids() == ids(1, 1))


@pytest_twisted.ensureDeferred
async def test_rule_3_a_reconnect_sweeps(
    store: RedisClient,
    sender: Any,
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
    redis_server: Any,
) -> None:
    ear = listen(store)
    await ear.follow()
    await sender.send("all", n=1, announced=False)

    redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")

    await wait_until(lambda: ear.ids() == ids(1, 1))


@pytest_twisted.ensureDeferred
async def test_rule_3_a_restart_of_redis_loses_nothing_of_what_it_kept(
    connect: Connect,
    make_redis: Callable[..., Any],
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
    make_sender: Any,
) -> None:
    redis = make_redis(fsync="always")
    store = await connect(redis.url)
    sender = make_sender(store)
    ear = listen(store)
    await ear.follow()
    for n in range(5):
        await sender.send("all", n=n)
    redis.kill()
    await wait_until(lambda: store.problem is not None)
    redis.start()
    await wait_until(lambda: store.problem is None)
    for n in range(5, 10):
        await sender.send("all", n=n)

    await wait_until(lambda: len(ear.ids()) >= 10)
    assert ear.ids() == ids(0, 9)


@pytest_twisted.ensureDeferred
async def test_rule_3_a_deaf_subscriber_is_found_by_the_nonce(
    connect: Connect,
    redis_url: str,
    sender: Any,
    listen: Any,
    make_proxy: Any,
    wait_until: WaitUntil,
    ids: Any,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    """The connection stays open and answers PING, but nothing published reaches us."""
    monkeypatch.setattr(loss_check, "NONCE_SECONDS", 0.2)
    proxy = await make_proxy(redis_url)
    store = await connect(proxy.url)
    ear = listen(store)
    await ear.follow()
    await sender.send("all", n=0)
    await wait_until(lambda: ear.ids() == ids(0, 0))

    proxy.deafen_subscribers()
    await sender.send("all", n=1)

    await wait_until(lambda: len(ear.ids()) >= 2)
    await sender.send("all", n=2)
    await wait_until(lambda: len(ear.ids()) >= 3)
    assert ear.ids() == ids(0, 2)
    assert [line for line in log_lines if "did not receive what was published" in line]


@pytest_twisted.ensureDeferred
async def test_rule_3_a_healthy_subscriber_is_left_alone(
    store: RedisClient, listen: Any, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    monkeypatch.setattr(loss_check, "NONCE_SECONDS", 0.05)
    listen(store)

    await pause(0.6)

    assert not [line for line in log_lines if "is unreachable" in line]


@pytest_twisted.ensureDeferred
async def test_a_repair_that_cannot_read_is_tried_again(
    connect: Connect,
    make_redis: Callable[..., Any],
    make_sender: Any,
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
) -> None:
    """Redis goes away between the announcement that shows the gap and the read."""
    redis = make_redis(fsync="always")
    store = await connect(redis.url)
    other = await connect(redis.url)
    sender = make_sender(other)
    ear = listen(store)
    await ear.follow()
    await sender.send("all", n=0)
    await wait_until(lambda: ear.ids() == ids(0, 0))
    await sender.send("all", n=1, announced=False)
    store._commands.rebuild("a test")
    await sender.send("all", n=2)

    await wait_until(lambda: len(ear.ids()) >= 3)
    assert ear.ids() == ids(0, 2)


@pytest_twisted.ensureDeferred
async def test_a_log_that_cannot_be_read_is_logged_and_read_when_it_can(
    store: RedisClient,
    sender: Any,
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
    flush_logged_errors: Callable[..., list[Any]],
) -> None:
    """An entry in the log that is none of ours must not make the stream deaf for ever."""
    ear = listen(store)
    await ear.follow()
    await sender.send("all", n=0)
    offset = int(await store.last_offset()) + 1
    key = store.key("log:all")
    await store.command("XADD", key, f"{offset}-0", "strange", "entry")
    await store.command("SET", store.key("clock"), offset)
    await sender.send("all", n=1)
    await wait_until(lambda: flush_logged_errors())
    await store.command("XDEL", key, f"{offset}-0")
    await sender.send("all", n=2)

    await wait_until(lambda: len(ear.ids()) >= 3)
    assert ear.ids() == ids(0, 2)
    flush_logged_errors()


@pytest_twisted.ensureDeferred
async def test_an_error_with_one_stream_does_not_hold_up_those_of_the_same_turn(
    store: RedisClient,
    sender: Any,
    listen: Any,
    wait_until: WaitUntil,
    ids: Any,
    monkeypatch: pytest.MonkeyPatch,
    flush_logged_errors: Callable[..., list[Any]],
) -> None:
    ear = listen(store)
    await ear.follow("topic:a")
    await ear.follow("topic:b")
    hand_on = ear.listener.batch

    def fail_once(channel: Any, batch: Any) -> None:
        monkeypatch.setattr(ear.listener, "batch", hand_on)
        raise ZeroDivisionError

    monkeypatch.setattr(ear.listener, "batch", fail_once)
    await gatherResults(
        [Deferred.fromCoroutine(sender.send(f"topic:{name}", n=0)) for name in ("a", "b")]
    )
    await wait_until(lambda: ear.listener.turns)
    for name in ("a", "b"):
        await sender.send(f"topic:{name}", n=1)

    await wait_until(lambda: ear.ids("topic:a") and len(ear.ids("topic:b")) == 2)
    assert (ear.ids("topic:a"), ear.ids("topic:b")) == (ids(1, 1), ids(0, 1))
    assert len(flush_logged_errors(ZeroDivisionError)) == 1


@pytest_twisted.ensureDeferred
async def test_messages_go_on_after_everything_was_flushed(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    ear = listen(store)
    await ear.follow()
    await sender.send("all", n=0)
    await store.command("FLUSHALL")
    await sender.send("all", n=1)
    await sender.send("all", n=2, announced=False)
    await sender.send("all", n=3)

    await wait_until(lambda: len(ear.ids()) >= 4)
    assert ear.ids() == ids(0, 3)


@pytest_twisted.ensureDeferred
async def test_a_channel_is_heard_while_anyone_follows(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    ear = listen(store)
    await ear.follow(who="one")
    await ear.follow(who="two")
    ear.hub.unfollow("all", "one")
    await sender.send("all", n=0)
    await wait_until(lambda: ear.ids() == ids(0, 0))

    ear.hub.unfollow("all", "two")
    ear.hub.unfollow("all", "two")

    async def nobody_hears() -> bool:
        published = await sender.send("all", n=1)
        return published.connectors == {"all": 0}

    await wait_until(nobody_hears)
    assert ear.hub.channels == {}


@pytest_twisted.ensureDeferred
async def test_what_comes_in_one_turn_is_one_batch(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil
) -> None:
    from twisted.internet.defer import Deferred, gatherResults

    ear = listen(store)
    await ear.follow()

    await gatherResults([Deferred.fromCoroutine(sender.send("all", n=n)) for n in range(200)])
    await wait_until(lambda: len(ear.ids()) == 200)

    assert ear.listener.turns < 100


@pytest_twisted.ensureDeferred
async def test_what_comes_in_one_read_is_handed_on_in_the_same_turn(
    store: RedisClient, listen: Any
) -> None:
    """One batch, and not in the next turn: where there is much to do, that comes late."""
    ear = listen(store)
    channel = await ear.follow()
    subscriptions = store.channels
    [name] = [each for each in subscriptions.handlers if each.endswith(b":all")]
    protocol: Any = subscriptions._protocol
    messages = b""
    for n in range(1, 4):
        at = b"%d %d" % (channel.last + n - 1, channel.last + n)
        payload = at + b" 1 4000000000000 m id%d 0\n{}" % n
        messages += hiredis.pack_command((b"message", name, payload))
    turns = ear.listener.turns

    protocol.dataReceived(messages)

    assert ear.ids() == ["id1", "id2", "id3"]
    assert ear.listener.turns == turns + 1
    assert not ear.hub.pending


@pytest_twisted.ensureDeferred
async def test_what_is_held_is_not_looked_at_at_each_read(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil
) -> None:
    looks: list[int] = []
    allowed: list[int] = []

    def may_hand_on(server: RedisClient) -> bool:
        looks.append(1)
        return bool(allowed)

    ear = listen(store, may_hand_on=may_hand_on)
    await ear.follow()
    for n in range(2):
        await sender.send("all", n=n)
    await wait_until(lambda: [len(entries) for entries in ear.hub.pending.values()] == [2])
    before = len(looks)
    protocol: Any = store.channels._protocol
    protocol.dataReceived(b"")
    assert len(looks) == before

    allowed.append(1)
    await wait_until(lambda: len(ear.ids()) == 2)


@pytest.mark.parametrize("followers", [FEW_FOLLOWERS, FEW_FOLLOWERS + 1])
@pytest_twisted.ensureDeferred
async def test_notes_of_typing_go_to_many_together_and_to_few_at_once(
    store: RedisClient, listen: Any, wait_until: WaitUntil, followers: int
) -> None:
    ear = listen(store)
    for number in range(followers):
        channel = await ear.follow("group:g", who=number)
    [name] = [each for each in store.channels.handlers if each.endswith(b":group:g")]
    protocol: Any = store.channels._protocol
    users = ["anna", "bob", "carol"]

    for number, user in enumerate([*users, *users]):
        content = b'{"id":"t%d","kind":"typing","user":"%b"}' % (number, user.encode())
        payload = b"0 0 1 4000000000000 t t%d 0\n%b" % (number, content)
        protocol.dataReceived(hiredis.pack_command((b"message", name, payload)))

    if followers <= FEW_FOLLOWERS:
        assert ear.ids("group:g") == ["t0", "t1", "t2", "t3", "t4", "t5"]
        return
    assert ear.ids("group:g") == ["t0"]
    turns = ear.listener.turns
    await wait_until(lambda: len(ear.ids("group:g")) == 4)
    assert ear.ids("group:g") == ["t0", "t4", "t5", "t3"]  # of each user the last
    assert ear.listener.turns == turns + 1
    assert channel.handed == 0
    await wait_until(lambda: not ear.hub._typing.kept)  # then one goes at once again


@pytest_twisted.ensureDeferred
async def test_notes_of_typing_that_are_kept_come_before_a_message(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil
) -> None:
    """It may be what was typed: who has sent it types no more."""
    ear = listen(store)
    for number in range(FEW_FOLLOWERS + 1):
        await ear.follow("group:g", who=number)
    [name] = [each for each in store.channels.handlers if each.endswith(b":group:g")]
    protocol: Any = store.channels._protocol
    for number in range(2):
        content = b'{"id":"t%d","kind":"typing","user":"anna"}' % number
        payload = b"0 0 1 4000000000000 t t%d 0\n%b" % (number, content)
        protocol.dataReceived(hiredis.pack_command((b"message", name, payload)))
    assert ear.ids("group:g") == ["t0"]
    published = await sender.send("group:g")
    await wait_until(lambda: published.id in ear.ids("group:g"))
    assert ear.ids("group:g") == ["t0", "t1", published.id]


@pytest_twisted.ensureDeferred
async def test_rule_9_shared_numbers_go_round_from_1_to_0xbfff(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil
) -> None:
    ear = listen(store)
    await ear.follow(who="one")
    await ear.follow(who="two")
    ear.hub._next_number = LAST_SHARED_ID
    for n in range(2):
        await sender.send("all", n=n)
    await wait_until(lambda: len(ear.ids()) == 2)

    assert [e.message_id for e in ear.listener.entries["all"]] == [
        LAST_SHARED_ID,
        FIRST_SHARED_ID,
    ]


@pytest_twisted.ensureDeferred
async def test_rule_9_streams_share_the_numbers_also_those_with_one_follower(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil
) -> None:
    ear = listen(store)
    await ear.follow()
    await ear.follow("user:anna")
    await sender.send("all", n=0)
    await sender.send("user:anna", n=1)
    await wait_until(lambda: len(ear.ids()) + len(ear.ids("user:anna")) == 2)

    entries = ear.listener.entries
    assert [entries[name][0].message_id for name in ("all", "user:anna")] == [1, 2]


# --- While a connector is not sure of its subscriptions ----------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_comes_is_kept_until_it_may_be_handed_on(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    allowed: list[bool] = []
    ear = listen(store, may_hand_on=lambda server: bool(allowed))
    channel = await ear.follow()
    for n in range(5):
        await sender.send("all", n=n)
    await wait_until(lambda: len(ear.hub.pending.get(channel, ())) == 5)
    assert ear.ids() == []

    allowed.append(True)

    await wait_until(lambda: ear.ids() == ids(0, 4))


@pytest_twisted.ensureDeferred
async def test_rule_16_what_is_removed_while_it_is_kept_is_not_handed_on(
    store: RedisClient, sender: Any, listen: Any, wait_until: WaitUntil, ids: Any
) -> None:
    allowed: list[bool] = []
    ear = listen(store, may_hand_on=lambda server: bool(allowed))
    channel = await ear.follow()
    for n in range(3):
        await sender.send("all", n=n)
    await wait_until(lambda: len(ear.hub.pending.get(channel, ())) == 3)
    _, removed, _ = ear.hub.pending[channel]

    ear.hub.receive(channel, f"0 0 1 2 x m1 {removed.offset}\n{{}}".encode())
    allowed.append(True)

    await wait_until(lambda: len(ear.ids()) >= 2)
    await sender.send("all", n=3)
    await wait_until(lambda: ear.ids()[-1:] == ["m3"])
    assert ear.ids() == ["m0", "m2", "m3"]


@pytest.mark.parametrize("late", [True, False])
@pytest_twisted.ensureDeferred
async def test_what_ends_a_stream_goes_before_it_where_a_connector_is_late(
    store: RedisClient, listen: Any, wait_until: WaitUntil, late: bool
) -> None:
    """All of it is read in one turn of the reactor."""
    ear = listen(store, is_late=lambda: late)
    user, device = await ear.follow("user:anna"), await ear.follow("dev:T")
    at = max(user.last, device.last)
    heads = [(user, "m", "m1"), (device, "c", "c1"), (user, "m", "m2")]
    for message_id, (channel, field, id) in enumerate(heads, 1):
        head = f"{channel.last} {at + message_id} 1 99999999999999 {field} {id} 0"
        ear.hub.receive(channel, f"{head}\n{{}}".encode())

    await wait_until(lambda: ear.listener.turns)

    assert list(ear.listener.entries) == (
        ["dev:T", "user:anna"] if late else ["user:anna", "dev:T"]
    )
    assert ear.ids("user:anna") == ["m1", "m2"]

"""One of everything is made, time passes, users are erased: what docs/operating.md says is left."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.access.ban_table import ActiveBan
from push.chat.conversation_id import conversation_of
from push.devices.expiry import DeviceExpiry
from push.redis import keyspace
from push.resharding.kinds import KINDS, kind_of
from push.session.events import EventPosition
from push.streams.sweeper import Sweeper
from push.wire.api.conversations import ReadPositions
from push.wire.errors import RequestError
from tests.chat.conftest import User
from tests.chat.everything import Kept, everything
from tests.chat.test_erasure import come, errands_are_done
from tests.chat.test_messages import make_group, say
from tests.connector.conftest import Dial, Node
from tests.docs.test_kept_md import TABLE
from tests.waiting import WaitUntil, wait_until

DAY_US = 86_400_000_000
DAY_MS = 86_400_000
RETENTION_SECONDS = 270 * 86_400
TOPIC = "t" * 100
# Of a moment, of a resharding, of sentinels, or of daemons that this test has not.
NOT_MADE = {
    "topics-cursor:",
    "forgotten-lifts",  # of bans, of which very many were lifted
    "check",
    "check:",
    "arriving:",
    "leaving",
    "confirmed",
    "cluster:",
    "shard",
    "rate:",  # tests/chat/test_rates.py
    *("api-keys", "key-uses"),  # tests/access/test_made_keys.py
    *(kind.name for kind in KINDS if kind.name.startswith("webhook-")),  # tests/webhooks
}
SEVERAL_ONLY = {"gone:", "claim:", "recalled-copy:", "ended-copy:", "user-stream-versions:"}
OF_A_MOMENT = {
    *(
        "errands",
        "chat-errands",
        "dismissed",
        "erasing",
        "histories",
        "ended-seqs",
        "ended:",
        "kicks",
    )
}


def days_of(name: str) -> float | None:
    """After how many days at most a key of a kind ends by itself, as the table says."""
    rows = [line.split("|") for line in TABLE.splitlines() if line]
    ((*_, said, _),) = [row for row in rows if f"`{name}`" in row[1]]
    said = said.strip()
    if not said.startswith("after "):
        return None
    number, unit = said.removesuffix(" without a group").split(" ")[-2:]
    return int(number) / (1440 if unit.startswith("minute") else 1)


def lasting(kept: dict[str, Kept]) -> set[str]:
    """The names that do not end by themselves; those that do end when the table says."""
    found = set()
    for name, held in kept.items():
        kind = kind_of(name).name
        days = days_of(kind)
        if held.left_ms is None:
            found.add(name)
        elif kind != "device:":  # a part of one
            assert days is not None, name
            assert held.left_ms <= days * DAY_MS, name
    return found


async def do_everything(node: Node, dial: Dial, wait_until: WaitUntil) -> None:
    """Devices of anna and bob, who talk; topics, groups, and whatever else leaves something."""
    clients = [await come(node, dial, user) for user in ("anna", "anna", "bob", "bob")]
    tokens = [client._credentials["token"] for client in clients]
    for topic in (TOPIC, "news", "sport", "weather"):
        for token in tokens:
            await node.topics.subscribe(topic, token)
    page = await node.topics.find_topics(limit=1)
    await node.topics.find_topics(page.cursor or "", limit=2)
    await node.topics.unsubscribe("sport", tokens[0])
    group, dismissed = await make_group(node, "anna", "bob"), await make_group(node, "bob", "anna")
    left = await make_group(node, "bob", "anna")
    for n in range(4):
        sent = await say(node, "anna", "user:bob", n, client_id=f"c{n}")
        await say(node, "bob", f"group:{group}", n, client_id=f"g{n}")
    await node.chat.messages.recall(conversation_of("anna", "user:bob"), sent.seq, "anna")
    await node.chat.messages.recall(conversation_of("bob", f"group:{group}"), 4, "bob")
    await node.chat.messages.move(conversation_of("bob", "user:anna"), ReadPositions(read=2), "bob")
    await node.chat.groups.dismiss(dismissed, None)
    await node.chat.groups.leave(left, "anna")
    await node.bans.add(ActiveBan("ip", "192.0.2.1", node.bans.now_ms() + 60_000))
    await node.bans.add(ActiveBan("ip", "192.0.2.9", None))
    await node.bans.lift("ip", "192.0.2.9")
    with pytest.raises(RequestError, match="unauthenticated"):
        await node.devices.verify(tokens[0], "wrong", "192.0.2.1")
    for kind, *names in (("tokens", *tokens), ("users", "anna", "bob"), ("group", group), ("all",)):
        await node.push(kind, *names, data=1, once=kind)
        await node.push(kind, *names, data=1, collapse="c", ttl_seconds=2_592_000)
    await node.push("topic", "news", data=1, qos=0)
    await node.push("topic", TOPIC, data=1, ttl_seconds=60)
    await node.push("ip", "127.0.0.1", data=1, ttl_seconds=0)
    positions = node.gateway.event_streams.positions
    positions.note(tokens[0], [EventPosition("0a.1", f"dev:{tokens[0]}", 1)])
    await positions.stop()
    for client in clients:
        client.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    for n in range(7):
        await node.push("token", tokens[0], data=n)  # more than may wait
    await node.devices.register(platform="p", app="a", ip="192.0.2.2")  # never connects
    trail = node.domain.observer.audit
    trail.note("backend", "192.0.2.1", "PUT /v1/x", "anna", 204, is_admin=False)
    await node.domain.observer.store_all()


async def pass_days(node: Node, days: int) -> None:
    """On the clocks of all servers, and what daemons do meanwhile."""
    from twisted.internet import reactor

    for server in node.shards:
        clock = server.clock.now_us() + days * DAY_US
        await server.command("SET", server.key("clock"), clock)
        server.clock.observe(clock)
    for _ in range(3):
        for server in node.shards:
            await Sweeper(reactor, server, 30 * 86_400).sweep()
            retirement = DeviceExpiry(
                reactor, server, node.devices, lambda boot: False, RETENTION_SECONDS
            )
            await retirement.look()
        for runner in node.errand_runners:
            await runner.do_due()
    # Those that have ended are forgotten after bans were read, which every change causes.
    await node.bans.add(ActiveBan("ip", "192.0.2.9", None))
    await node.bans.lift("ip", "192.0.2.9")

    async def are_forgotten() -> bool:
        return not await node.store.command("EXISTS", node.store.key(keyspace.BANS))

    await wait_until(are_forgotten)


@pytest_twisted.ensureDeferred
async def test_what_is_left_of_everything_is_what_the_documents_say(
    make_node: Any, redis_urls: list[str], dial: Dial, visitor: User, wait_until: WaitUntil
) -> None:
    node = await make_node(
        redis_urls, retention={"device_max_messages": 5}, failed_secrets_per_minute=10
    )
    node.listen()
    for runner in node.errand_runners:
        runner.stop()
    await do_everything(node, dial, wait_until)
    await wait_until(lambda: errands_are_done(node))
    kept = await everything(node)
    missing = {kind.name for kind in KINDS} - {kind_of(name).name for name in kept}
    if len(redis_urls) > 1:
        assert missing <= NOT_MADE | OF_A_MOMENT - {"histories"} | {"ended-copy:"}
    else:
        assert missing <= NOT_MADE | OF_A_MOMENT - {"histories"} | SEVERAL_ONLY
    lasting(kept)

    await pass_days(node, 800)

    kept = await everything(node)
    of_groups = {
        *("clock", "shard", "ended-seqs", "group:", "members:", "member-names:"),
        *("conversation:", "positions:", "user-streams:"),
        *(["user-stream-versions:"] if len(redis_urls) > 1 else []),
    }
    left = lasting(kept)
    assert {kind_of(name).name for name in left} == of_groups
    owners = {name.partition(":")[2].removeprefix("group:") for name in left if ":" in name}
    assert owners - {"anna", "bob"} == await _groups(node)

    for user in ("anna", "bob"):
        await node.erasure.erase(user)
    await pass_days(node, 8)

    assert lasting(await everything(node)) == {"clock", "shard", "ended-seqs"}
    assert (await say(node, "anna", "user:bob", "again")).seq == 5


async def _groups(node: Node) -> set[str]:
    groups = await node.chat.groups.streams_of("bob")
    return {stream.removeprefix("group:") for stream in groups}


@pytest_twisted.ensureDeferred
async def test_what_is_left_of_an_erased_user_at_once_is_what_the_documents_say(
    make_node: Any, redis_urls: list[str], dial: Dial, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_urls, retention={"device_max_messages": 5})
    node.listen()
    await do_everything(node, dial, wait_until)
    await wait_until(lambda: errands_are_done(node))

    for user in ("anna", "bob"):
        await node.erasure.erase(user)
    await wait_until(lambda: errands_are_done(node))

    left = lasting(await everything(node))
    of_users = [name for name in left if {"anna", "bob"} & set(name.replace(",", ":").split(":"))]
    assert of_users == []
    assert {kind_of(name).name for name in left} <= {
        *("clock", "shard", "ended-seqs", "bans", "ban-changes"),
        # Devices stay, and what is for them; and messages to everyone, topics, former groups.
        *("device:", "devices", "followers:", "topics", "log:", "collapse:", "expiry"),
    }

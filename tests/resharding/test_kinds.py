"""No kind of key can be forgotten: neither one that is in the code, nor one that is in Redis."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest_twisted

from push.access.api_keys import Keyring, make_key
from push.access.ban_table import ActiveBan
from push.access.bans import Bans
from push.access.made_keys import MadeKeys
from push.devices.outbox import SubscriptionChange
from push.devices.topics import Topics
from push.observe.audit import AuditTrail
from push.observe.journal import Journal, JournalKind
from push.observe.recent import RecentMessages
from push.pushing.content import PushContent, encoded
from push.redis.shards import Shards
from push.redis.shared_copy import Lease
from push.resharding.kinds import KINDS, kind_of
from push.session.events import EventPosition
from push.streams.event_positions import EventPositions
from push.streams.publisher import Publisher, StreamMessage
from tests.publishing import publish
from tests.resharding.test_model import live
from tests.resharding.world import Worlds

PUSH = Path(__file__).parents[2] / "push"
# Nothing has them yet, or only for a moment, or only behind a sentinel, or while it is moved.
NOT_SEEN = {
    "user-streams:",
    "errands",
    # Of chat: test_chat.py
    *("conversation:", "history:", "recalled:", "positions:", "group:", "members:"),
    *("member-names:", "conversations:", "copied:", "user-stream-versions:", "recalled-copy:"),
    *("erasing", "ended-copy:", "ended-seqs"),
    *("sent:", "claimed:", "histories", "dismissed", "chat-errands", "rate:"),
    "forgotten-lifts",  # of bans, of which very many were lifted
    "ended:",  # of devices that are connected
    "kicks",  # that a connector did not confirm
    "arriving:",
    "leaving",
    "check",
    "check:",
    "confirmed",
    "cluster:",
    "topics-cursor:",  # of earlier versions
    # Of webhooks: test_webhooks.py
    *(kind.name for kind in KINDS if kind.name.startswith("webhook-")),
}


def keys_of(world: Any) -> MadeKeys:
    server = world.servers[0]
    return MadeKeys(world.reactor, server, Lease(world.reactor, server, "boot"), Keyring())


# Of messages that nobody pushes here, by the way: those are noted as well.
TARGETS = ("user:looked-at", "topic:looked-at", "group:looked-at")


async def observe(world: Any, tokens: list[str]) -> None:
    """All that operators look at: a timeline of each device, recent messages, the audit trail."""
    kind = JournalKind("device-events", "dev:", 200, 1000, 3600, of_devices=True)
    timelines = Journal(world.reactor, world.shards, kind, 0.01)
    for place, token in enumerate(tokens):
        timelines.add(token, now_ms(world) + place, b"entry of " + token.encode())
    await timelines.store_all()
    recent = RecentMessages(world.reactor, world.shards)
    for place, target in enumerate(TARGETS):
        recent.note(f"id{place}", now_ms(world) + place, [target])
    await recent.store_all()
    audit = AuditTrail(world.reactor, world.shards.first, world.shards.first.clock)
    audit.note("key", "192.0.2.1", "DELETE /v1/devices/{token}", tokens[0], 204, is_admin=True)
    await audit.store_all()


def now_ms(world: Any) -> int:
    return world.shards.first.clock.now_ms()


async def observed(world: Any, tokens: list[str]) -> list[object]:
    """What there is of that."""
    kind = JournalKind("device-events", "dev:", 200, 1000, 3600, of_devices=True)
    timelines = Journal(world.reactor, world.shards, kind, 0.01)
    recent = RecentMessages(world.reactor, world.shards)
    audit = AuditTrail(world.reactor, world.shards.first, world.shards.first.clock)
    return [
        [await timelines.latest(token, 10) for token in tokens],
        [await recent.page(target, 0, "", 10) for target in TARGETS],
        await audit.page(0, None, "", 10),
    ]


def bans_of(world: Any) -> Bans:
    server = world.servers[0]
    return Bans(world.reactor, server, Lease(world.reactor, server, "boot"))


def test_every_key_that_the_code_names_is_of_a_known_kind() -> None:
    found = set()
    for path in PUSH.rglob("*.lua"):
        found |= set(re.findall(r"prefix \.\. '([a-z-]+:?)", path.read_text()))
    for path in PUSH.rglob("*.py"):
        if "pushctl" in path.parts:
            continue  # it has keys of another sort
        text = path.read_text()
        found |= set(re.findall(r"\.key\(f?\"([a-z-]+:?)", text))
        found |= set(re.findall(r"return f\"([a-z-]+:)\{", text)) & {k.name for k in KINDS}
    assert len(found) > 12
    assert {name for name in found if not _is_known(name)} == set()


def _is_known(name: str) -> bool:
    try:
        return bool(kind_of(f"{name}x" if name.endswith(":") else name))
    except LookupError:
        return False


async def publish_to_topic(world: Worlds, topic: str, id: str) -> None:
    await publish(
        Publisher(Shards(world.servers)),
        StreamMessage(
            id=id,
            content=encoded(id, PushContent(msgspec.Raw(b"1"))).decode(),
            ttl_seconds=3600,
            streams=[f"topic:{topic}"],
            stored=True,
            to=f'{{"topic":"{topic}"}}',
        ),
    )
    world.addressed[id] = set()


@pytest_twisted.ensureDeferred
async def test_every_key_of_a_deployment_that_has_done_everything_is_of_a_known_kind(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    """And what many follow by choice is moved as all else is."""
    urls = [make_redis().url for _ in range(4)]
    world = await make_world(5, urls[:3])
    await live(world, 300)
    while len(world.secrets) < 5:
        await world.register()
    tokens = sorted(world.secrets)
    for token in tokens[:4]:
        changes = [
            SubscriptionChange("topic:news"),
            SubscriptionChange("topic:sport"),
            SubscriptionChange("topic:weather"),
        ]
        assert (await world.outbox.change(token, changes)).code == 1
    ended = await world.outbox.change(
        tokens[0], [SubscriptionChange("topic:sport", code="d:unbound")]
    )
    assert ended.code == 1
    for number in range(4):
        await publish_to_topic(world, "news", f"news{number}")
    await world.say("tokens", *tokens, once="key")
    for number in range(15):
        await world.say("all", data=number, collapse="score" if number > 12 else None)
    bans = bans_of(world)
    await bans.add(ActiveBan("user", "mallory", None))
    await bans.add(ActiveBan("user", "anna", None))
    await bans.lift("user", "anna")
    await bans.page(0, 1)
    keys, api_key = keys_of(world), make_key()
    digest = hashlib.sha256(api_key.encode()).hexdigest()
    await keys.make("billing", digest, ["push"], None)
    await keys.wait_until_current()
    assert keys.keyring.authenticate(api_key) is not None
    await keys.note_uses()
    uses = await keys.uses()
    topics = Topics(world.shards, world.outbox, max_per_device=100)
    await topics.subscribe("a" * 100, tokens[0])
    assert (await topics.find_topics(limit=1)).cursor
    positions = EventPositions(world.reactor, world.shards, 64, lambda failure: None)
    positions.note(tokens[0], [EventPosition("0a.1", f"dev:{tokens[0]}", 1)])
    await positions.stop()
    await observe(world, tokens)
    seen = set()
    for server in world.servers:
        for key in await server.command("KEYS", server.key("*")):
            seen.add(kind_of(key.decode().removeprefix(server.key(""))).name)
    assert {kind.name for kind in KINDS} - seen <= NOT_SEEN
    await world.sweep_all()
    has = await world.waiting(), await world.funnels()
    listed = await topics.find_topics()
    looked_at = await observed(world, tokens)
    assert all(looked_at)
    await world.unsettle()

    await move(urls[:3], urls[3:])

    await world.settle(urls[3:], wait_until)
    assert (await world.waiting(), await world.funnels()) == has
    assert await observed(world, tokens) == looked_at
    topics = Topics(world.shards, world.outbox, max_per_device=100)
    assert await topics.find_topics() == listed
    assert len(listed.topics) == 4
    assert await bans_of(world).page(0, 10) == ([ActiveBan("user", "mallory", None)], None)
    keys = keys_of(world)
    await keys.wait_until_current()
    assert keys.keyring.authenticate(api_key) is not None
    assert (await keys.uses()).keys() == uses.keys() == {digest}
    got = {token: (await world.take_all(token)).get("topic:news") for token in tokens}
    assert list(got.values())[:4] == [[f"news{number}" for number in range(4)]] * 4
    funnel = await world.pushing.message("news3")
    assert (funnel.addressed, funnel.written, funnel.acknowledged) == (4, 4, 4)


@pytest_twisted.ensureDeferred
async def test_what_is_to_end_at_a_time_ends_then(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    urls = [make_redis().url for _ in range(3)]
    world = await make_world(3, urls[:1])
    await live(world, 300)
    await world.say("all", once="key")
    await world.unsettle()
    await world.settle(urls[:1], wait_until)
    before = await _times(world)
    await world.unsettle()

    await move(urls[:1], urls)

    await world.settle(urls, wait_until)
    after = await _times(world)
    # A claim is made where there was none: several servers need it.
    assert {n for n in after if not n.startswith("claim:")} == before.keys()
    for name, left_ms in before.items():
        assert 0 < after[name] <= left_ms, name


async def _times(world: Worlds) -> dict[str, int]:
    """The keys that end by themselves, and in how many milliseconds."""
    found: dict[str, int] = {}
    for server in world.servers:
        for key in await server.command("KEYS", server.key("*")):
            left_ms = int(await server.command("PTTL", key))
            name = key.decode().removeprefix(server.key(""))
            # Of recent messages every daemon sets the end of these again, once an hour at least.
            again = ("recent-owners", "recent-total")
            if left_ms > 0 and not name.startswith(("gone:", "ended:", *again)):
                found[name] = max(left_ms, found.get(name, 0))
    return found

"""Redis is killed while many write: what was answered is there once, in one order for all."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from push.chat.conversation_id import ConversationId, conversation_of
from push.redis.connection.errors import StoreUnavailable
from push.wire.api.conversations import Range, Sent
from push.wire.api.groups import NewGroup
from tests.chat.conftest import MakeNode, User, of_kind
from tests.chat.test_messages import say
from tests.connector.conftest import Node
from tests.waiting import WaitUntil

WRITERS, EACH, KILLS = 5, 24, 3
RETRY_SECONDS = 0.02


class Writers:
    """Each writes its messages one after the other, again and again until they are answered."""

    def __init__(self, node: Node, to: str) -> None:
        self._node = node
        self._to = to
        self.sent: dict[str, Sent] = {}
        self.refused = 0

    async def write(self, user: str, lane: int) -> None:
        for number in range(EACH):
            name = f"{lane}-{number}"
            while name not in self.sent:
                try:
                    answer = await say(self._node, user, self._to, name, client_id=name)
                except StoreUnavailable:
                    self.refused += 1
                    await deferLater(self._node.reactor, RETRY_SECONDS)
                else:
                    self.sent[name] = answer


@pytest.fixture
def redis_urls(redis_url: str) -> list[str]:
    """Of a node that is not used here."""
    return [redis_url]


@pytest.mark.parametrize("servers", [1, 3])
@pytest.mark.parametrize("kind", ["group", "pair"])
@pytest_twisted.ensureDeferred
async def test_what_was_answered_is_there_once_whatever_was_killed(
    make_node: MakeNode,
    make_redis: Any,
    person: User,
    wait_until: WaitUntil,
    servers: int,
    kind: str,
) -> None:
    redis = [make_redis(fsync="always") for _ in range(servers)]
    node = await make_node([server.url for server in redis])
    node.listen()
    reader = await person("reader", on=node)
    if kind == "group":
        users = [f"w{n}" for n in range(WRITERS)]
        said = NewGroup("g", members=[*users, "reader"])
        to = conversation = f"group:{(await node.chat.groups.create('owner', said)).group}"
    else:
        users = ["writer"] * WRITERS  # on as many devices
        to, conversation = "user:reader", "user:writer"
    writers = Writers(node, to)
    seen = conversation_of("reader", conversation)
    others = [Deferred.fromCoroutine(writers.write(user, lane)) for lane, user in enumerate(users)]
    for kill in range(KILLS):
        goal = (kill + 1) * EACH * len(others) // (KILLS + 2)
        await wait_until(lambda goal=goal: len(writers.sent) >= goal)
        victim = redis[node.shards.number_of(seen.owner if kill % 2 else "user:reader")]
        victim.kill()
        victim.start()
    await gatherResults(others)
    await wait_until(lambda: not node.shards.problems)

    assert writers.refused, "what was under way at a kill is not answered"
    await _check(node, writers, reader, seen, wait_until)


async def _check(
    node: Node, writers: Writers, reader: Any, seen: ConversationId, wait_until: WaitUntil
) -> None:
    async def history() -> Any:
        """None while a connection that the last kill ended is made anew."""
        try:
            return await node.chat.messages.history(seen, Range(after=0, limit=200), "reader")
        except StoreUnavailable:
            return None

    kept = (await wait_until(history)).messages
    assert [message.seq for message in kept] == list(range(1, len(writers.sent) + 1))
    assert {m.client_id: (m.id, m.seq) for m in kept} == {
        name: (sent.id, sent.seq) for name, sent in writers.sent.items()
    }
    await wait_until(lambda: len(of_kind(reader, "chat")) >= len(kept))
    pushed = [(push["id"], push["seq"]) for push in of_kind(reader, "chat")]
    assert pushed == [(message.id, message.seq) for message in kept]

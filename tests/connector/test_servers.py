"""Several Redis servers: devices at home on one, their users' streams on another (rules 12, 13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from push.connector.transport.timing_wheel import NEVER
from push.devices.follow_record import FollowRecords
from push.devices.record import elsewhere_of
from push.redis.connection.errors import StoreUnavailable
from push.wire.errors import RequestError
from tests.conftest import RedisServer, standing_still
from tests.waiting import DEADLINE_SECONDS, WaitUntil

Make = Callable[..., Awaitable[Any]]

SERVERS = 3


class Town:
    """A connector on three servers, and devices whose home is known."""

    def __init__(self, node: Any, servers: list[RedisServer], dial: Make) -> None:
        self.node = node
        self.servers = servers
        self.dial = dial
        self.registered = 0

    def number_of(self, owner: str) -> int:
        return int(self.node.shards.number_of(owner))

    def user_at(self, number: int) -> str:
        return next(f"u{n}" for n in range(1000) if self.number_of(f"user:u{n}") == number)

    async def pair_at(self, number: int) -> dict[str, str]:
        """A registered device with its home on server `number`."""
        while True:
            pair = await self.node.devices.register(platform="p", app="a", ip="1.2.3.4")
            self.registered += 1
            if self.number_of(f"dev:{pair.token}") == number:
                return {"token": pair.token, "secret": pair.secret}

    async def device_at(self, number: int, *, acks: bool = True, **asked: Any) -> Any:
        client = await self.dial(self.node, acks=acks)
        client._credentials = await self.pair_at(number)
        await client.connect(**client._credentials, **asked)
        return client

    async def keys(self) -> list[str]:
        found = [await server.command("KEYS", "*") for server in self.node.shards]
        return sorted(key.decode() for keys in found for key in keys)


@pytest_twisted.async_yield_fixture
async def town(make_node: Make, make_redis: Any, dial: Make) -> Any:
    servers = [make_redis() for _ in range(SERVERS)]
    node = await make_node([server.url for server in servers])
    node.listen()
    yield Town(node, servers, dial)


def token_of(client: Any) -> str:
    return str(client._credentials["token"])


@pytest_twisted.ensureDeferred
async def test_a_user_reaches_devices_of_all_homes_and_the_ledger_is_one(
    town: Town, wait_until: WaitUntil
) -> None:
    user, node = town.user_at(1), town.node
    clients = [await town.device_at(number) for number in range(SERVERS)]
    for client in clients:
        await node.devices.bind(user, token_of(client))
    sent = [await node.push("user", user, data=n) for n in range(5)]

    await wait_until(lambda: all(client.numbers == list(range(5)) for client in clients))

    async def counted() -> bool:
        return all([(await node.pushing.message(s.id)).acknowledged == SERVERS for s in sent])

    await wait_until(counted)
    lines = await node.pushing.message_devices(sent[0].id)
    assert sorted(line.token for line in lines) == sorted(map(token_of, clients))
    assert {(line.user, line.state) for line in lines} == {(user, "acknowledged")}
    found = await node.users.get_user(user)
    assert len(found.devices) == SERVERS
    assert found.online


@pytest_twisted.ensureDeferred
async def test_everyone_is_one_stream_on_all_servers(town: Town, wait_until: WaitUntil) -> None:
    node = town.node
    clients = [await town.device_at(number) for number in range(SERVERS)]
    away = await town.pair_at(0)
    for n in range(10):
        receipt = await node.push("all", data=n)
    await wait_until(lambda: all(client.numbers == list(range(10)) for client in clients))

    async def counted() -> bool:
        return (await node.pushing.message(receipt.id)).acknowledged == SERVERS

    await wait_until(counted)
    funnel = await node.pushing.message(receipt.id)
    assert (receipt.streams, receipt.online) == (1, 1)
    assert (funnel.addressed, funnel.written) == (town.registered, SERVERS)
    assert funnel.stored == town.registered
    left = town.registered - SERVERS
    assert await node.pushing.cancel(receipt.id) == left
    assert (await node.pushing.message(receipt.id)).cancelled == left
    late = await town.dial(node, acks=True)
    await late.connect(**away)
    await wait_until(lambda: late.numbers == list(range(9)))


@pytest_twisted.ensureDeferred
async def test_no_deadline_is_kept_for_one_that_goes_while_another_server_is_read(
    town: Town, wait_until: WaitUntil
) -> None:
    node, user = town.node, town.user_at(1)
    client = await town.device_at(0, acks=False, window=2)
    await node.devices.bind(user, token_of(client))
    [connection], [session] = node.gateway.connections, node.gateway.sessions.values()
    await wait_until(lambda: session.subscriptions[f"user:{user}"].live)
    for number in range(4):
        await node.push("token", token_of(client), data=number)
    await wait_until(lambda: client.numbers == [0, 1])
    await node.push("user", user, data="elsewhere")  # there is no room for it: it is read later
    await wait_until(lambda: not session.subscriptions[f"user:{user}"].live)

    with standing_still(town.servers[1], node.shards[1], patience_seconds=DEADLINE_SECONDS):
        client.ack_all()
        await wait_until(lambda: client.numbers == [0, 1, 2, 3])
        client.transport.abortConnection()
        await wait_until(lambda: connection not in node.gateway.connections)
    await wait_until(lambda: not node.gateway.catch_up._woken)
    assert connection.due_slot == NEVER


@pytest_twisted.ensureDeferred
async def test_tokens_of_all_servers_are_one_message(town: Town, wait_until: WaitUntil) -> None:
    node = town.node
    clients = [await town.device_at(number) for number in range(SERVERS)]
    tokens = [token_of(client) for client in clients]
    receipt = await node.push("tokens", *tokens, "nobody", data="hello")
    await wait_until(lambda: all(client.numbers == ["hello"] for client in clients))
    assert (receipt.streams, receipt.online, receipt.unknown) == (SERVERS, SERVERS, ["nobody"])
    assert {client.bodies[0]["id"] for client in clients} == {receipt.id}
    assert (await node.pushing.message(receipt.id)).addressed == SERVERS


@pytest_twisted.ensureDeferred
async def test_a_push_that_reached_one_server_only_is_completed_by_the_same_key(
    town: Town, wait_until: WaitUntil
) -> None:
    node = town.node
    clients = [await town.device_at(number) for number in range(SERVERS)]
    tokens = [token_of(client) for client in clients]
    home = next(n for n in range(SERVERS) if n != claim_server(node, "key"))
    with (
        standing_still(town.servers[home], node.shards[home]),
        pytest.raises(StoreUnavailable),
    ):
        await node.push("tokens", *tokens, data=1, once="key")
    await wait_until(lambda: not node.shards.problems)

    first = await node.push("tokens", *tokens, data=1, once="key")
    again = await node.push("tokens", *tokens, data=1, once="key")
    await node.push("all", data="end")

    await wait_until(lambda: all("end" in client.numbers for client in clients))
    assert first == again
    assert [client.numbers for client in clients] == [[1, "end"]] * SERVERS
    assert {client.bodies[0]["id"] for client in clients} == {first.id}
    with pytest.raises(RequestError, match="idempotency_mismatch"):
        await node.push("all", data=1, once="key")


@pytest_twisted.ensureDeferred
async def test_a_key_whose_request_was_refused_is_free(town: Town) -> None:
    for names in (("nobody",), ("nobody", "else")):
        with pytest.raises(RequestError, match="unknown_token"):
            await town.node.push("tokens", *names, data=1, once="key")


def claim_server(node: Any, key: str) -> int:
    from push.pushing.service import _digest

    return int(node.shards.number_of(f"claim:{_digest(key.encode())}"))


@pytest_twisted.ensureDeferred
async def test_a_binding_that_was_broken_off_is_completed_by_itself(
    town: Town, wait_until: WaitUntil
) -> None:
    """The home has it, the user's server was away: whoever comes by does it (rule 13)."""
    node, user = town.node, town.user_at(1)
    client = await town.device_at(0)
    before = town.user_at(2)
    await node.devices.bind(before, token_of(client))
    with standing_still(town.servers[1], node.shards[1]), pytest.raises(StoreUnavailable):
        await node.devices.bind(user, token_of(client))

    async def done() -> bool:
        server = node.shards[1]
        members = await server.command("SMEMBERS", server.key(f"user-devices:{user}"))
        home = node.shards[0]
        left = await home.command("ZCARD", home.key("errands"))
        return [m.decode() for m in members] == [token_of(client)] and not left

    await wait_until(lambda: not node.shards.problems)
    await wait_until(done)
    await node.push("user", user, data="hello")
    await node.push("user", before, data="not for it")
    await wait_until(lambda: client.numbers == ["hello"])
    found = await node.users.get_user(before)
    assert found.devices == []


@pytest_twisted.ensureDeferred
async def test_what_comes_late_does_not_undo_what_was_done_since(town: Town) -> None:
    """Errands that a process had in hand when it stood still."""
    node, user = town.node, town.user_at(1)
    token = (await town.pair_at(0))["token"]
    await node.devices.bind(user, token)
    server = node.shards[1]
    record = server.key(f"device:{token}")
    (version,) = [
        value for name, value in (await node.record(token)).items() if name.startswith("x:")
    ]
    late_follow = f"follow {token} user:{user} {version} ".encode()
    await node.devices.unbind(user, token)
    await node.devices._outbox.run(node.shards[0], [late_follow])
    assert await server.command("EXISTS", record) == 0

    await node.devices.bind(user, token)
    late_unfollow = f"unfollow {token} user:{user} {version} d:unbound".encode()
    await node.devices._outbox.run(node.shards[0], [late_unfollow])
    assert await server.command("HEXISTS", record, f"c:user:{user}") == 1


@pytest_twisted.ensureDeferred
async def test_a_later_session_has_the_parts_as_well(town: Town, wait_until: WaitUntil) -> None:
    """What was not acknowledged in the first session comes in the second, from both servers."""
    node, user = town.node, town.user_at(1)
    first = await town.device_at(0, acks=False)
    await node.devices.bind(user, token_of(first))
    await wait_until(lambda: first.kinds == ["follow"])
    await node.push("user", user, data="of the user")
    await node.push("token", token_of(first), data="of the device")
    await wait_until(lambda: len(first.numbers) == 2)

    second = await town.dial(node, acks=True)
    await second.connect(**first._credentials)
    await wait_until(lambda: first.ended_with == "taken_over")
    await wait_until(lambda: sorted(second.numbers) == ["of the device", "of the user"])
    server = node.shards[1]
    part = server.key(f"device:{token_of(first)}")
    kept = await server.command("HMGET", part, "s", "e")
    assert [item.decode() for item in kept] == [second_session(node, second), "2"]

    # The first one, as if it had been slow: it does not get the part back.
    fields = {"s": b"slow", "e": b"1", f"x:user:{user}": b"1"}
    records = FollowRecords(node.shards, 0)
    with pytest.raises(RequestError, match="unavailable"):
        await records.take_parts(token_of(first), fields, elsewhere_of(fields), {})


def second_session(node: Any, client: Any) -> str:
    (session,) = [each for each in node.gateway.sessions.values() if not each.is_over]
    return str(session.session_id)


@pytest_twisted.ensureDeferred
async def test_what_waits_is_counted_on_all_servers_and_a_clients_cursor_acknowledges_there(
    town: Town, wait_until: WaitUntil
) -> None:
    node, user = town.node, town.user_at(2)
    client = await town.device_at(1, acks=False)
    await node.devices.bind(user, token_of(client))
    await wait_until(lambda: client.kinds == ["follow"])
    sent = [await node.push("user", user, data=n) for n in range(3)]
    await node.push("token", token_of(client), data="own")
    await node.push("all", data="all")
    await wait_until(lambda: len(client.numbers) == 5)
    assert (await node.devices.get(token_of(client))).backlog == 5
    offset = next(b["offset"] for b in client.bodies if b.get("data") == 1)
    client.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)

    back = await town.dial(node)
    await back.connect(**client._credentials, cursors={f"user:{user}": offset})

    await wait_until(lambda: len(back.numbers) == 3)
    assert (await node.pushing.message(sent[1].id)).acknowledged == 1
    assert (await node.pushing.message(sent[2].id)).acknowledged == 0


@pytest_twisted.ensureDeferred
async def test_a_forgotten_device_leaves_nothing_on_any_server(
    town: Town, wait_until: WaitUntil
) -> None:
    node, user = town.node, town.user_at(1)
    client = await town.device_at(0, acks=False)
    await node.devices.bind(user, token_of(client))
    sent = await node.push("user", user, data=1)
    await wait_until(lambda: client.numbers == [1])

    await node.devices.forget(token_of(client))
    await wait_until(lambda: client.ended_with == "kicked")

    async def counted() -> bool:
        funnel = await node.pushing.message(sent.id)
        return bool(funnel.dropped == {"forgotten": 1})

    await wait_until(counted)

    async def nothing_is_left() -> bool:
        left = [key for key in await town.keys() if token_of(client) in key]
        return left == [f"push:gone:{token_of(client)}:user:{user}"]

    await wait_until(nothing_is_left)


@pytest_twisted.ensureDeferred
async def test_while_one_server_is_away_the_others_go_on(town: Town, wait_until: WaitUntil) -> None:
    node, user = town.node, town.user_at(1)
    client = await town.device_at(0)
    other = await town.device_at(2)
    await node.devices.bind(user, token_of(client))
    await wait_until(lambda: client.kinds == ["follow"])
    town.servers[1].kill()
    await wait_until(lambda: node.shards.problems)
    for n in range(3):
        await node.push("token", token_of(client), data=n)
    await node.push("token", token_of(other), data="other")
    await wait_until(lambda: client.numbers == [0, 1, 2] and other.numbers == ["other"])
    with pytest.raises(StoreUnavailable, match=town.servers[1].url):
        await node.push("user", user, data="no")

    town.servers[1].start()
    await wait_until(lambda: not node.shards.problems)
    await node.push("user", user, data="again")
    await wait_until(lambda: client.numbers[-1] == "again")
    assert client.ended_with is None


@pytest_twisted.ensureDeferred
async def test_while_the_first_server_is_away_who_is_behind_reads_on(
    town: Town, wait_until: WaitUntil
) -> None:
    """Nobody can then be sure of notices; the record is read again, and that is enough."""
    node = town.node
    client = await town.device_at(2, acks=False, window=4)
    town.servers[0].kill()
    await wait_until(lambda: node.shards.problems)
    for n in range(9):
        await node.push("token", token_of(client), data=n)
    await wait_until(lambda: client.numbers == [0, 1, 2, 3])
    client.acks = True
    client.ack_all()
    await wait_until(lambda: client.numbers == list(range(9)))


@pytest_twisted.ensureDeferred
async def test_rule_12_another_list_of_servers_is_refused(
    town: Town, make_node: Make, make_redis: Any, wait_until: WaitUntil
) -> None:
    urls = [server.url for server in town.servers]

    async def problems_of(urls: list[str]) -> list[str]:
        node = await make_node(urls, ready=False)
        await wait_until(lambda: "cannot be used" in node.shards.problems[0])
        problems = list(node.shards.problems)
        await node.stop()
        return problems

    longer = await problems_of([*urls, make_redis().url])
    assert len(longer) == 4
    assert "it is number 1 of 3 in its deployment, and in [redis] url number 1 of 4" in longer[0]
    swapped = await problems_of([urls[1], urls[0], urls[2]])
    assert "number 2 of 3 in its deployment, and in [redis] url number 1 of 3" in swapped[0]
    alone = await problems_of([urls[0]])
    assert "`pushctl reshard`" in alone[0]


@pytest_twisted.ensureDeferred
async def test_rule_12_a_server_of_another_deployment_is_refused(
    town: Town, make_node: Make, make_redis: Any, wait_until: WaitUntil
) -> None:
    others = [make_redis() for _ in range(SERVERS)]
    await make_node([server.url for server in others])
    mixed = [town.servers[0].url, others[1].url, town.servers[2].url]
    node = await make_node(mixed, ready=False)
    await wait_until(lambda: any("another deployment" in p for p in node.shards.problems))
    await node.stop()

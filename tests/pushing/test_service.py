"""Accepting pushes once, in batches, and taking them back."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from push.devices.registration import Devices
from push.pushing.content import PushContent
from push.pushing.service import FEW_STREAMS, LARGE_PUSHES_AT_A_TIME, Push, PushService
from push.pushing.targets import Target, streams_of
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.streams.log import LogReader, WantedPages
from push.streams.publisher import Publisher
from push.wire.api.push import PushResult
from push.wire.errors import RequestError
from push.wire.idents import Snowflake

DAY = 86_400
UNKNOWN = "0000000000000"  # the form of a token is checked by the HTTP interface


class Backend:
    """Pushes by one API process."""

    def __init__(self, store: RedisClient, devices: Devices, number: int) -> None:
        self.store = store
        self.devices = devices
        snowflake = Snowflake(lambda: int(time.time() * 1000), number)
        shards = Shards([store])
        self.pushing = PushService(shards, Publisher(shards), snowflake)

    async def token(self) -> str:
        return (await self.devices.register(platform="p", app="a", ip="1.2.3.4")).token

    async def push(self, kind: str, *names: str, once: str | None = None, **content: Any) -> Any:
        return await self.pushing.push(made(kind, *names, once=once, **content))

    async def ids(self, stream: str) -> list[str]:
        reading = await LogReader(self.store).read([WantedPages(stream, 0, 100)])
        return [entry.id for entry in reading.pages[0].entries]

    async def states(self, id: str) -> dict[str, str]:
        lines = await self.pushing.message_devices(id)
        return {line.token: line.reason or line.state for line in lines}


def made(kind: str, *names: str, once: str | None = None, data: object = 1, **content: Any) -> Push:
    raw = msgspec.Raw(json.dumps(data).encode())
    return Push(Target(kind, names), PushContent(data=raw, **content), once)


@pytest.fixture
def make_backend(store: RedisClient, devices: Devices) -> Any:
    numbers = iter(range(100))
    return lambda: Backend(store, devices, next(numbers))


@pytest.fixture
def backend(make_backend: Any) -> Backend:
    made_backend: Backend = make_backend()
    return made_backend


async def refused(push: Any) -> str:
    with pytest.raises(RequestError) as caught:
        await push
    return caught.value.code


# --- Who is addressed -----


def test_a_name_that_is_given_twice_is_one_stream() -> None:
    assert streams_of(Target("users", ("u", "v", "u"))) == ["user:u", "user:v"]
    assert streams_of(Target("tokens", ("t", "t"))) == ["dev:t"]


@pytest_twisted.ensureDeferred
async def test_a_user_who_is_named_twice_gets_one_message(backend: Backend) -> None:
    token = await backend.token()
    await backend.devices.bind("anna", token)
    receipt = await backend.push("users", "anna", "anna", "nobody")

    assert receipt.streams == 2
    assert await backend.ids("user:anna") == [receipt.id]
    assert await backend.states(receipt.id) == {token: "stored"}
    asked = msgspec.json.decode((await backend.pushing.message(receipt.id)).to)
    assert asked == {"users": ["anna", "anna", "nobody"]}
    assert await backend.pushing.cancel(receipt.id) == 1


@pytest_twisted.ensureDeferred
async def test_unknown_tokens_are_named_and_are_not_in_the_ledger(backend: Backend) -> None:
    token = await backend.token()
    receipt = await backend.push("tokens", UNKNOWN, token)

    assert (receipt.streams, receipt.unknown) == (1, [UNKNOWN])
    assert (await backend.pushing.message(receipt.id)).addressed == 1
    assert await backend.states(receipt.id) == {token: "stored"}


@pytest_twisted.ensureDeferred
async def test_a_push_to_unknown_tokens_only_leaves_nothing_behind(backend: Backend) -> None:
    for kind in ("token", "tokens"):
        assert await refused(backend.push(kind, UNKNOWN, once="k")) == "unknown_token"

    found = await backend.store.command("KEYS", "*")
    assert {key.decode() for key in found} <= {"push:clock"}
    token = await backend.token()
    assert isinstance(await backend.push("token", token, once="k"), PushResult)


@pytest_twisted.ensureDeferred
async def test_a_message_to_everyone_has_no_lines(backend: Backend) -> None:
    await backend.token()
    receipt = await backend.push("all")

    assert await refused(backend.pushing.message_devices(receipt.id)) == "not_found"
    assert (await backend.pushing.message(receipt.id)).addressed == 1


# --- Once -----


@pytest_twisted.ensureDeferred
async def test_the_same_key_and_request_is_one_message_with_one_answer(make_backend: Any) -> None:
    """Whichever process is asked, and also where some tokens are unknown."""
    one, other = make_backend(), make_backend()
    token = await one.token()
    first = await one.push("tokens", token, UNKNOWN, once="k", collapse="c")
    again = [
        await backend.push("tokens", token, UNKNOWN, once="k", collapse="c")
        for backend in (one, other)
    ]

    assert again == [first, first]
    assert first.unknown == [UNKNOWN]
    assert await one.ids(f"dev:{token}") == [first.id]


@pytest.mark.parametrize("servers", [1, 2])
@pytest_twisted.ensureDeferred
async def test_each_message_is_counted_and_told_once(backend: Backend, servers: int) -> None:
    """Several servers agree on the id first, so that a request again has the same."""
    told: list[str] = []
    shards = Shards([backend.store] * servers)
    pushing = PushService(
        shards,
        Publisher(shards),
        Snowflake(lambda: int(time.time() * 1000), 99),
        push_events=SimpleNamespace(pushed=lambda id, *more: told.append(id)),  # type: ignore[arg-type]
    )
    ids = {(await pushing.push(made("user", "u", once="k"))).id for _ in range(3)}
    for result in await pushing.push_batch([made("user", "u", once=once) for once in ("k", "l")]):
        assert isinstance(result, PushResult)
        ids.add(result.id)
    assert await refused(pushing.push(made("token", UNKNOWN))) == "unknown_token"
    assert {kind: count for kind, count in pushing.accepted.items() if count} == {"user": 2}
    assert len(told) == 2
    assert set(told) == ids


@pytest_twisted.ensureDeferred
async def test_the_same_key_at_the_same_time_in_two_processes_is_one_message(
    make_backend: Any,
) -> None:
    backends = [make_backend() for _ in range(5)]
    pushes = [Deferred.fromCoroutine(backend.push("all", once="k")) for backend in backends]
    receipts = await gatherResults(pushes)

    assert len({receipt.id for receipt in receipts}) == 1
    assert await backends[0].ids("all") == [receipts[0].id]


@pytest.mark.parametrize(
    "other",
    [
        made("user", "u", once="k", data=2),
        made("user", "v", once="k"),
        made("users", "u", once="k"),
        made("user", "u", once="k", ttl_seconds=5),
        made("user", "u", once="k", collapse="c"),
        made("user", "u", once="k", title="t"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_same_key_with_another_request_is_refused(backend: Backend, other: Push) -> None:
    receipt = await backend.push("user", "u", once="k")

    assert await refused(backend.pushing.push(other)) == "idempotency_mismatch"
    assert await backend.ids("user:u") == [receipt.id]
    assert await backend.ids("user:v") == []


@pytest_twisted.ensureDeferred
async def test_another_key_is_another_message(backend: Backend) -> None:
    ids = [(await backend.push("all", once=once)).id for once in ("a", "b", None, None)]

    assert len(set(ids)) == 4
    assert await backend.ids("all") == ids


@pytest_twisted.ensureDeferred
async def test_a_request_whose_first_is_still_running_is_told_to_wait(backend: Backend) -> None:
    first = Deferred.fromCoroutine(backend.push("all", once="k"))
    assert await refused(backend.push("all", once="k")) == "in_progress"
    receipt = await first

    assert await backend.push("all", once="k") == receipt


@pytest_twisted.ensureDeferred
async def test_rule_10_a_key_whose_answer_was_lost_leads_to_the_same_message(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = backend.store.run

    async def run_and_lose(*arguments: Any, **options: Any) -> Any:
        await run(*arguments, **options)
        raise StoreUnavailable("the answer was lost", unknown=True)

    with monkeypatch.context() as patch:
        patch.setattr(backend.store, "run", run_and_lose)
        with pytest.raises(StoreUnavailable):
            await backend.push("all", once="k")
    receipt = await backend.push("all", once="k")

    assert await backend.ids("all") == [receipt.id]
    assert (await backend.pushing.message(receipt.id)).id == receipt.id


@pytest_twisted.ensureDeferred
async def test_a_key_is_kept_for_a_day(backend: Backend) -> None:
    await backend.push("all", once="k", ttl_seconds=30 * DAY)
    (key,) = await backend.store.command("KEYS", "push:idem:*")

    assert DAY - 60 < await backend.store.command("TTL", key) <= DAY


@pytest_twisted.ensureDeferred
async def test_a_repeat_counts_and_replaces_nothing(backend: Backend) -> None:
    """Else it would collapse what came after it."""
    await backend.token()
    first = await backend.push("all", once="k", collapse="c")
    second = await backend.push("all", collapse="c")
    assert (await backend.push("all", once="k", collapse="c")).id == first.id

    assert await backend.ids("all") == [second.id]
    assert (await backend.pushing.message(first.id)).dropped == {"collapsed": 1}
    assert (await backend.pushing.message(second.id)).dropped == {}


@pytest.mark.parametrize("key", ["k" * 255, " ", "\\\"'{}", "idem:push:*"])
@pytest_twisted.ensureDeferred
async def test_a_key_may_be_any_printable_text(backend: Backend, key: str) -> None:
    receipt = await backend.push("all", once=key)

    assert await backend.push("all", once=key) == receipt


@pytest.mark.parametrize("name", ["a" * 128, "=:.@+-_", "0", "null"])
@pytest_twisted.ensureDeferred
async def test_users_and_collapse_keys_of_any_form_are_counted_and_cancelled(
    backend: Backend, name: str
) -> None:
    token = await backend.token()
    await backend.devices.bind(name, token)
    first = await backend.push("user", name, collapse=name, data="\x00\u2028𝄞\\")
    second = await backend.push("user", name, collapse=name, title="ü" * 40_000)

    assert await backend.ids(f"user:{name}") == [second.id]
    assert await backend.states(first.id) == {token: "collapsed"}
    assert await backend.pushing.cancel(second.id) == 1
    found = await backend.store.command("KEYS", "*")
    assert {key.decode().split(":")[1] for key in found} == {
        "clock",
        "device",
        "devices",
        "message",
        "user-devices",
    }


# --- Batches -----


@pytest_twisted.ensureDeferred
async def test_the_items_of_a_batch_are_published_in_their_order_and_fail_alone(
    backend: Backend,
) -> None:
    token = await backend.token()
    await backend.push("all", once="used", data=0)
    results = await backend.pushing.push_batch(
        [
            made("token", token, data=0),
            made("token", UNKNOWN),
            made("all", once="used", data=1),
            made("token", token, data=1, once="new"),
            made("token", token, data=1, once="new"),
            made("token", token, data=2),
        ]
    )

    codes = [result.code if isinstance(result, RequestError) else "" for result in results]
    assert codes == ["", "unknown_token", "idempotency_mismatch", "", "", ""]
    ids = [result.id for result in results if isinstance(result, PushResult)]
    assert await backend.ids(f"dev:{token}") == list(dict.fromkeys(ids))


@pytest_twisted.ensureDeferred
async def test_a_batch_whose_store_is_away_refuses_each_item(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **options: Any) -> Any:
        raise StoreUnavailable("the connection to Redis at unix:///run/redis was lost")

    monkeypatch.setattr(backend.store, "run", fail)
    results = await backend.pushing.push_batch([made("all"), made("all", once="k")])

    refusals = [result for result in results if isinstance(result, RequestError)]
    assert [refusal.code for refusal in refusals] == ["unavailable"] * 2
    assert {refusal.detail for refusal in refusals} == {"Redis does not answer now"}
    monkeypatch.undo()
    assert isinstance(await backend.push("all", once="k"), PushResult)


@pytest.mark.parametrize("beside_others", [True, False])
@pytest.mark.parametrize("kind", ["batches", "wide"])
@pytest_twisted.ensureDeferred
async def test_large_pushes_go_two_at_a_time_beside_those_of_others(
    backend: Backend, kind: str, beside_others: bool
) -> None:
    if beside_others:
        await backend.push("user", "other")
    answered: list[str] = []
    users = [f"u{number}" for number in range(FEW_STREAMS + 1)]

    async def large() -> None:
        if kind == "batches":
            await backend.pushing.push_batch([made("user", user) for user in users])
        else:
            await backend.push("users", *users)
        answered.append("large")

    async def small() -> None:
        await backend.push("user", "other")
        answered.append("small")

    await gatherResults([*(ensureDeferred(large()) for _ in range(8)), ensureDeferred(small())])
    assert answered.index("small") == (LARGE_PUSHES_AT_A_TIME if beside_others else 8)
    assert len(answered) == 9


@pytest_twisted.ensureDeferred
async def test_large_pushes_of_one_key_do_not_wait_for_all_of_another(backend: Backend) -> None:
    users = [f"u{number}" for number in range(FEW_STREAMS + 1)]
    answered: list[str] = []

    async def push(owner: str) -> None:
        await backend.pushing.push(made("users", *users), owner)
        answered.append(owner)

    await backend.push("user", "anna")  # somebody else is there, too
    owners = ["greedy"] * 8 + ["anna"]
    await gatherResults([ensureDeferred(push(owner)) for owner in owners])
    assert answered.index("anna") <= LARGE_PUSHES_AT_A_TIME + 1


# --- Taking back -----


@pytest_twisted.ensureDeferred
async def test_a_message_to_several_devices_is_taken_back_from_all_of_them(
    backend: Backend,
) -> None:
    tokens = [await backend.token() for _ in range(3)]
    receipt = await backend.push("tokens", *tokens)
    await backend.devices.forget(tokens[0])

    assert await backend.pushing.cancel(receipt.id) == 2
    assert await backend.states(receipt.id) == {
        tokens[0]: "forgotten",
        tokens[1]: "cancelled",
        tokens[2]: "cancelled",
    }
    assert await backend.pushing.cancel(receipt.id) == 0
    assert not await backend.store.command("EXISTS", backend.store.key("expiry"))


@pytest_twisted.ensureDeferred
async def test_only_the_message_itself_is_taken_back(backend: Backend) -> None:
    first, second, third = [await backend.push("user", "u") for _ in range(3)]
    await backend.pushing.cancel(second.id)

    assert await backend.ids("user:u") == [first.id, third.id]


@pytest_twisted.ensureDeferred
async def test_what_is_in_no_log_cannot_be_taken_back(backend: Backend) -> None:
    for content in ({"ttl_seconds": 0}, {"qos": 0}):
        receipt = await backend.push("all", **content)
        assert await backend.pushing.cancel(receipt.id) == 0


@pytest_twisted.ensureDeferred
async def test_a_message_that_nobody_knows_is_not_found(backend: Backend) -> None:
    for ask in (
        backend.pushing.message,
        backend.pushing.message_devices,
        backend.pushing.cancel,
    ):
        assert await refused(ask("nobody")) == "unknown_message"


@pytest_twisted.ensureDeferred
async def test_items_of_a_batch_with_one_key_are_one_message_and_another_request_is_refused(
    backend: Backend,
) -> None:
    same = made("all", once="k")
    results = await backend.pushing.push_batch([same, same, made("all", once="k", data=2), same])

    assert isinstance(results[2], RequestError)
    assert results[2].code == "idempotency_mismatch"
    assert results[0] == results[1] == results[3]
    assert len(await backend.ids("all")) == 1

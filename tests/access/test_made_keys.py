"""Keys that are made and revoked hold in every process when that is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.access.api_keys import ApiKey, make_key
from push.access.made_keys import MAX_KEYS
from push.redis.connection.errors import StoreUnavailable
from push.wire.errors import RequestError
from tests.faults.slow_redis import SlowRedis
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def made(node: Any, name: str, *scopes: str, expires: int | None = None) -> str:
    """A new key, which every process has confirmed."""
    key = make_key()
    _, silent = await node.keys.make(name, digest_of(key), scopes or ("push",), expires)
    assert silent == []
    return key


def own(*scopes: str, name: str = "own") -> ApiKey:
    return ApiKey(name, digest_of(name), frozenset(scopes), remedy="delete it")


@pytest_twisted.async_yield_fixture
async def two(make_node: Make, redis_url: str) -> Any:
    yield [await make_node(redis_url, open_registration=False) for _ in range(2)]


@pytest.fixture
def slow_redis(make_redis: Callable[..., Any]) -> Iterator[SlowRedis]:
    proxy = SlowRedis(make_redis().socket_path)
    yield proxy
    proxy.close()


@pytest_twisted.ensureDeferred
async def test_a_key_is_valid_everywhere_when_its_making_is_answered_and_nowhere_after_its_revoking(
    two: Any,
) -> None:
    first, second = two
    for number in range(20):
        name = f"key{number}"
        key = await made(first, name, "push", "read")
        for node in two:
            found = node.keyring.authenticate(key)
            assert (found.name, found.scopes) == (name, {"push", "read"})
        assert await second.keys.revoke(name) == []
        assert [node.keyring.authenticate(key) for node in two] == [None, None]


@pytest_twisted.ensureDeferred
async def test_devices_register_with_a_key_that_was_made_until_it_is_revoked(
    two: Any, dial: Make
) -> None:
    first, second = two
    second.listen()
    app = await made(first, "app", "register")
    backend = await made(first, "backend", "push")

    async def register(key: str) -> Any:
        return await (await dial(second)).register(key=key)

    assert "token" in await register(app)
    assert (await register(backend))["code"] == "forbidden"
    await first.keys.revoke("app")
    assert (await register(app))["code"] == "unauthenticated"


@pytest_twisted.ensureDeferred
async def test_a_process_that_starts_later_knows_the_keys_and_so_does_one_that_starts_anew(
    two: Any, make_node: Make, redis_url: str
) -> None:
    key = await made(two[0], "billing")
    later = await make_node(redis_url)
    await later.keyring.make_current_for(key)
    assert later.keyring.authenticate(key).name == "billing"


@pytest_twisted.ensureDeferred
async def test_a_key_ends_when_it_expires_and_its_name_is_free_again(two: Any) -> None:
    first, second = two
    ends = first.keys.now_ms() + 60_000
    key = await made(first, "guest", expires=ends)
    assert second.keyring.authenticate(key) is not None
    second.store.clock.observe(ends * 1000)
    assert second.keyring.authenticate(key) is None
    assert second.keyring.made == []
    with pytest.raises(RequestError) as refused:
        await second.keys.revoke("guest")
    assert refused.value.code == "not_found"
    await made(second, "guest")


@pytest_twisted.ensureDeferred
async def test_a_name_is_given_once_and_not_to_a_key_of_this_process(two: Any) -> None:
    first, second = two
    await made(first, "billing")
    first.keyring.replace([own("push")])
    for node, name in ((first, "billing"), (second, "billing"), (first, "own")):
        with pytest.raises(RequestError) as refused:
            await node.keys.make(name, digest_of("x"), ["push"], None)
        assert (refused.value.code, refused.value.field) == ("already_exists", "name")


@pytest_twisted.ensureDeferred
async def test_the_last_key_that_may_administer_is_not_revoked(two: Any) -> None:
    first, _ = two
    ends = first.keys.now_ms() + 60_000
    await made(first, "one", "read", "admin")
    await made(first, "two", "admin", expires=ends)
    await made(first, "three", "read")
    first.keyring.replace([own("push")])
    for node in two:
        node.store.clock.observe(ends * 1000)  # the second one has ended
        with pytest.raises(RequestError) as refused:
            await node.keys.revoke("one")
        assert refused.value.code == "not_allowed"
    await first.keys.revoke("three")
    first.keyring.replace([own("admin")])
    assert await first.keys.revoke("one") == []


@pytest_twisted.ensureDeferred
async def test_of_two_that_revoke_each_other_one_stays(two: Any) -> None:
    first, _ = two
    for number in range(10):
        names = [f"a{number}", f"b{number}"]
        for name in names:
            await made(first, name, "admin")
        outcomes = await gatherResults(
            Deferred.fromCoroutine(_revoked(node, name))
            for node, name in zip(two, names, strict=True)
        )
        assert sorted(outcomes) == ["not_allowed", "revoked"]
        for name in names:  # the next round begins without one
            await first.store.command("HDEL", first.store.key("api-keys"), name)


async def _revoked(node: Any, name: str) -> str:
    try:
        await node.keys.revoke(name)
    except RequestError as error:
        return error.code
    return "revoked"


@pytest_twisted.ensureDeferred
async def test_keys_are_bounded_and_those_that_have_ended_make_room(two: Any) -> None:
    first, _ = two
    ends = first.keys.now_ms() + 60_000
    stored = [
        part
        for number in range(MAX_KEYS)
        for part in (f"k{number}", f"{digest_of(str(number))} push 1 {ends if number else 0}")
    ]
    await first.store.command("HSET", first.store.key("api-keys"), *stored)
    with pytest.raises(RequestError) as refused:
        await first.keys.make("more", digest_of("x"), ["push"], None)
    assert refused.value.code == "not_allowed"
    first.store.clock.observe(ends * 1000)
    await made(first, "more")
    assert int(await first.store.command("HLEN", first.store.key("api-keys"))) == 2


@pytest_twisted.ensureDeferred
async def test_what_another_version_stored_is_no_key_and_harms_none(
    two: Any, flush_logged_errors: Any
) -> None:
    first, second = two
    for value in ("", "zz push 1 0", "v2 {}", "\xff"):
        await first.store.command("HSET", first.store.key("api-keys"), f"odd {value}", value)
    key = await made(first, "good")
    assert second.keyring.authenticate(key) is not None
    assert [known.name for known in second.keyring.made] == ["good"]


@pytest_twisted.ensureDeferred
async def test_a_process_that_hears_nothing_reads_before_it_judges_by_a_key_that_was_made(
    slow_redis: SlowRedis, make_node: Make, make_redis: Any, wait_until: WaitUntil
) -> None:
    """Its subscriptions are lost without a word: revoking names it, and it finds out by itself."""
    deaf = await make_node(slow_redis.url)
    other = await make_node(f"unix://{slow_redis._path}")
    key = await made(other, "billing")
    deaf.keyring.replace([own("read")])
    await wait_until(lambda: deaf.keyring.is_current)
    slow_redis.cut_subscribers()
    silent = await other.keys.revoke("billing")
    assert silent == [deaf.boot]
    assert not deaf.keyring.is_current_for(key)
    assert deaf.keyring.is_current_for("own"), "a key of its own needs nobody"
    await deaf.keyring.make_current_for(key)
    assert deaf.keyring.authenticate(key) is None


@pytest_twisted.ensureDeferred
async def test_without_redis_keys_are_kept_and_judged_by_when_it_is_back(
    make_node: Make, make_redis: Any, wait_until: WaitUntil
) -> None:
    redis = make_redis("always")
    node = await make_node(redis.url)
    key = await made(node, "billing")
    node.keyring.replace([own("read")])
    redis.kill()
    await wait_until(lambda: node.store.problem is not None)
    assert node.keyring.is_current_for("own")
    with pytest.raises(StoreUnavailable):
        await node.keyring.make_current_for(key)
    assert [known.name for known in node.keyring.made] == ["billing"]
    redis.start()
    await wait_until(lambda: node.store.problem is None)
    await node.keyring.make_current_for(key)
    assert node.keyring.authenticate(key).name == "billing"


@pytest_twisted.ensureDeferred
async def test_all_processes_know_when_a_key_was_used_last(two: Any, dial: Make) -> None:
    first, second = two
    key = await made(first, "billing")
    assert await second.keys.uses() == {}
    assert first.keyring.authenticate(key) is not None
    used = first.keyring.used_at(digest_of(key))
    assert abs(used - first.keys.now_ms()) < 60_000
    await first.keys.note_uses()
    assert await second.keys.uses() == {digest_of(key): used}
    assert first.keyring.authenticate("wrong") is None
    assert first.keyring.take_used() == {}

"""Registering, verifying, binding and forgetting devices, in a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from push.devices.registration import Devices
from push.redis.client import RedisClient
from push.wire.errors import RequestError
from push.wire.idents import is_token
from tests.waiting import WaitUntil

NOBODY = "00000000000000"
IP = "192.0.2.1"


async def register(devices: Devices, **more: Any) -> tuple[str, str]:
    pair = await devices.register(**{"platform": "p", "app": "a", "ip": IP, **more})
    return pair.token, pair.secret


async def code_of(refused: Any) -> str:
    with pytest.raises(RequestError) as caught:
        await refused
    return caught.value.code


async def fields_of(store: RedisClient, token: str) -> dict[bytes, bytes]:
    reply = await store.command("HGETALL", store.key(f"device:{token}"))
    return dict(zip(reply[::2], reply[1::2], strict=True))


@pytest_twisted.ensureDeferred
async def test_a_new_device_gets_a_token_and_a_secret_that_fit(devices: Devices) -> None:
    token, secret = await register(devices, device="d" * 128)

    assert is_token(token)
    await devices.verify(token, secret, IP)
    found = await devices.get(token)
    assert (found.platform, found.app, found.device) == ("p", "a", "d" * 128)
    assert not found.online
    assert found.user is None
    assert found.backlog == 0


@pytest_twisted.ensureDeferred
async def test_the_secret_is_not_kept(devices: Devices, store: RedisClient) -> None:
    token, secret = await register(devices)

    assert secret.encode() not in b" ".join((await fields_of(store, token)).values())


@pytest_twisted.ensureDeferred
async def test_the_right_pair_is_answered_with_the_same_pair(devices: Devices) -> None:
    pair = await register(devices)

    assert await register(devices, token=pair[0], secret=pair[1]) == pair


@pytest_twisted.ensureDeferred
async def test_a_wrong_pair_gets_a_new_token_and_changes_nothing(devices: Devices) -> None:
    token, secret = await register(devices)

    wrong, _ = await register(devices, token=token, secret="x" * 22)
    unknown, _ = await register(devices, token=NOBODY, secret=secret)

    assert len({token, wrong, unknown, NOBODY}) == 4
    await devices.verify(token, secret, IP)


@pytest_twisted.ensureDeferred
async def test_the_device_id_finds_no_token(devices: Devices) -> None:
    first, _ = await register(devices, device="same")
    second, _ = await register(devices, device="same")

    assert first != second


@pytest_twisted.ensureDeferred
async def test_a_device_that_never_connects_is_forgotten_after_a_day(
    devices: Devices, store: RedisClient
) -> None:
    token, _ = await register(devices)

    forgotten_ms = float(await store.command("ZSCORE", store.key("devices"), token))
    assert 86_300 < forgotten_ms / 1000 - time.time() <= 86_400


@pytest_twisted.ensureDeferred
async def test_rule_4_cursors_begin_at_registration(devices: Devices, store: RedisClient) -> None:
    await register(devices)  # reads the bans as well, which moves the clock
    last_offset = store.clock.now_us() + 3_600_000_000
    await store.command("SET", store.key("clock"), last_offset)
    token, _ = await register(devices)

    fields = await fields_of(store, token)

    for name in (f"c:dev:{token}", f"f:dev:{token}", "c:all", "f:all"):
        assert int(fields[name.encode()]) == last_offset


@pytest_twisted.ensureDeferred
async def test_a_wrong_secret_and_an_unknown_token_are_told_apart(devices: Devices) -> None:
    token, secret = await register(devices)

    assert await code_of(devices.verify(token, secret + "x", IP)) == "unauthenticated"
    assert await code_of(devices.verify(token, "", IP)) == "unauthenticated"
    assert await code_of(devices.verify(token, "é", IP)) == "unauthenticated"
    assert await code_of(devices.verify(NOBODY, secret, IP)) == "unknown_token"
    assert await code_of(devices.verify("x y:*\n", secret, IP)) == "unknown_token"


@pytest_twisted.ensureDeferred
async def test_registrations_are_limited_per_address_and_minute(
    make_devices: Callable[..., Devices], store: RedisClient
) -> None:
    devices = make_devices(registrations_per_minute=3)
    for _ in range(3):
        await register(devices)

    with pytest.raises(RequestError) as caught:
        await register(devices)
    await register(devices, ip="192.0.2.2")

    assert (caught.value.code, caught.value.after_seconds) == ("rate_limited", 60)
    (key,) = await store.command("KEYS", "*limit:register:192.0.2.1")
    assert 0 < await store.command("TTL", key) <= 60
    await store.command("DEL", key)
    await register(devices)


@pytest_twisted.ensureDeferred
async def test_failed_secrets_are_limited_on_every_way_in(
    make_devices: Callable[..., Devices],
) -> None:
    devices = make_devices(failed_secrets_per_minute=3)
    token, _secret = await register(devices)
    for _ in range(2):
        assert await code_of(devices.verify(token, "wrong", IP)) == "unauthenticated"
    await register(devices, token=token, secret="wrong")

    assert await code_of(devices.verify(token, "wrong", IP)) == "rate_limited"
    assert await code_of(register(devices, token=token, secret="wrong")) == "rate_limited"
    assert await code_of(devices.verify(token, "wrong", "192.0.2.2")) == "unauthenticated"


@pytest_twisted.ensureDeferred
async def test_failed_secrets_keep_no_right_secret_away(
    make_devices: Callable[..., Devices],
) -> None:
    devices = make_devices(failed_secrets_per_minute=2)
    token, secret = await register(devices)
    neighbour, its_secret = await register(devices)
    for _ in range(5):
        await code_of(devices.verify(token, "wrong", IP))

    await devices.verify(token, secret, IP)
    assert await register(devices, token=token, secret=secret) == (token, secret)
    await devices.verify(neighbour, its_secret, IP)
    assert await code_of(devices.verify(neighbour, "wrong", IP)) == "unauthenticated"


@pytest_twisted.ensureDeferred
async def test_limits_count_an_ipv6_network_as_one_address(
    make_devices: Callable[..., Devices],
) -> None:
    devices = make_devices(failed_secrets_per_minute=1, registrations_per_minute=1)
    for first, second, is_one in (
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:1::1", "2001:db8:1:1::1", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("198.51.100.7", "198.51.100.8", False),
    ):
        token, _secret = await register(devices, ip=first)
        assert await code_of(devices.verify(token, "wrong", first)) == "unauthenticated"
        expected = "rate_limited" if is_one else "unauthenticated"
        assert await code_of(devices.verify(token, "wrong", second)) == expected
        if is_one:
            assert await code_of(register(devices, ip=second)) == "rate_limited"
        else:
            await register(devices, ip=second)


@pytest_twisted.ensureDeferred
async def test_failed_secrets_leave_nothing_for_tokens_that_nobody_has(
    make_devices: Callable[..., Devices], store: RedisClient
) -> None:
    devices = make_devices(failed_secrets_per_minute=2)
    for _ in range(3):
        assert await code_of(devices.verify(NOBODY, "wrong", IP)) == "unknown_token"
    assert await store.command("KEYS", "*limit:*") == []
    token, _ = await register(devices)
    for _ in range(5):
        await code_of(devices.verify(token, "wrong", IP))
    (key,) = await store.command("KEYS", "*limit:*")
    assert 0 < await store.command("TTL", key) <= 60


@pytest_twisted.ensureDeferred
async def test_right_secrets_do_not_count(make_devices: Callable[..., Devices]) -> None:
    devices = make_devices(failed_secrets_per_minute=2)
    token, secret = await register(devices)

    for _ in range(5):
        await devices.verify(token, secret, IP)


@pytest_twisted.ensureDeferred
async def test_a_device_belongs_to_one_user_at_a_time(devices: Devices, store: RedisClient) -> None:
    token, _ = await register(devices)

    await devices.bind("alice", token)
    await devices.bind("alice", token)
    await devices.bind("bob", token)

    assert (await devices.get(token)).user == "bob"
    assert await store.command("SMEMBERS", store.key("user-devices:bob")) == [token.encode()]
    assert await store.command("SMEMBERS", store.key("user-devices:alice")) == []
    names = set(await fields_of(store, token))
    assert b"c:user:bob" in names
    assert not [name for name in names if name.endswith(b":user:alice")]


@pytest_twisted.ensureDeferred
async def test_unbinding_needs_the_user_it_is_bound_to(
    devices: Devices, store: RedisClient
) -> None:
    token, _ = await register(devices)
    await devices.bind("alice", token)

    assert await code_of(devices.unbind("bob", token)) == "not_found"
    await devices.unbind("alice", token)

    assert await code_of(devices.unbind("alice", token)) == "not_found"
    assert (await devices.get(token)).user is None
    assert await store.command("EXISTS", store.key("user-devices:alice")) == 0


@pytest_twisted.ensureDeferred
async def test_rule_4_a_new_binding_begins_now_also_with_a_user_of_before(
    devices: Devices, store: RedisClient
) -> None:
    token, _ = await register(devices)
    for clock in (1_700_000_000_000_000, 1_700_000_000_000_500):
        await store.command("SET", store.key("clock"), clock)
        await devices.bind("alice", token)
        fields = await fields_of(store, token)
        assert fields[b"c:user:alice"] == fields[b"f:user:alice"] == b"%d" % clock
        await devices.unbind("alice", token)


@pytest_twisted.ensureDeferred
async def test_a_device_without_a_session_is_told_of_its_binding_by_its_record_alone(
    devices: Devices,
) -> None:
    token, _ = await register(devices)

    await devices.bind("alice", token)

    assert (await devices.get(token)).backlog == 0


@pytest.mark.parametrize("user", ["", "a b", "a\n", "x" * 129, "ü", "a/b", "*"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_user_id_is_named(devices: Devices, user: str) -> None:
    token, _ = await register(devices)

    assert await code_of(devices.bind(user, token)) == "invalid"
    assert await code_of(devices.unbind(user, token)) == "invalid"


@pytest_twisted.ensureDeferred
async def test_a_token_of_the_wrong_form_is_invalid_and_an_unknown_one_unknown(
    devices: Devices,
) -> None:
    for call in (
        devices.get,
        devices.forget,
        lambda t: devices.bind("u", t),
        lambda t: devices.unbind("u", t),
    ):
        assert await code_of(call("00000000000001")) == "invalid"
        assert await code_of(call("x")) == "invalid"
        assert await code_of(call(NOBODY)) == "unknown_token"


@pytest_twisted.ensureDeferred
async def test_forgetting_leaves_nothing_and_closes_the_session(
    devices: Devices, store: RedisClient, closed: list[tuple[str, str]], wait_until: WaitUntil
) -> None:
    token, secret = await register(devices)
    await devices.bind("alice", token)
    await store.command("HSET", store.key(f"device:{token}"), "s", "session", "b", "boot")
    await store.command("XADD", store.key(f"log:dev:{token}"), "1-0", "a", "b")

    await devices.forget(token)

    assert await wait_until(lambda: closed) == [("session", "kicked")]
    assert await store.command("KEYS", "*") == [store.key("clock").encode()]
    assert await code_of(devices.verify(token, secret, IP)) == "unknown_token"
    assert not await devices.exists(token)


@pytest_twisted.ensureDeferred
async def test_rule_17_online_is_a_session_whose_connector_lives(
    devices: Devices, store: RedisClient
) -> None:
    token, _ = await register(devices)
    key = store.key(f"device:{token}")
    await store.command("HSET", key, "s", "session", "b", "boot", "n", "node")
    online = await devices.get(token)
    await store.command("HSET", key, "b", "another boot")
    offline = await devices.get(token)

    assert (online.online, online.session, online.node) == (True, "session", "node")
    assert (offline.online, offline.session, offline.node) == (False, None, None)

"""API keys that are made and revoked are in effect when that is answered (delivery.md, "Writes in
effect"). Daemons are processes of their own."""

from __future__ import annotations

import time
from typing import Any

import pytest

from push.sdk.backend import PushAPI, PushAPIError
from tests.faults.processes import Daemon
from tests.faults.raw import RawDevice
from tests.faults.system import System

ROUNDS = 20
TIGHT_SECONDS = 1.0


def make(make_system: Any, **options: Any) -> System:
    system: System = make_system(
        connectors=1,
        sub=True,
        groups=1,
        limits_registrations_per_minute="0",
        limits_failed_keys_per_minute="0",
        **options,
    )
    return system


# A request of HTTP to each kind of daemon, as `GET path`; all keys here have all these scopes.
SCOPES = ("read", "register", "chat")


def asked(system: System, key: str) -> dict[str, int]:
    """The status of a request with the key at each daemon of HTTP."""
    assert system.sub is not None
    return {
        "api": system.api.get("/v1/nodes", key)[0],
        "sub": system.sub.get("/v1/servers", key)[0],
        "group": system.groups[0].get("/v1/users/bob/conversations", key)[0],
    }


def registered(connector: Daemon, key: str) -> str:
    """What the connector answers a SUB with this key: "ok", or the code."""
    device = RawDevice(connector.device_port)
    try:
        return str(device.try_to_register(key).get("code", "ok"))
    finally:
        device.close()


def test_a_key_is_in_effect_when_it_is_answered(make_system: Any, api_of: Any) -> None:
    system = make(make_system)
    system.wait_registered()
    api = api_of(system)
    for number in range(ROUNDS):
        made = api.make_key(f"key{number}", SCOPES)
        assert made.silent == [], number
        assert set(asked(system, made.key).values()) == {200}, number
        assert registered(system.connectors[0], made.key) == "ok", number
        assert api.revoke_key(f"key{number}") == [], number
        assert set(asked(system, made.key).values()) == {401}, number
        assert registered(system.connectors[0], made.key) == "unauthenticated", number


def test_a_daemon_that_stands_still_is_named_and_judges_by_the_new_state_when_it_goes_on(
    make_system: Any, api_of: Any
) -> None:
    system = make(make_system)
    system.wait_registered()
    api = api_of(system)
    assert system.sub is not None
    for paused in (system.sub, system.connectors[0]):
        old = api.make_key("old", SCOPES)
        paused.pause()
        try:
            assert api.revoke_key("old") == [paused.name]
            new = api.make_key("new", SCOPES)
            assert new.silent == [paused.name]
        finally:
            paused.resume()
        if paused is system.sub:
            assert paused.get("/v1/servers", old.key)[0] == 401
            assert paused.get("/v1/servers", new.key)[0] == 200
        else:
            assert registered(paused, old.key) == "unauthenticated"
            assert registered(paused, new.key) == "ok"
        system.wait(lambda: not api.revoke_key("new"), "all confirm")


def test_without_redis_no_daemon_accepts_a_key_that_was_made(make_system: Any, api_of: Any) -> None:
    system = make(make_system)
    system.wait_registered()
    made = api_of(system).make_key("billing", SCOPES)
    system.redis.kill()
    system.wait(lambda: asked(system, made.key)["api"] == 503, "the key cannot be judged")
    assert system.api.get("/v1/nodes", system.admin_key)[0] == 200
    assert system.sub is not None
    assert system.sub.get("/v1/servers", made.key)[0] == 503
    system.redis.start()
    system.wait(lambda: set(asked(system, made.key).values()) == {200}, "the key is valid again")


def test_a_key_is_refused_within_a_second_after_its_end(make_system: Any, api_of: Any) -> None:
    system = make(make_system)
    system.wait_registered()
    ends = time.time() + 2.0
    made = api_of(system).make_key("guest", SCOPES, expires=int(ends * 1000))
    assert set(asked(system, made.key).values()) == {200}
    while time.time() < ends + TIGHT_SECONDS:
        asked(system, made.key)  # in use all the time
    assert set(asked(system, made.key).values()) == {401}


def test_a_key_is_changed_under_load_and_nothing_is_refused(make_system: Any, api_of: Any) -> None:
    """As docs/keys.md has it: a new key, then all use it, then the old one is revoked."""
    system = make(make_system)
    system.wait_registered()
    api = api_of(system)
    keys = [api.make_key("key0", ["push"]).key]
    pushed = 0
    for number in range(1, ROUNDS):
        keys.append(api.make_key(f"key{number}", ["push"]).key)
        for key in keys:
            with PushAPI(system.api.http_url, key, retries=0) as backend:
                backend.push(to={"user": "anna"}, data=number)
                pushed += 1
        (old,) = keys[:-1]
        assert api.revoke_key(f"key{number - 1}") == []
        keys = keys[-1:]
        with PushAPI(system.api.http_url, old, retries=0) as backend:
            with pytest.raises(PushAPIError) as refused:
                backend.push(to={"user": "anna"}, data=number)
            assert refused.value.code == "unauthenticated"
    assert pushed == 2 * (ROUNDS - 1)

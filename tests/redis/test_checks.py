"""What a server must be for us, and what is only said of it (rule 18)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from push.redis import client as server_module
from push.redis.checks import check_info, notes_of
from push.redis.client import RedisClient
from push.redis.connection.errors import UnsuitableServer
from push.redis.connection.replies import parsed_info
from tests.waiting import WaitUntil

Connect = Callable[..., Awaitable[RedisClient]]

PUSH = Path(server_module.__file__).parents[1]
GOOD = {"redis_version": "6.2.0", "role": "master", "aof_enabled": "1"}
ALL_GOOD = {"appendfsync": "always", "min-replicas-to-write": "1"}
RIGHTS = ["~push:*", "+@all", "-@admin", "-@dangerous", "+info", "+config|get", "+role"]


def test_the_answer_of_info_is_read() -> None:
    assert parsed_info(b"# Server\r\nredis_version:6.2.14\r\na:b:c\r\n\r\n") == {
        "redis_version": "6.2.14",
        "a": "b:c",
    }


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "7.0.15", "8.0", "255.255.255"])
def test_a_version_that_is_new_enough_is_fit(version: str) -> None:
    check_info({**GOOD, "redis_version": version})


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"redis_version": "6.0.16"}, r"it is version 6\.0\.16, and 6\.2 or newer is needed"),
        ({"redis_version": "5.0.3"}, "and 6.2 or newer is needed"),
        ({"redis_version": ""}, "version unknown"),
        ({"cluster_enabled": "1"}, "Redis Cluster"),
        ({"role": "slave"}, "give the URL of its master"),
        (
            {"maxmemory": "1000", "maxmemory_policy": "allkeys-lru"},
            r"maxmemory-policy allkeys-lru\): set maxmemory-policy noeviction",
        ),
        ({"maxmemory": "1000", "maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
    ],
)
def test_what_makes_a_server_useless_is_said_with_its_remedy(
    info: dict[str, str], problem: str
) -> None:
    with pytest.raises(UnsuitableServer, match=problem):
        check_info({**GOOD, **info})


@pytest.mark.parametrize(
    ("info", "settings", "replicated", "note"),
    [
        ({"aof_enabled": "0"}, {}, False, "an answered push may be lost when Redis is killed"),
        ({}, {"appendfsync": "everysec"}, False, "appendfsync is everysec, set it to always"),
        ({}, {"appendfsync": None}, False, "unless appendfsync is always: CONFIG GET is refused"),
        ({"maxmemory_policy": "allkeys-lru"}, {}, False, "maxmemory-policy is allkeys-lru"),
        ({}, {"min-replicas-to-write": "0"}, True, "set min-replicas-to-write 1"),
    ],
)
def test_what_is_less_safe_is_a_note(
    info: dict[str, str], settings: dict[str, str | None], replicated: bool, note: str
) -> None:
    (found,) = notes_of({**GOOD, **info}, {**ALL_GOOD, **settings}, replicated=replicated)
    assert note in found


def test_of_a_safe_server_nothing_is_said() -> None:
    assert notes_of(GOOD, ALL_GOOD, replicated=True) == []
    assert notes_of(GOOD, {**ALL_GOOD, "min-replicas-to-write": "0"}, replicated=False) == []


@pytest_twisted.ensureDeferred
async def test_an_evicting_server_is_not_used_until_its_policy_is_put_right(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil, log_lines: list[str]
) -> None:
    redis = make_redis(extra_configuration="maxmemory 100mb\nmaxmemory-policy allkeys-lru\n")
    server = await connect(redis.url, ready=False)
    await wait_until(lambda: "set maxmemory-policy noeviction" in (server.problem or ""))
    await wait_until(lambda: server._commands._attempts > 3)

    redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")

    await wait_until(lambda: server.problem is None)
    (line,) = [line for line in log_lines if "cannot be used" in line]
    assert "noeviction" in line
    assert [line for line in log_lines if line.endswith(": reconnected")]


@pytest_twisted.ensureDeferred
async def test_a_policy_that_is_changed_meanwhile_is_noticed_and_so_is_its_repair(
    connect: Connect,
    make_redis: Callable[..., Any],
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "RECHECK_SECONDS", 0.1)
    redis = make_redis(fsync="always")
    server = await connect(redis.url)
    assert server.notes == []

    redis.call("CONFIG", "SET", "appendfsync", "everysec")
    await wait_until(lambda: server.notes)
    assert "an answered push may be lost when Redis is killed" in server.notes[0]
    redis.call("CONFIG", "SET", "appendfsync", "always")
    await wait_until(lambda: not server.notes)
    redis.call("CONFIG", "SET", "maxmemory", "100mb")
    redis.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    await wait_until(lambda: server.problem is not None)
    redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await wait_until(lambda: server.problem is None)


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_sync_is_used_and_one_line_says_what_may_be_lost(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil, log_lines: list[str]
) -> None:
    redis = make_redis(fsync="everysec")
    server = await connect(redis.url)
    redis.call("CLIENT", "KILL", "TYPE", "normal")
    await wait_until(lambda: server.problem is not None)
    await wait_until(lambda: server.problem is None)

    assert len([line for line in log_lines if "may be lost when Redis is killed" in line]) == 1
    assert len(server.notes) == 1


@pytest_twisted.ensureDeferred
async def test_the_rights_that_are_asked_for_are_enough(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis(fsync="always")
    redis.call("ACL", "SETUSER", "me", "on", ">word", *RIGHTS, "resetchannels", "&push:*")

    server = await connect(f"unix://me:word@{redis.socket_path}")

    assert server.notes == []
    keys = redis.call("KEYS", "*")
    assert keys == b"*0\r\n", "what the rights were tried on is gone"


@pytest.mark.parametrize(
    ("rights", "problem"),
    [
        (["+@all", "~other:*", "&push:*"], "key"),
        (["+@all", "~push:*", "&other:*"], "PUBLISH"),
        (["+@all", "-xadd", "-zrem", "~push:*", "&push:*"], "may not use XADD, ZREM"),
        (["+@all", "-@scripting", "~push:*", "&push:*"], "eval"),
        (["+@all", "-subscribe", "~push:*", "&push:*"], "subscribe"),
        (["+@all", "-info", "~push:*", "&push:*"], "info"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_right_that_is_missing_is_said_until_it_is_given(
    connect: Connect,
    make_redis: Callable[..., Any],
    wait_until: WaitUntil,
    log_lines: list[str],
    rights: list[str],
    problem: str,
) -> None:
    redis = make_redis()
    redis.call("ACL", "SETUSER", "me", "on", ">word", "resetchannels", *rights)
    server = await connect(f"unix://me:word@{redis.socket_path}", ready=False)
    await wait_until(lambda: "ACL SETUSER" in (server.problem or ""))
    assert problem in (server.problem or "")
    assert "~push:* &push:*" in (server.problem or "")
    assert "cannot be used" in "\n".join(log_lines)

    redis.call("ACL", "SETUSER", "me", "+@all", "~push:*", "&push:*")

    await wait_until(lambda: server.problem is None)


def test_the_commands_that_are_tried_are_those_that_are_used() -> None:
    """By scripts, and by Python on keys of data; no daemon runs what resharding has, whose own test
    runs with these rights."""
    used: set[str] = set()
    for pattern, command in (
        ("*.lua", r"redis\.p?call\(\s*'([A-Z]+)'"),
        ("*.py", r"\.command\(\s*\"([A-Z]+)\""),
    ):
        for file in PUSH.rglob(pattern):
            if "resharding" not in file.parts:
                used |= set(re.findall(command, file.read_text()))
    tried = set(re.findall(r"\{'([A-Z]+)'", (PUSH / "lua" / "server" / "rights.lua").read_text()))
    assert len(used) > 20
    assert tried == used

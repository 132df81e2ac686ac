"""What a Redis server must be for us, asked on every new connection and now and then (rule 18).

What makes it useless raises `UnsuitableServer`; what makes a promise weaker is a note, for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred

from push.redis.connection.errors import StoreUnavailable, UnsuitableServer
from push.redis.connection.replies import Answer, Argument, parsed_info
from push.redis.scripts import LUA, Script

OLDEST_VERSION = (6, 2)
LOST_WHEN_KILLED = "an answered push may be lost when Redis is killed"

_rights = LUA.load_alone("server", "rights")
_SETTINGS = ("appendfsync", "min-replicas-to-write")

Ask = Callable[..., Deferred[Any]]


async def check_server(ask: Ask, key: str, channel: bytes, *, replicated: bool) -> list[str]:
    """Ask a server all of it; the notes. `key` and `channel` are ours to try the rights on."""
    info = parsed_info(await permitted(ask("INFO")))
    check_info(info)
    refused = await evaluate(ask, _rights, [key], [channel])
    if refused:
        words = ", ".join(dict.fromkeys(word.decode() for word in refused))
        raise UnsuitableServer(
            f"its user may not use {words} on our keys or channels: {_rights_wanted(key)}"
        )
    return notes_of(info, await _settings(ask), replicated=replicated)


async def check_master(ask: Ask) -> None:
    """What a sentinel says is not enough: it may be outdated, and the server a replica since."""
    role = (await permitted(ask("ROLE")))[0].decode()
    if role != "master":
        raise StoreUnavailable(f"the server that the sentinels name is no master but a {role}")


async def permitted(answer: Deferred[Answer]) -> Answer:
    """The answer to a command; `UnsuitableServer` with what is to be done if our user may not use
    it."""
    try:
        return await answer
    except txredisapi.ResponseError as error:
        text = str(error)
        if not text.startswith("NOPERM"):
            raise
        raise UnsuitableServer(
            f"{text.removeprefix('NOPERM ').rstrip('.')}: {_rights_wanted()}"
        ) from None


async def evaluate(
    ask: Ask,
    script: Script,
    keys: Sequence[str],
    arguments: Sequence[Argument],
) -> Any:
    """The answer of a script that is run before the server can be used; as `permitted`."""
    try:
        return await permitted(ask("EVAL", script.source, len(keys), *keys, *arguments))
    except txredisapi.ResponseError as error:
        raise txredisapi.ResponseError(script.explain(str(error))) from None


def _rights_wanted(key: str = "push:") -> str:
    prefix = key.partition(":")[0]
    return (
        f"give it ~{prefix}:* &{prefix}:* +@all -@admin -@dangerous +info +config|get +role "
        "by ACL SETUSER"
    )


def check_info(info: Mapping[str, str]) -> None:
    """Raises `UnsuitableServer` with what is wrong with the server that says this of itself."""
    version = info.get("redis_version", "")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise UnsuitableServer(
            f"it is version {version or 'unknown'}, and {oldest} or newer is needed"
        )
    if info.get("cluster_enabled") == "1":
        raise UnsuitableServer(
            "it is a part of a Redis Cluster, which cannot be used: give a single server"
        )
    if info.get("role") == "slave":
        raise UnsuitableServer("it is a replica, which takes no writes: give the URL of its master")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        raise UnsuitableServer(
            f"it throws away data when its memory is full (maxmemory-policy {policy}): "
            "set maxmemory-policy noeviction"
        )


async def _settings(ask: Ask) -> dict[str, str | None]:
    """None for one that cannot be asked: many hosters allow no CONFIG."""
    found: dict[str, str | None] = {}
    for name in _SETTINGS:
        try:
            answer = await ask("CONFIG", "GET", name)
        except txredisapi.ResponseError:
            answer = ()
        found[name] = answer[1].decode() if len(answer) == 2 else None
    return found


def notes_of(
    info: Mapping[str, str], settings: Mapping[str, str | None], *, replicated: bool
) -> list[str]:
    """What is not as safe as it could be, each with its remedy."""
    notes = []
    fsync = settings["appendfsync"]
    if info.get("aof_enabled") != "1":
        notes.append(f"{LOST_WHEN_KILLED}: set appendonly yes and appendfsync always")
    elif fsync is None:
        notes.append(f"{LOST_WHEN_KILLED}, unless appendfsync is always: CONFIG GET is refused")
    elif fsync != "always":
        notes.append(f"{LOST_WHEN_KILLED}: appendfsync is {fsync}, set it to always")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        notes.append(f"with a maxmemory it would throw away data: maxmemory-policy is {policy}")
    if replicated and settings["min-replicas-to-write"] == "0":
        notes.append(
            "a master that was cut off goes on taking writes that will be lost: "
            "set min-replicas-to-write 1"
        )
    return notes

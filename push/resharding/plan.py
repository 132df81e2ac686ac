"""What is being done, written on every server: it can be gone on with, nothing else begun."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.resharding.layout import Layout

Phase = Literal["prepare", "take"]

_mark = load_script("resharding", "mark")
_encode = msgspec.json.Encoder(order="sorted").encode


class NotResharded(Exception):
    """It cannot be done; the text is one line that says what to do."""


class ReshardPlan(msgspec.Struct, frozen=True, rename={"old": "from"}):
    """From one list of addresses to another. `phase`: "prepare" while nothing has changed yet,
    "take" when all is prepared, and it only goes on."""

    old: list[str]
    new: list[str]
    phase: Phase


class Shard(NamedTuple):
    """What a server knows of itself."""

    deployment: str
    number: int
    of: int
    plan: ReshardPlan | None


async def read_shard(server: RedisClient) -> Shard | None:
    """None when it belongs to no deployment; one from before there were several is alone."""
    deployment, number, of, moving = await server.command(
        "HMGET", server.key(keyspace.SHARD), "deployment", "number", "of", "moving"
    )
    if deployment is not None:
        plan = msgspec.json.decode(moving, type=ReshardPlan) if moving else None
        return Shard(deployment.decode(), int(number), int(of), plan)
    if await server.command("EXISTS", server.key(keyspace.CLOCK)):
        return Shard("", 0, 1, None)
    return None


async def mark(
    server: RedisClient, deployment: str, number: int, of: int, plan: ReshardPlan | None
) -> None:
    """Behind a master with replicas, one of them has it then, and all that was written before."""
    text = _encode(plan) if plan else b""
    await server.run(_mark, [], [deployment, number, of, text], durable=True)


class Standing(NamedTuple):
    """How far it is. `phase` None: nothing was begun; `done`: the servers are as they shall be."""

    deployment: str
    phase: Phase | None
    done: bool = False


def standing(layout: Layout, shards: Mapping[int, Shard | None], wanted: ReshardPlan) -> Standing:
    """Raises `NotResharded` when the servers are not what the lists say."""
    plans = [shard.plan for shard in shards.values() if shard and shard.plan]
    for plan in plans:
        if (plan.old, plan.new) != (wanted.old, wanted.new):
            raise NotResharded(
                f"a move from {' '.join(plan.old)} to {' '.join(plan.new)} was broken off: run "
                "that again first, or give it up with --abandon"
            )
    present = shards[layout.old[0]] or shards[layout.new[0]]
    deployment = (present.deployment if present else "") or secrets.token_hex(8)
    if plans:
        taking = any(plan.phase == "take" for plan in plans)
        return Standing(deployment, "take" if taking else "prepare")
    if all(_is(shards[place], n, len(layout.new)) for n, place in enumerate(layout.new)):
        return Standing(deployment, None, done=True)
    _check_old(layout, shards, deployment)
    _check_coming(layout, shards, deployment)
    return Standing(deployment, None)


def _is(shard: Shard | None, number: int, of: int) -> bool:
    return shard is not None and (shard.number, shard.of) == (number, of)


def _check_old(layout: Layout, shards: Mapping[int, Shard | None], deployment: str) -> None:
    count = len(layout.old)
    for number, place in enumerate(layout.old):
        shard = shards[place]
        name = layout.servers[place].address
        if shard is None:
            raise NotResharded(
                f"Redis at {name} has nothing of a deployment: if the others have nothing either, "
                "set [redis] url to the new list and start the daemons"
            )
        if shard.deployment not in ("", deployment):
            raise NotResharded(f"Redis at {name} belongs to another deployment than the first")
        if not _is(shard, number, count):
            raise NotResharded(
                f"Redis at {name} is number {shard.number + 1} of {shard.of} in its deployment, "
                f"and in [redis] url number {number + 1} of {count}: give the list that it has now"
            )


def _check_coming(layout: Layout, shards: Mapping[int, Shard | None], deployment: str) -> None:
    for place in layout.coming:
        shard = shards[place]
        if shard is None:
            continue
        name = layout.servers[place].address
        if shard.deployment != deployment:
            raise NotResharded(
                f"Redis at {name} belongs to another deployment: empty it, or name another"
            )
        raise NotResharded(
            f"Redis at {name} has the data of number {shard.number + 1} of {shard.of} of this "
            "deployment. If it is a copy that is to be used, put its URL there in [redis] url, "
            "which needs no reshard; else delete what it has"
        )

"""When it cannot be done: one clear line, and nothing is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from push.redis.connection.url import parse_store_url
from push.resharding import connecting
from push.resharding.plan import NotResharded
from push.resharding.run import Resharding
from tests import warm
from tests.resharding.world import Worlds
from tests.waiting import DEADLINE_SECONDS

PUSHCTL = Path(sys.executable).parent / "pushctl"


async def deployed(make_world: Any, urls: list[str]) -> Worlds:
    """A deployment with some devices, stopped."""
    world = await make_world(1, urls)
    for _ in range(6):
        pair = await world.devices.register(platform="p", app="a", ip="::1")
        world.secrets[pair.token] = pair.secret
    await world.say("all")
    await world.unsettle()
    return world  # type: ignore[no-any-return]


async def refused(move: Any, old: list[str], new: list[str], **options: Any) -> str:
    with pytest.raises(NotResharded) as error:
        await move(old, new, **options)
    return str(error.value)


@pytest_twisted.ensureDeferred
async def test_while_a_daemon_runs(make_world: Any, make_redis: Any, move: Any) -> None:
    redises = [make_redis() for _ in range(2)]
    urls = [redis.url for redis in redises]
    await make_world(1, urls[:1])

    text = await refused(move, urls[:1], urls)

    assert text.startswith(f"1 process is connected to Redis at {urls[0]}")
    assert text.endswith("stop all daemons first")
    assert redises[1].call("DBSIZE") == b":0\r\n"


@pytest_twisted.ensureDeferred
async def test_a_new_server_that_has_something_of_ours(
    make_world: Any, make_redis: Any, move: Any
) -> None:
    redises = [make_redis() for _ in range(3)]
    urls = [redis.url for redis in redises]
    await deployed(make_world, urls[:1])
    redises[1].call("SET", "push:log:dev:x", "1")
    await deployed(make_world, urls[2:])

    assert "has keys push:*: delete them" in await refused(move, urls[:1], urls[:2])
    assert "belongs to another deployment" in await refused(move, urls[:1], [urls[0], urls[2]])


@pytest_twisted.ensureDeferred
async def test_a_copy_of_a_server_needs_no_reshard(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    """A replica that was promoted has our identity: its URL is simply put in place."""
    first, second = make_redis(), make_redis()
    await deployed(make_world, [first.url, second.url])
    second.stop()
    copy = make_redis()
    copy.stop()
    shutil.copytree(second.folder, copy.folder, dirs_exist_ok=True)
    for redis in (second, copy):
        redis.start()

    old, new = [first.url, second.url], [first.url, copy.url]

    assert (await move(old, new)).done_before
    text = await refused(move, old, [*new, make_redis().url])
    assert "has the data of number 2 of 2 of this deployment" in text
    assert "needs no reshard" in text


@pytest_twisted.ensureDeferred
async def test_the_present_list_is_not_that_of_the_servers(
    make_world: Any, make_redis: Any, move: Any
) -> None:
    urls = [make_redis().url for _ in range(3)]
    await deployed(make_world, urls[:2])

    assert "is number 1 of 2 in its deployment" in await refused(move, urls[:1], urls)
    swapped = [urls[1], urls[0]]
    assert "give the list that it has now" in await refused(move, swapped, urls)
    assert "has nothing of a deployment" in await refused(move, urls[2:], urls[:1])


@pytest_twisted.ensureDeferred
async def test_a_list_that_is_so_already(make_world: Any, make_redis: Any, move: Any) -> None:
    urls = [make_redis().url for _ in range(2)]
    await deployed(make_world, urls)

    assert (await move(urls, urls)).done_before
    await move(urls, urls[:1])
    assert (await move(urls, urls[:1])).done_before


@pytest_twisted.ensureDeferred
async def test_one_server_by_two_names(make_world: Any, make_redis: Any, move: Any) -> None:
    redis = make_redis()
    await deployed(make_world, [redis.url])
    other_name = redis.folder / "other.sock"
    other_name.symlink_to(redis.socket_path)

    text = await refused(move, [redis.url], [redis.url, f"unix://{other_name}"])

    assert text == "--to names one server twice"


@pytest_twisted.ensureDeferred
async def test_a_key_of_a_kind_that_is_not_known(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    redises = [make_redis() for _ in range(2)]
    urls = [redis.url for redis in redises]
    await deployed(make_world, urls[:1])
    redises[0].call("SET", "push:novelty:1", "1")

    assert "the key novelty:1 is of a kind" in await refused(move, urls[:1], urls)
    await move(urls[:1], urls, abandon=True)
    assert redises[1].call("DBSIZE") == b":0\r\n"
    redises[0].call("DEL", "push:novelty:1")
    assert (await move(urls[:1], urls)).devices == 6


@pytest_twisted.ensureDeferred
async def test_a_server_that_was_started_again_meanwhile_may_have_lost_something(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    """However short it was, and whether or not it was asked for anything just then."""
    from twisted.internet import reactor

    redises = [make_redis() for _ in range(2)]
    urls = [redis.url for redis in redises]
    await deployed(make_world, urls[:1])
    old, new = [parse_store_url(urls[0])], [parse_store_url(url) for url in urls]
    layout = await connecting.connect(reactor, old, new)
    try:
        redises[1].kill()
        await wait_until(lambda: layout.servers[1].problem is not None)
        redises[1].start()
        await wait_until(lambda: layout.servers[1].problem is None)
        with pytest.raises(NotResharded) as error:
            await Resharding(reactor, layout, urls[:1], urls, lambda text: None).run()
    finally:
        await connecting.disconnect(layout.servers)

    assert str(error.value).endswith("was lost meanwhile: run the same again")
    assert (await move(urls[:1], urls)).devices == 6


@pytest_twisted.ensureDeferred
async def test_nothing_to_give_up(make_world: Any, make_redis: Any, move: Any) -> None:
    urls = [make_redis().url for _ in range(2)]
    await deployed(make_world, urls[:1])

    assert "nothing was broken off" in await refused(move, urls[:1], urls, abandon=True)


@pytest_twisted.ensureDeferred
async def test_a_dry_run_changes_nothing(make_world: Any, make_redis: Any, move: Any) -> None:
    redises = [make_redis() for _ in range(3)]
    urls = [redis.url for redis in redises]
    await deployed(make_world, urls[:2])
    before = [redis.call("DEBUG", "DIGEST") for redis in redises]

    outcome = await move(urls[:2], urls, dry=True)

    assert [redis.call("DEBUG", "DIGEST") for redis in redises] == before
    assert outcome.dry_run
    assert outcome.devices == 6
    assert outcome.arriving[urls[2]] > 0


@pytest_twisted.ensureDeferred
async def test_the_rights_that_daemons_have_are_enough(
    make_world: Any, make_redis: Any, move: Any
) -> None:
    redises = [make_redis() for _ in range(2)]
    rights = ("~push:*", "+@all", "-@admin", "-@dangerous", "+info", "+config|get", "+role")
    for redis in redises:
        redis.call("ACL", "SETUSER", "me", "on", ">word", *rights, "resetchannels", "&push:*")
    urls = [f"unix://me:word@{redis.socket_path}" for redis in redises]
    await deployed(make_world, urls)

    assert (await move(urls, urls[1:])).devices == 6


# As a user sees it


def pushctl(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [str(PUSHCTL), "reshard", *arguments],
        env={**os.environ, "PUSH_REDIS_URL": url},
        timeout=DEADLINE_SECONDS,
    )


@pytest.mark.parametrize(
    ("url", "to", "text"),
    [
        ("embedded", "redis://a", "the embedded Redis is one server by itself"),
        ("redis://a", "http://b", "--to: a Redis URL begins with redis://"),
        ("redis//a", "redis://b", 'PUSH_REDIS_URL: expected "embedded" or a URL'),
        ("unix:///nowhere.sock", "redis://b", "Redis at unix:///nowhere.sock is unreachable"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(url: str, to: str, text: str) -> None:
    ran = pushctl("--to", to, url=url)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert text in ran.stderr
    assert ran.stderr.startswith("pushctl: ")
    assert ran.stderr.count("\n") == 1


def test_a_list_is_needed_and_the_help_has_examples() -> None:
    ran = pushctl(url="redis://a")
    assert ran.returncode == 2
    assert "--to" in ran.stderr
    shown = pushctl("--help", url="redis://a")
    assert "pushctl reshard --config /etc/push.toml --to redis://a" in shown.stdout

"""What `pushctl reshard` runs: settings as the daemons read them, and a reactor of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from push.daemons.config.errors import StartError
from push.daemons.config.loading import load
from push.daemons.services.redis import load_trust_root
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.url import StoreAddress, parse_store_url
from push.resharding import connecting
from push.resharding.plan import NotResharded
from push.resharding.run import Resharding, ReshardOutcome
from push.runtime.ports import Reactor

TELL_SECONDS = 2.0


class BrokenOff(Exception):
    """By a signal."""


class ReshardArguments(NamedTuple):
    """`to`: the URLs of the new list; `config`: the file of the daemons, if they have one."""

    to: Sequence[str]
    config: str | None
    dry: bool = False
    abandon: bool = False


def run(asked: ReshardArguments, report: Callable[[str], None]) -> ReshardOutcome | None:
    """Do it, to the end. `report` is called with the progress, now and then.

    Raises `NotResharded`, `BrokenOff`.
    """
    found: list[ReshardOutcome | None] = []
    failed: list[Exception] = []

    async def work(reactor: Reactor) -> None:
        # A signal stops the reactor; that connections are lost then is no news.
        reactor.addSystemEventTrigger("before", "shutdown", failed.append, BrokenOff())
        try:
            found.append(await reshard(reactor, asked, _now_and_then(reactor, report)))
        except (NotResharded, StartError) as error:
            failed.append(NotResharded(str(error)))
        except StoreUnavailable as error:
            failed.append(NotResharded(f"{error.reason}. When it is reachable, run the same again"))

    try:
        react(lambda reactor: Deferred.fromCoroutine(work(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    if found:
        return found[0]
    raise failed[0]


async def reshard(
    reactor: Reactor, asked: ReshardArguments, report: Callable[[str], None]
) -> ReshardOutcome | None:
    """None when it was given up."""
    settings = load(config_file=asked.config, environment=os.environ).redis
    if settings.url.embedded:
        raise NotResharded(
            "the embedded Redis is one server by itself: run a server of your own on its data, "
            "set [redis] url to its URL, then reshard"
        )
    old = [parse_store_url(url) for url in settings.url.urls]
    new = [_parsed(url) for url in asked.to]
    layout = await connecting.connect(
        reactor,
        old,
        new,
        trust_root=load_trust_root(settings.ca_file),
        may_be_away=asked.abandon,
    )
    try:
        names = [str(address) for address in old], [str(address) for address in new]
        resharding = Resharding(reactor, layout, *names, report)
        if asked.abandon:
            await resharding.abandon()
            return None
        return await resharding.run(dry=asked.dry)
    finally:
        await connecting.disconnect(layout.servers)


def _parsed(url: str) -> StoreAddress:
    try:
        return parse_store_url(url)
    except ValueError as error:
        raise NotResharded(f"--to: {error}") from None


def _now_and_then(reactor: Reactor, report: Callable[[str], None]) -> Callable[[str], None]:
    last = reactor.seconds()

    def maybe(text: str) -> None:
        nonlocal last
        if reactor.seconds() - last >= TELL_SECONDS:
            last = reactor.seconds()
            report(text)

    return maybe

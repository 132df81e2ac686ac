"""`pushctl events`: what happens now, as it happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
import msgspec

from push.pushctl.terminal import output
from push.pushctl.terminal.errors import INTERRUPTED, explain
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.periods import Period
from push.sdk.errors import PushAPIUnreachable
from push.wire.api.operate.events import EVENT_KINDS, SKIPPED, Event

RETRY_SECONDS = (1, 2, 5, 10)
# What of an event is shown with its name, after the time, the kind and the node.
_SHOWN = ("token", "user", "session", "ip", "message", "code", "reason", "n")


@click.command("events")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(EVENT_KINDS),
    help="Only events of this kind; may be repeated.",
)
@click.option("--user", metavar="USER", help="Only those of a user.")
@click.option("--token", metavar="TOKEN", help="Only those of a device.")
@click.option("--node", metavar="NODE", help="Only those of a node.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--for", "period", type=Period(), metavar="PERIOD", help="End after it, as 30s.")
@common_options
@click.pass_obj
def events(
    common: Common,
    kinds: tuple[str, ...],
    user: str | None,
    token: str | None,
    node: str | None,
    count: int | None,
    period: int | None,
) -> None:
    """Print what happens in the cluster as it happens, until Ctrl-C.

    At most 200 events a second come; `skipped` says how many were left out. When the connection is
    lost, it is made again, and what happened meanwhile is missing.

    \b
    Examples:
      pushctl events
      pushctl events --kind connected --kind disconnected --for 10s
      pushctl events --token 03DMV9EK31WTE= --json | jq .event
    """
    given = {"user": user, "token": token, "node": node}
    filters = {name: value for name, value in given.items() if value is not None}
    asked = _Wanted(kinds, filters, count)
    try:
        asyncio.run(_follow(common, asked, period))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # the way it is meant to end


@dataclass(slots=True)
class _Wanted:
    kinds: Sequence[str]
    filters: dict[str, str]
    left: int | None


async def _follow(common: Common, asked: _Wanted, period: int | None) -> None:
    try:
        async with asyncio.timeout(period):
            await _follow_again(common, asked)
    except TimeoutError:
        return


async def _follow_again(common: Common, asked: _Wanted) -> None:
    """Whether the address is wrong is known from the first attempt; later ones are made again."""
    failures = 0
    async with common.async_api() as api:
        await api.nodes()  # a wrong address or key is told at once
        while True:
            try:
                async for event in api.events(kinds=asked.kinds, **asked.filters):
                    failures = 0
                    if _shown(common, asked, event):
                        return
            except PushAPIUnreachable as error:
                seconds = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                common.notice(f"{explain(error)}; again in {seconds} s")
                await asyncio.sleep(seconds)


def _shown(common: Common, asked: _Wanted, event: Event) -> bool:
    """Whether it was the last one."""
    if common.json:
        fields = msgspec.to_builtins(event)
        fields.pop("kind", None)
        output.print_json({"event": event.kind, **fields})
    else:
        output.say(" ".join(_words(event)))
    if asked.left is not None and event.kind != SKIPPED:
        asked.left -= 1
    return asked.left == 0


def _words(event: Event) -> Iterator[str]:
    yield output.utc_time(event.ts)
    yield event.kind
    yield event.node or "-"
    for name in _SHOWN:
        value = getattr(event, name)
        if value not in (None, ""):
            yield f"{name} {value}"

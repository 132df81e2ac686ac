"""`pushctl nodes`, `drain`, `servers` and `stats`: the daemons of the cluster."""

from __future__ import annotations

import re
from typing import Any

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.options import Common, common_options
from push.wire.defaults import MAX_DRAIN_RATE_PER_SECOND


class DrainRate(click.ParamType[int]):
    """Sessions a second: `500` or `500/s`."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = re.fullmatch(r"([1-9]\d{0,6})(/s)?", str(value))
        if found is None:
            self.fail(f"{value!r} is not a rate, as 500 or 500/s", param, ctx)
        rate = int(found[1])
        if rate > MAX_DRAIN_RATE_PER_SECOND:
            self.fail(f"{rate} is more than {MAX_DRAIN_RATE_PER_SECOND:,}", param, ctx)
        return rate


@click.command("drain")
@click.argument("node", metavar="NODE")
@click.option(
    "--rate",
    type=DrainRate(),
    metavar="N/s",
    help="Sessions a second; the connector's own rate if not given.",
)
@common_options
@click.pass_obj
def drain(common: Common, node: str, rate: int | None) -> None:
    """Empty the connector NODE: its sessions go to other connectors, and its process ends.

    The answer comes at once; `pushctl stats` shows how many sessions are left. Without another
    connector it ends at once. NODE is the name of its node, as in `pushctl stats`.

    \b
    Examples:
      pushctl drain gate-1
      pushctl drain gate-1 --rate 200/s
    """
    with common.api() as api:
        api.drain(node, rate=rate)
    common.print_done(f"{node}: draining", {"node": node, "draining": True})


@click.command("nodes")
@common_options
@click.pass_obj
def nodes(common: Common) -> None:
    """List the daemons of the cluster, with their versions, sessions and addresses.

    \b
    Examples:
      pushctl nodes
      pushctl nodes --json | jq .instance
    """
    with common.api() as api:
        found = api.nodes()
    common.print_list(found, (*_HEADINGS, "addresses"), _cells, "no daemons")


# What fits a terminal. All that is known of a daemon is in the output of `--json`.
_HEADINGS = ("service", "node", "state", "version", "sessions", "started")


def _cells(node: dict[str, Any]) -> tuple[str | None, ...]:
    addresses = node.get("addresses")
    urls = " ".join(map(str, addresses.values())) if isinstance(addresses, dict) else None
    return (*_short_cells(node), urls)


def _short_cells(node: dict[str, Any]) -> tuple[str | None, ...]:
    started, version = node.get("started"), node.get("version")
    return (
        str(node.get("service")),
        str(node.get("instance")),
        "draining" if node.get("draining") else "up",
        None if version is None else str(version),
        str(node.get("sessions")),
        output.utc_time(started if isinstance(started, int) else None),
    )


@click.command("servers")
@click.option(
    "--carrier", type=click.Choice(["tcp", "tls", "ws", "wss"]), help="Only servers of this kind."
)
@common_options
@click.pass_obj
def servers(common: Common, carrier: str | None) -> None:
    """List where devices can connect now, best first.

    \b
    Examples:
      pushctl servers
      pushctl servers --carrier tls --json | jq -r .server
    """
    with common.api("app.key", "admin.key") as api:
        found = api.servers(carrier).servers
    if common.json:
        for url in found:
            output.print_json({"server": url})
    else:
        output.print_table(("server",), ((url,) for url in found), "no servers")


@click.command("stats")
@common_options
@click.pass_obj
def stats(common: Common) -> None:
    """Print the server's numbers.

    \b
    Examples:
      pushctl stats
      pushctl stats --json | jq .
    """
    with common.api() as api:
        numbers = api.stats()
    if common.json:
        output.print_json(numbers)
    else:
        _print_tables(numbers)


def _print_tables(numbers: dict[str, Any]) -> None:
    """One of all numbers, one of the nodes, and one of each other list of objects with their
    members as columns."""
    lists = {name: value for name, value in numbers.items() if _is_list_of_objects(value)}
    rest = {name: value for name, value in numbers.items() if name not in lists}
    output.print_table(("name", "value"), output.flattened(rest) if rest else (), "no numbers")
    for name, items in lists.items():
        output.say("")
        output.say(f"{name}:")
        if name == "nodes":
            output.print_table(_HEADINGS, map(_short_cells, items), "no daemons")
        else:
            rows = [dict(output.flattened(item)) for item in items]
            headings = list(dict.fromkeys(heading for row in rows for heading in row))
            output.print_table(headings, ([row.get(h) for h in headings] for row in rows), "none")


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)

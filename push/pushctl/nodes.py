"""`pushctl nodes` and `pushctl drain`: the daemons, and taking one out of service without harm."""

from __future__ import annotations

import re
from typing import Any

import click

from push.pushctl.options import Common, common_options, print_json


class Rate(click.ParamType):
    """Sessions a second: `500` or `500/s`."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        found = re.fullmatch(r"([1-9]\d{0,6})(/s)?", str(value))
        if found is None:
            self.fail(f"{value!r} is not a rate, as 500 or 500/s", param, ctx)
        return int(found[1])


@click.command("drain")
@click.argument("node", metavar="NODE")
@click.option("--rate", type=Rate(), metavar="N/s", help="Sessions a second; its own if not given.")
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
    if common.json:
        print_json({"node": node, "draining": True})
    else:
        click.echo(f"{node}: draining")


@click.command("nodes")
@common_options
@click.pass_obj
def nodes(common: Common) -> None:
    """List the daemons of the cluster, with their sessions and addresses.

    \b
    Examples:
      pushctl nodes
      pushctl nodes --json | jq .instance
    """
    with common.api() as api:
        found = api.nodes()
    for node in found:
        if common.json:
            print_json(node)
            continue
        state = "draining" if node["draining"] else "up"
        places = " ".join(node["addresses"].values())
        line = f"{node['service']:<14}  {node['instance']}  {state}  {node['sessions']}  {places}"
        click.echo(line.rstrip())

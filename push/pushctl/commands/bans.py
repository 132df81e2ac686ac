"""`pushctl ban`, `unban` and `bans`: addresses, devices and users that may not connect."""

from __future__ import annotations

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.periods import Period, ms_from_now
from push.pushctl.terminal.targets import exactly_one, target_options
from push.sdk.backend import Ban


@click.command("ban")
@target_options("ip", "token", "user")
@click.option(
    "--for",
    "period",
    type=Period(),
    metavar="PERIOD",
    help="As 90s, 10m, 12h or 30d; else until `unban`.",
)
@yes_option
@common_options
@click.pass_obj
def ban(common: Common, /, period: int | None, yes: bool, **target: str | None) -> None:
    """Refuse an address or network, a device or a user; live sessions end.

    With --ip it asks first, because there may be many sessions from one address.

    \b
    Examples:
      pushctl ban --user mallory
      pushctl ban --ip 192.0.2.0/24 --for 12h --yes
    """
    kind, value = exactly_one(target)
    until = ms_from_now(period)
    if kind == "ip":
        ask_first(yes, f"This ends all sessions of {value} and refuses new ones.")
    with common.api() as api:
        done = api.ban(**target, until=until)
    common.print_done(f"{kind} {value}: banned {_end(done.until)}", done)
    common.fail_if_silent(done.silent)


@click.command("unban")
@target_options("ip", "token", "user")
@common_options
@click.pass_obj
def unban(common: Common, /, **target: str | None) -> None:
    """Lift a ban.

    \b
    Examples:
      pushctl unban --user mallory
      pushctl unban --ip 192.0.2.0/24
    """
    kind, value = exactly_one(target)
    common.change(lambda api: api.unban(**target), f"{kind} {value}: not banned any more")


@click.command("bans")
@common_options
@click.pass_obj
def bans(common: Common) -> None:
    """List the bans in effect: their kind, name and end.

    \b
    Examples:
      pushctl bans
      pushctl bans --json | jq .user
    """
    with common.api() as api:
        common.print_list(api.each_ban(), ("kind", "name", "until"), _cells, "no bans")


def _cells(ban: Ban) -> tuple[str | None, ...]:
    kind = "ip" if ban.ip else "token" if ban.token else "user"
    return kind, getattr(ban, kind), "lifted" if ban.until is None else output.utc_time(ban.until)


def _end(until: int | None) -> str:
    return "until it is lifted" if until is None else f"until {output.utc_time(until)}"

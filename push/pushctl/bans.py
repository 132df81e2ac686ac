"""`pushctl ban`, `unban` and `bans`: who may not connect."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

from push.pushctl.clients import tell_silent
from push.pushctl.options import Common, common_options, print_json

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_who = [
    click.option("--ip", metavar="IP", help="This address or network."),
    click.option("--token", metavar="TOKEN", help="This device."),
    click.option("--user", metavar="USER", help="This user, with all devices."),
]


def _exactly_one(ip: str | None, token: str | None, user: str | None) -> None:
    if sum(value is not None for value in (ip, token, user)) != 1:
        raise click.UsageError("give exactly one of --ip, --token and --user")


def _period_seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII)
    if not found or int(found[1]) == 0:
        raise click.UsageError(f"--for {text!r}: expected a number and s, m, h or d, as 30d")
    return int(found[1]) * _UNITS[found[2]]


@click.command("ban")
@_who[0]
@_who[1]
@_who[2]
@click.option("--for", "period", metavar="PERIOD", help="As 90s, 10m, 12h or 30d; else for ever.")
@common_options
@click.pass_obj
def ban(
    common: Common, ip: str | None, token: str | None, user: str | None, period: str | None
) -> None:
    """Refuse an address, a device or a user; live sessions end.

    \b
    Examples:
      pushctl ban --user mallory
      pushctl ban --ip 192.0.2.0/24 --for 12h
    """
    _exactly_one(ip, token, user)
    until = None if period is None else int((time.time() + _period_seconds(period)) * 1000)
    with common.api() as api:
        done = api.ban(ip=ip, token=token, user=user, until=until)
    if common.json:
        print_json(done)
    tell_silent(done.silent)


@click.command("unban")
@_who[0]
@_who[1]
@_who[2]
@common_options
@click.pass_obj
def unban(common: Common, ip: str | None, token: str | None, user: str | None) -> None:
    """Lift a ban.

    \b
    Examples:
      pushctl unban --user mallory
      pushctl unban --ip 192.0.2.0/24
    """
    _exactly_one(ip, token, user)
    with common.api() as api:
        tell_silent(api.unban(ip=ip, token=token, user=user))


@click.command("bans")
@common_options
@click.pass_obj
def bans(common: Common) -> None:
    """List the bans that hold: kind, whom, and until when.

    \b
    Examples:
      pushctl bans
      pushctl bans --json | jq .user
    """
    with common.api() as api:
        for each in api.each_ban():
            if common.json:
                print_json(each)
                continue
            kind = "ip" if each.ip else "token" if each.token else "user"
            end = "for ever"
            if each.until is not None:
                end = f"until {datetime.fromtimestamp(each.until / 1000, UTC):%Y-%m-%d %H:%M} UTC"
            click.echo(f"{kind}  {getattr(each, kind)}  {end}")

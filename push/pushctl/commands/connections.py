"""`pushctl connections` and `kick`: live sessions, and ending them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.targets import exactly_one, target_options
from push.sdk.backend import Connection

PAGE = 200
HEADINGS = ("session", "device", "user", "node", "address", "carrier", "connected")


@click.command("connections")
@click.option("--node", metavar="NODE", help="Of this connector.")
@click.option("--user", metavar="USER", help="Of this user.")
@click.option("--ip", metavar="IP", help="Of this address or network.")
@click.option("--topic", metavar="TOPIC", help="That follow this topic.")
@common_options
@click.pass_obj
def connections(common: Common, /, **filters: str | None) -> None:
    """List live sessions, with device, user, node, address, carrier, and since when.

    Nodes that do not answer are named on standard error; the list is then incomplete, and the exit
    status 1.

    \b
    Examples:
      pushctl connections
      pushctl connections --user ada --json | jq .session
      pushctl connections --ip 10.0.0.0/8
    """
    silent: set[str] = set()

    def rows() -> Iterator[Connection]:
        cursor: str | None = None
        while True:
            page = api.connections(**filters, cursor=cursor, limit=PAGE)
            yield from page.connections
            silent.update(page.silent)
            cursor = page.cursor
            if cursor is None:
                return

    with common.api() as api:
        common.print_list(rows(), HEADINGS, _cells, "no sessions")
    common.fail_if_silent(silent)


def _cells(row: Connection) -> tuple[str | None, ...]:
    connected = output.utc_time(row.connected)
    return row.session, row.token, row.user, row.node, row.ip, row.carrier, connected


@click.command("kick")
@target_options("session", "token", "user", "ip")
@yes_option
@common_options
@click.pass_obj
def kick(common: Common, /, yes: bool, **target: str | None) -> None:
    """End sessions: their clients do not reconnect by themselves.

    With --ip it asks first, because there may be many sessions from one address.

    \b
    Examples:
      pushctl kick --user ada
      pushctl kick --ip 192.0.2.0/24 --yes --json | jq .kicked
    """
    kind, value = exactly_one(target)
    with common.api() as api:
        if kind == "ip":
            ask_first(yes, f"This ends all sessions of {value}.")
        call = {
            "session": api.kick_session,
            "token": api.kick_device,
            "user": api.kick_user,
            "ip": api.kick_ip,
        }[kind]
        done = call(value)
    common.print_done(f"ended {output.counted(done.kicked, 'session')}", done)
    common.fail_if_silent(done.silent)

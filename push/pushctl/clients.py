"""`pushctl connections`, `kick` and `user`: who is connected, and ending sessions."""

from __future__ import annotations

from collections.abc import Sequence

import click

from push.pushctl.options import Common, common_options, print_json

PAGE = 200


@click.command("connections")
@click.option("--node", metavar="NODE", help="Of this connector.")
@click.option("--user", metavar="USER", help="Of this user.")
@click.option("--ip", metavar="IP", help="Of this address or network.")
@click.option("--topic", metavar="TOPIC", help="That follow this topic.")
@common_options
@click.pass_obj
def connections(
    common: Common, node: str | None, user: str | None, ip: str | None, topic: str | None
) -> None:
    """List live sessions: id, device, user, node, address and carrier, - for none.

    Nodes that do not answer are named on standard error.

    \b
    Examples:
      pushctl connections
      pushctl connections --user ada --json | jq .session
      pushctl connections --ip 10.0.0.0/8
    """
    cursor: str | None = None
    silent: set[str] = set()
    with common.api() as api:
        while True:
            page = api.connections(
                node=node, user=user, ip=ip, topic=topic, cursor=cursor, limit=PAGE
            )
            for each in page.connections:
                if common.json:
                    print_json(each)
                else:
                    names = (each.session, each.token, each.user, each.node, each.ip, each.carrier)
                    click.echo("  ".join(name or "-" for name in names))
            silent.update(page.silent)
            cursor = page.cursor
            if cursor is None:
                break
    tell_silent(sorted(silent))


@click.command("kick")
@click.option("--session", metavar="ID", help="This session.")
@click.option("--token", metavar="TOKEN", help="The session of this device.")
@click.option("--user", metavar="USER", help="All sessions of this user.")
@click.option("--ip", metavar="IP", help="All sessions of this address or network.")
@common_options
@click.pass_obj
def kick(
    common: Common, session: str | None, token: str | None, user: str | None, ip: str | None
) -> None:
    """End sessions: their clients do not come back by themselves.

    \b
    Examples:
      pushctl kick --user ada
      pushctl kick --ip 192.0.2.0/24 --json | jq .kicked
    """
    given = [value for value in (session, token, user, ip) if value is not None]
    if len(given) != 1:
        raise click.UsageError("give exactly one of --session, --token, --user and --ip")
    with common.api() as api:
        if session is not None:
            done = api.kick_session(session)
        elif token is not None:
            done = api.kick_device(token)
        elif user is not None:
            done = api.kick_user(user)
        else:
            done = api.kick_ip(given[0])
    if common.json:
        print_json(done)
        return
    click.echo(f"kicked {done.kicked}")
    tell_silent(done.silent)


@click.command("user")
@click.argument("name", metavar="ID")
@common_options
@click.pass_obj
def user(common: Common, name: str) -> None:
    """Show whether the user ID is online, and the user's devices.

    \b
    Examples:
      pushctl user ada
      pushctl user ada --json | jq .online
    """
    with common.api() as api:
        found = api.user(name)
    if common.json:
        print_json(found)
        return
    click.echo(f"{name}: {'online' if found['online'] else 'away'}")
    for device in found["devices"]:
        place = device["node"] if device["online"] else "away"
        click.echo(f"{device['token']}  {device['platform']}  {device['app']}  {place}")
    tell_silent(found.get("silent", ()))


def tell_silent(nodes: Sequence[str]) -> None:
    for node in nodes:
        click.echo(f"pushctl: node {node} did not answer", err=True)

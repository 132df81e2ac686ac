"""`pushctl reshard`: another list of Redis servers. The only command that talks to Redis itself."""

from __future__ import annotations

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.errors import Failure, Interrupted
from push.pushctl.terminal.options import Common, common_options


@click.command("reshard")
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The daemons' configuration, with the present list. [default: PUSH_REDIS_URL]",
)
@click.option(
    "--to",
    multiple=True,
    required=True,
    envvar="PUSHCTL_RESHARD_TO",
    metavar="URL",
    help="A server of the new list; repeated, in their order. "
    "[env PUSHCTL_RESHARD_TO, separated by spaces: passwords are then in no list of processes]",
)
@click.option("--dry-run", is_flag=True, help="Check everything and count, and change nothing.")
@click.option(
    "--abandon",
    is_flag=True,
    help="Undo an interrupted run, unless its new data has replaced the present data already.",
)
@common_options
@click.pass_obj
def reshard(
    common: Common, config: str | None, to: tuple[str, ...], dry_run: bool, abandon: bool
) -> None:
    """Move everything to where it belongs in another list of Redis servers.

    The present list is that of the daemons: [redis] url in --config FILE, or PUSH_REDIS_URL. Stop
    all daemons first; afterwards set [redis] url to the new list and start them. If it is broken
    off, daemons refuse the servers until the same command was run again.

    \b
    Examples:
      pushctl reshard --config /etc/push.toml --to redis://a --to redis://b --to redis://c
      pushctl reshard --config /etc/push.toml --to redis://a --to redis://b --dry-run
      PUSHCTL_RESHARD_TO="redis://:secret@a redis://:secret@b" pushctl reshard --config push.toml
    """
    # Twisted and the servers' parts, which no other command needs.
    from push.resharding.command import BrokenOff, ReshardArguments, run
    from push.resharding.plan import NotResharded

    if dry_run and abandon:
        raise click.UsageError("--dry-run and --abandon exclude each other")
    try:
        outcome = run(ReshardArguments(to, config, dry_run, abandon), common.notice)
    except NotResharded as error:
        raise Failure(" ".join(str(error).split())) from None
    except BrokenOff:
        raise Interrupted("broken off: run the same again") from None
    if common.json:
        output.print_json(outcome or {"abandoned": True})
    elif outcome is None:
        output.say("given up: the list is as it was, and the daemons can start")
    elif outcome.done_before:
        output.say("nothing to do: the servers are so already; set [redis] url to this list")
    else:
        for name, more in outcome.arriving.items():
            less = outcome.leaving.get(name, 0)
            output.say(f"{name}  {more} keys made or changed, {less} gone")
        output.say(
            "nothing was changed: this would be done"
            if dry_run
            else "done: set [redis] url to the new list and start the daemons"
        )

"""`pushctl keys`: API keys, made, listed and revoked while the server runs."""

from __future__ import annotations

import os

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.errors import Failure
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.periods import Period, ms_from_now
from push.pushctl.terminal.private_files import write_private
from push.sdk.backend import Key
from push.wire.api.operate.keys import ALL_SCOPES


@click.group("keys")
@common_options
def keys() -> None:
    """API keys: make, list and revoke them while the server runs.

    \b
    Examples:
      pushctl keys list
      pushctl keys make billing --scope push --scope read --for 90d
      pushctl keys revoke billing --yes
    """


@keys.command("list")
@common_options
@click.pass_obj
def list_keys(common: Common) -> None:
    """List the keys that are valid: what each may do, where it is from, and when it was used.

    Of keys of files and of the configuration it lists those of the process that answers.

    \b
    Examples:
      pushctl keys list
      pushctl keys list --json | jq 'select(.used == null) | .name'
    """
    headings = ("name", "scopes", "source", "created", "expires", "used")
    with common.api() as api:
        common.print_list(api.each_key(), headings, _cells, "no keys")


def _cells(key: Key) -> tuple[str | None, ...]:
    return (
        key.name,
        ",".join(key.scopes),
        key.source,
        output.utc_time(key.created),
        "never" if key.expires is None else output.utc_time(key.expires),
        output.utc_time(key.used),
    )


@keys.command("make")
@click.argument("name", metavar="NAME")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(ALL_SCOPES),
    help="What it may do; may be repeated.",
)
@click.option(
    "--for", "period", type=Period(), metavar="PERIOD", help="As 12h or 90d; else it has no end."
)
@click.option("--save", metavar="FILE", help="Write the key to FILE, mode 0600, and do not print.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@common_options
@click.pass_obj
def make_key(
    common: Common,
    name: str,
    scopes: tuple[str, ...],
    period: int | None,
    save: str | None,
    force: bool,
) -> None:
    """Make a key that is called NAME. It is told only now: the server keeps no more than its
    SHA-256.

    \b
    Examples:
      pushctl keys make billing --scope push
      pushctl keys make guest --scope read --for 12h --save guest.key
    """
    if save is not None and os.path.lexists(save) and not force:
        raise Failure(f"--save {save}: exists already; --force replaces it")
    with common.api() as api:
        made = api.make_key(name, scopes, expires=ms_from_now(period))
    shown = made.key
    if save is not None:
        write_private(save, f"{made.key}\n", "--save ", force=force)
        shown = f"saved in {save}"
    if common.json:
        kept = {"silent": made.silent} if made.silent else {}
        fields = {"name": made.name, "scopes": made.scopes, "expires": made.expires, **kept}
        output.print_json({**fields, **({"file": save} if save else {"key": made.key})})
    else:
        end = "never" if made.expires is None else output.utc_time(made.expires)
        output.print_fields(
            [
                ("name", made.name),
                ("scopes", ",".join(made.scopes)),
                ("expires", end),
                ("key", shown),
            ]
        )
    common.fail_if_silent(made.silent)


@keys.command("revoke")
@click.argument("name", metavar="NAME")
@yes_option
@common_options
@click.pass_obj
def revoke_key(common: Common, name: str, yes: bool) -> None:
    """Revoke the key that is called NAME: no process accepts it any more.

    Keys of files and of the configuration are taken away there: the refusal says how.

    \b
    Examples:
      pushctl keys revoke billing
      pushctl keys revoke billing --yes
    """
    ask_first(yes, f"What uses the key {name} is refused from now on.")
    common.change(lambda api: api.revoke_key(name), f"{name}: revoked")

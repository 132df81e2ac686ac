"""What cannot be undone or reaches many: a question at a terminal first; elsewhere `--yes`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from push.pushctl.terminal.errors import Failure
from push.pushctl.terminal.targets import check_ids
from push.wire.text import visible

yes_option = click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")


def ask_first(yes: bool, what: str | Callable[[], str]) -> None:
    """`what` will happen, as a sentence; a function is called only if the question is asked.

    Raises `Failure` when the answer is no.
    """
    context = click.get_current_context()
    check_ids(context.command, context.params)  # no question about nothing
    if yes:
        return
    if not sys.stdin.isatty():
        sentence = what if isinstance(what, str) else "This goes to every device."
        raise click.UsageError(
            f"{sentence} Standard input is no terminal to ask at: give --yes to have it done"
        )
    sentence = what if isinstance(what, str) else what()
    if not click.confirm(visible(f"{sentence} Go on?"), err=True):
        raise Failure("nothing was done", "declined")

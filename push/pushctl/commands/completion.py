"""`pushctl completion`: what a shell evaluates to complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from push.pushctl.terminal import output
from push.pushctl.terminal.options import Common, common_options

VARIABLE = "_PUSHCTL_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@common_options
@click.pass_obj
def completion(common: Common, shell: str) -> None:
    """Print what completes `pushctl` in SHELL: bash (4.4 or newer), zsh or fish.

    Put the line of your shell into its start file, to have it in each one.

    \b
    Examples:
      eval "$(pushctl completion bash)"
      eval "$(pushctl completion zsh)"
      pushctl completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None, f"click knows no {shell}"
    script = kind(click.get_current_context().find_root().command, {}, "pushctl", VARIABLE)
    text = script.source_template % script.source_vars()
    if common.json:
        common.print_done("", {"shell": shell, "script": text})
    else:
        output.print_script(text)

"""`pushctl`: one clear line on stderr when something is wrong, never a traceback.

Exit status: 0 done, 1 it failed, 2 wrong usage, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
from click.exceptions import NoArgsIsHelpError

from push import __version__
from push.pushctl.commands import (
    bans,
    chat,
    completion,
    connections,
    contexts,
    devices,
    groups,
    listen,
    messages,
    nodes,
    push,
    topics,
)
from push.pushctl.commands.operate import (
    bench,
    events,
    history,
    keys,
    reshard,
    top,
    trace,
    webhooks,
)
from push.pushctl.terminal import output
from push.pushctl.terminal.errors import INTERRUPTED, Failure, explain, report_usage, translated
from push.pushctl.terminal.options import Common, common_options
from push.sdk.errors import PushError


class Overview(click.Group):
    """Lists commands in the order in which they were added: by subject."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=Overview, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="pushctl")
@common_options
def cli() -> None:
    """Talk to a push server: register a device, listen as one, push, and see what became of it.

    \b
    A first tour, beside a local `twistd push`:
      pushctl register --credentials me.json
      pushctl listen --credentials me.json
      pushctl push --all --yes '{"hello": "world"}'
    """


# What the overview lists, and in which order.
COMMANDS: tuple[click.Command, ...] = (
    listen.register,
    listen.listen,
    push.push,
    push.batch,
    messages.message,
    messages.cancel,
    trace.trace,
    devices.device,
    devices.bind,
    devices.unbind,
    devices.forget,
    devices.show_user,
    devices.erase,
    topics.topics,
    topics.subscribe,
    topics.unsubscribe,
    groups.groups,
    groups.members,
    chat.chat,
    connections.connections,
    connections.kick,
    bans.bans,
    bans.ban,
    bans.unban,
    top.top,
    events.events,
    history.series,
    history.audit,
    keys.keys,
    webhooks.webhooks,
    nodes.servers,
    nodes.nodes,
    nodes.stats,
    nodes.drain,
    history.config,
    bench.bench,
    reshard.reshard,
    contexts.context,
    completion.completion,
)
for _command in COMMANDS:
    cli.add_command(_command)


def _check_options(arguments: list[str]) -> None:
    """Options are text. Only a message's data may be any bytes."""
    before = ""
    for argument in arguments:
        if argument.startswith("-") or before.startswith("--"):
            try:
                argument.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"an option is not UTF-8: {before} {argument!r}") from None
        before = argument


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: exits with the status, see above."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    output.write_whatever_the_encoding()
    sys.exit(_run(given))


def _run(given: list[str]) -> int:
    common = Common()

    def wants_json() -> bool:
        """Also when the command line is too wrong to be read as a whole."""
        return common.json or "--json" in given

    try:
        _check_options(given)
        status = cli.main(given, prog_name="pushctl", standalone_mode=False, obj=common)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Failure as error:
        error.report(json=wants_json())
        return error.exit_code
    except NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        report_usage(error, json=wants_json())
        return error.exit_code
    except PushError as error:
        failure = translated(
            error,
            common.command,
            common.values,
            url=common.url_origin,
            key_origin=common.key_origin,
        )
        failure.report(json=wants_json())
        return failure.exit_code
    except UnicodeEncodeError:
        wrong = click.UsageError("an argument is not UTF-8")
        report_usage(wrong, json=wants_json())
        return wrong.exit_code
    except BrokenPipeError:
        # The reader of our output has ended, so it cannot be told. Do not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        Failure(f"standard output: {explain(error)}").report(json=wants_json())
        return 1
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    main()

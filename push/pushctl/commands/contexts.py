"""`pushctl context`: servers by name, so that their address and key need not be given each time."""

from __future__ import annotations

import os

import click

from push.pushctl.terminal.contexts import (
    Context,
    check_name,
    complete_context,
    contexts_file,
    forget_key,
    key_file_of,
    read_contexts,
    write_contexts,
    write_key,
)
from push.pushctl.terminal.errors import Failure
from push.pushctl.terminal.options import Common, common_options


@click.group("context")
@common_options
def context() -> None:
    """Servers by name: add, list, use, remove.

    A context is used with --context NAME, with PUSH_CONTEXT, or always after `context use`. Where
    --url or PUSH_URL gives an address, no context is used, so that no key goes to another server.

    \b
    Examples:
      pushctl context add prod --url https://push.example --key-file prod.key
      pushctl context use prod
      pushctl --context prod stats
    """


@context.command("add")
@click.argument("name", metavar="NAME")
@click.option("--force", is_flag=True, help="Replace a context of this name.")
@click.option("--use", "is_used", is_flag=True, help="Use it from now on.")
@common_options
@click.pass_obj
def add(common: Common, name: str, force: bool, is_used: bool) -> None:
    """Keep --url, and what else is needed there, under a name.

    Also --key or --key-file, --server, --ca-file and --fingerprint. A key that is given with --key
    is written to a file that only you can read; of --key-file the path is kept.

    \b
    Examples:
      pushctl context add prod --url https://push.example --key-file ~/prod.key --use
      pushctl context add test --url https://10.0.0.7:8080 --ca-file ca.pem --key "$KEY"
    """
    check_name(name)
    given = {option: value for option, value in common.given.items() if option in common.typed}
    if not given.get("url"):
        raise click.UsageError("give the server's address with --url")
    if "key" in given and "key_file" in given:
        raise click.UsageError("--key and --key-file exclude each other")
    common.check_key_not_empty()
    contexts = read_contexts()
    if name in contexts.contexts and not force:
        raise Failure(f"the context {name} exists already; --force replaces it")
    key_file = given.get("key_file") or ""
    if "key" in given:
        key_file = write_key(name, given["key"])
    contexts.contexts[name] = Context(
        url=given["url"],
        key_file=os.path.abspath(key_file) if key_file else "",
        servers=list(given.get("server") or ()),
        ca_file=os.path.abspath(given["ca_file"]) if given.get("ca_file") else "",
        fingerprint=given.get("fingerprint") or "",
    )
    if is_used:
        contexts.current = name
    write_contexts(contexts)
    if key_file != str(key_file_of(name)):
        forget_key(name)
    used = ", and used from now on" if is_used else ""
    common.print_done(f"{name}: kept in {contexts_file()}{used}", contexts.contexts[name])


@context.command("list")
@common_options
@click.pass_obj
def list_contexts(common: Common) -> None:
    """List the contexts: the one that is used, their addresses, and where their keys are.

    \b
    Examples:
      pushctl context list
      pushctl context list --json | jq -r .name
    """
    contexts = read_contexts()
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "used": name == contexts.current,
            "url": known.url,
            "key_file": known.key_file or None,
        }
        for name, known in sorted(contexts.contexts.items())
    ]

    def cells(row: dict[str, object]) -> tuple[str | None, ...]:
        key_file = row["key_file"]
        return (
            str(row["name"]),
            "yes" if row["used"] else None,
            str(row["url"]),
            None if key_file is None else str(key_file),
        )

    common.print_list(rows, ("name", "used", "url", "key file"), cells, "no contexts")


@context.command("use")
@click.argument("name", metavar="NAME", required=False, shell_complete=complete_context)
@common_options
@click.pass_obj
def use(common: Common, name: str | None) -> None:
    """Use the context NAME from now on; without NAME none.

    \b
    Examples:
      pushctl context use prod
      pushctl context use
    """
    contexts = read_contexts()
    if name is not None:
        contexts.get(name, "NAME")
    contexts.current = name or ""
    write_contexts(contexts)
    common.print_done(f"{name}: used from now on" if name else "no context is used from now on")


@context.command("remove")
@click.argument("name", metavar="NAME", shell_complete=complete_context)
@common_options
@click.pass_obj
def remove(common: Common, name: str) -> None:
    """Forget the context NAME, and the key that was kept for it. A --key-file stays.

    \b
    Examples:
      pushctl context remove test
    """
    contexts = read_contexts()
    contexts.get(name, "NAME")
    del contexts.contexts[name]
    if contexts.current == name:
        contexts.current = ""
    write_contexts(contexts)
    forget_key(name)
    common.print_done(f"{name}: removed")

"""Options of which exactly one is given: who or what a command is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from push.wire.api.push_targets import DESCRIPTION_OF_TARGET, PLURAL_OF_TARGET, PUSH_TARGETS

F = TypeVar("F", bound=Callable[..., Any])

# What an option about this names, by the option's name without dashes.
_HELP = {
    "session": "One session.",
    "token": "A device.",
    "user": "A user, with all devices.",
    "ip": "An address or a network, as 10.0.0.0/8.",
}


def target_options(*names: str) -> Callable[[F], F]:
    """`--user USER` and so on; the command gets them by keyword, for `exactly_one`."""

    def add(command: F) -> F:
        for name in reversed(names):
            option = click.option(f"--{name}", metavar=name.upper(), help=_HELP[name])
            command = option(command)
        return command

    return add


def exactly_one(given: Mapping[str, str | None]) -> tuple[str, str]:
    """The one that was given, by the option's name without dashes, and its value."""
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise click.UsageError(f"give exactly one of {_listed([f'--{name}' for name in given])}")
    return found[0]


def push_target_options(command: F) -> F:
    """`--to-token`, `--all` and the others of the table of targets, for `push_target`."""
    for target in reversed(PUSH_TARGETS):
        if not target.several:
            command = _push_option(target.name)(command)
    return command


def _push_option(name: str) -> Callable[[F], F]:
    text = f"{DESCRIPTION_OF_TARGET[name].replace('`', '').capitalize()}."
    if name == "all":
        return click.option("--all", "to_all", is_flag=True, help=text)
    several = name in PLURAL_OF_TARGET
    more = ("--topic",) if name == "topic" else ()
    return click.option(
        f"--to-{name}",
        *more,
        f"to_{name}",
        multiple=several,
        metavar=name.upper(),
        help=text.replace("One device", "A device") + (" May be repeated." if several else ""),
    )


def push_target(given: Mapping[str, Any]) -> dict[str, Any]:
    """`to` of a push, from the values of the options."""
    found = [name for name, value in given.items() if value]
    if len(found) != 1:
        options = ["--all" if name == "to_all" else _option_of(name) for name in given]
        raise click.UsageError(f"give exactly one of {_listed(options)}")
    name, value = found[0].removeprefix("to_"), given[found[0]]
    if not isinstance(value, tuple):
        return {name: value}
    return {name: value[0]} if len(value) == 1 else {PLURAL_OF_TARGET[name]: list(value)}


def _option_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def _listed(options: list[str]) -> str:
    return f"{', '.join(options[:-1])} and {options[-1]}"

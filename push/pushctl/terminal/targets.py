"""Options of which exactly one is given: the target of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from push.pushctl.terminal.errors import WrongValue, shown_name
from push.sdk.backend.calls.paths import check_id
from push.sdk.errors import InvalidData
from push.wire.addresses import normal_network
from push.wire.api.push_targets import DESCRIPTION_OF_TARGET, PLURAL_OF_TARGET, PUSH_TARGETS

F = TypeVar("F", bound=Callable[..., Any])

_KINDS = ("group", "ip", "node", "session", "token", "topic", "user")
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


def check_ids(command: click.Command | None, given: Mapping[str, Any]) -> None:
    """Raises `WrongValue` for an id or address that can be none, before anything is sent.

    What kind of id a parameter takes is what its metavar says: USER, GROUP, IP and so on.
    """
    for parameter in command.params if command is not None else ():
        kind = (parameter.metavar or "").rstrip("…").lower()
        value = given.get(parameter.name or "")
        if kind not in _KINDS or value is None:
            continue
        for each in value if isinstance(value, tuple) else (value,):
            _check_id(shown_name(parameter), kind, each)


def _check_id(shown: str, kind: str, value: str) -> None:
    try:
        if kind == "ip":
            normal_network(value)
        else:
            check_id(kind, value)
    except InvalidData as error:
        if "surrogate" in str(error):
            raise WrongValue("an argument is not UTF-8") from None
        raise WrongValue(f"{shown} {error}") from None
    except ValueError as error:
        raise WrongValue(
            f"{shown}: expected an address or a network like 10.0.0.0/8: {error}"
        ) from None


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
    found = [name for name, value in given.items() if value not in (None, False, ())]
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

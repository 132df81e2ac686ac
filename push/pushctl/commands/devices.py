"""`pushctl device`, `bind`, `unbind`, `forget`, `user` and `erase`: devices and their users."""

from __future__ import annotations

from typing import Any

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.credentials import device_argument, device_token
from push.pushctl.terminal.options import Common, common_options

# The members of a device's record that are times.
TIMES = ("created", "seen")


@click.command("device")
@device_argument
@common_options
@click.pass_obj
def device(common: Common, token: str | None, credentials: str | None) -> None:
    """Show a device: registration, user, topics, session, and what waits for it.

    \b
    Examples:
      pushctl device 01J…
      pushctl device --credentials me.json --json | jq .backlog
    """
    with common.api() as api:
        found = api.device(device_token(token, credentials))
    common.print_one(found, [(name, _shown(name, value)) for name, value in found.items()])


def _shown(name: str, value: object) -> str | None:
    if value is None or value == []:
        return None
    if name in TIMES and isinstance(value, int):
        return output.utc_time(value)
    if isinstance(value, list):
        return ", ".join(map(output.one_line, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return output.one_line(value)


@click.command("bind")
@click.argument("user", metavar="USER")
@device_argument
@common_options
@click.pass_obj
def bind(common: Common, user: str, token: str | None, credentials: str | None) -> None:
    """Bind the device TOKEN to USER, replacing another user; a live session follows at once.

    \b
    Examples:
      pushctl bind ada 01J…
      pushctl bind ada --credentials me.json
    """
    device = device_token(token, credentials)
    common.change(lambda api: api.bind(user, device), f"{device}: bound to {user}")


@click.command("unbind")
@click.argument("user", metavar="USER")
@device_argument
@common_options
@click.pass_obj
def unbind(common: Common, user: str, token: str | None, credentials: str | None) -> None:
    """Unbind the device TOKEN from USER.

    \b
    Examples:
      pushctl unbind ada 01J…
      pushctl unbind ada --credentials me.json
    """
    device = device_token(token, credentials)
    common.change(lambda api: api.unbind(user, device), f"{device}: not bound to {user} any more")


@click.command("forget")
@device_argument
@yes_option
@common_options
@click.pass_obj
def forget(common: Common, token: str | None, credentials: str | None, yes: bool) -> None:
    """Forget the device TOKEN, with all that waits for it; its session ends. It asks first.

    \b
    Examples:
      pushctl forget 01J…
      pushctl forget --credentials me.json --yes
    """
    device = device_token(token, credentials)
    ask_first(yes, f"This forgets the device {device} and deletes what waits for it.")
    common.change(lambda api: api.forget(device), f"{device}: forgotten")


@click.command("user")
@click.argument("user", metavar="USER")
@common_options
@click.pass_obj
def show_user(common: Common, user: str) -> None:
    """Show whether USER is online, and the devices of USER.

    \b
    Examples:
      pushctl user ada
      pushctl user ada --json | jq .online
    """
    with common.api() as api:
        found = api.user(user)
    devices = [each for each in _list_of(found, "devices") if isinstance(each, dict)]
    if common.json:
        output.print_json(found)
    else:
        output.say(f"{user}: {'online' if found.get('online') else 'offline'}")
        headings = ("device", "platform", "app", "node", "seen")
        output.print_table(headings, map(_device_cells, devices), "no devices")
    common.fail_if_silent(map(str, _list_of(found, "silent")))


def _device_cells(device: dict[str, Any]) -> tuple[str | None, ...]:
    names = ("token", "platform", "app", "node", "seen")
    return tuple(_shown(name, device.get(name)) for name in names)


def _list_of(answer: dict[str, Any], name: str) -> list[Any]:
    value = answer.get(name)
    return value if isinstance(value, list) else []


@click.command("erase")
@click.argument("user", metavar="USER")
@yes_option
@common_options
@click.pass_obj
def erase(common: Common, user: str, yes: bool) -> None:
    """Erase USER: unbind the devices and delete what is stored for USER. It asks first.

    \b
    Examples:
      pushctl erase ada
      pushctl erase ada --yes
    """
    ask_first(yes, f"This erases the user {user}; it cannot be undone.")
    common.change(lambda api: api.erase_user(user), f"{user}: erased")

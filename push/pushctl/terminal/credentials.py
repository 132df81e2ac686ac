"""The file with a device's token and secret, which `register` writes and other commands read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from push.pushctl.terminal.errors import Failure, explain, json_problem
from push.pushctl.terminal.private_files import write_private

F = TypeVar("F", bound=Callable[..., Any])


class StoredCredentials(msgspec.Struct):
    """What is in the file. `servers`: where the device connects."""

    token: str
    secret: str
    servers: list[str] = []


def read_credentials(path: str) -> StoredCredentials:
    try:
        raw = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise Failure(f"--credentials {path}: {explain(error)}") from None
    try:
        return msgspec.json.decode(raw, type=StoredCredentials)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise Failure(f"--credentials {path}: {json_problem(error, raw)}") from None


def write_credentials(path: str, credentials: StoredCredentials, *, force: bool) -> None:
    text = json.dumps(msgspec.to_builtins(credentials), indent=2)
    write_private(path, f"{text}\n", "--credentials ", force=force)


def device_argument(command: F) -> F:
    """TOKEN, or the device of a credentials file; `device_token` says which."""
    option = click.option(
        "--credentials", metavar="FILE", help="The device that `register` wrote to FILE."
    )
    return click.argument("token", metavar="TOKEN", required=False)(option(command))


def device_token(token: str | None, credentials: str | None) -> str:
    if token is not None and credentials is None:
        return token
    if credentials is not None and token is None:
        return read_credentials(credentials).token
    raise click.UsageError("give exactly one of TOKEN and --credentials")

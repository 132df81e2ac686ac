"""The options that every command shares, and what they default to.

They may stand before or after the command's name: `pushctl --json listen`, `pushctl listen --json`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec
from click.core import ParameterSource

from push.sdk.backend import PushAPI
from push.sdk.tls import certificate_fingerprint

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130  # exit status after Ctrl-C
DEFAULT_URL = "http://127.0.0.1:8080"
LOCAL_SERVER = "tls://127.0.0.1:6790"
_THIS_HOST = ("127.0.0.1", "::1", "localhost", socket.gethostname().lower())


class Failure(click.ClickException):
    """One clear line on stderr, exit status 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"pushctl: {self.format_message()}", file=file, err=file is None)


@dataclass(slots=True)
class Common:
    """What was given, by name; a later place (the command's own) overrides an earlier one."""

    given: dict[str, Any] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)  # on the command line, not in the environment

    @property
    def json(self) -> bool:
        return bool(self.given.get("json"))

    @property
    def url(self) -> str:
        return str(self.given.get("url") or DEFAULT_URL)

    @property
    def servers(self) -> list[str]:
        return list(self.given.get("server") or ())

    @property
    def ca_file(self) -> str | None:
        return self.given.get("ca_file")

    @property
    def data_folder(self) -> Path:
        return Path(os.environ.get("PUSH_SERVER_DATA") or "push-data")

    def key(self, *default_names: str) -> str | None:
        """The API key: given, from the file given, or from the data folder of a local server."""
        key: str | None = self.given.get("key")
        key_file: str | None = self.given.get("key_file")
        if key and (not key_file or "key" in self.typed or "key_file" not in self.typed):
            return key
        if key_file:
            try:
                return Path(key_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Failure(f"--key-file {key_file}: {explain(error)}") from None
        for name in default_names or ("admin.key", "app.key"):
            try:
                return (self.data_folder / name).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                continue
        return None

    def api(self, *default_key_names: str) -> PushAPI:
        """The HTTP API with the caller's key."""
        return PushAPI(self.url, self.key(*default_key_names), ca_file=self.ca_file)

    def fingerprint(self, servers: list[str]) -> str | None:
        """The pinned certificate: given, or the one of a local server in the data folder."""
        given: str | None = self.given.get("fingerprint")
        if given or self.ca_file:
            return given
        if not all(urlsplit(server).hostname in _THIS_HOST for server in servers):
            return None
        return self._local_fingerprint()

    def _local_fingerprint(self) -> str | None:
        try:
            return certificate_fingerprint(self.data_folder / "server.crt")
        except (OSError, ValueError):
            return None

    def device_servers(self, remembered: list[str]) -> list[str]:
        """Where a device connects: given, those of its credentials, the local server, or asked."""
        if self.servers:
            return self.servers
        if remembered:
            return remembered
        if self._local_fingerprint() is not None:
            return [LOCAL_SERVER]
        with self.api() as api:
            found = api.servers().servers
        usable = [url for url in found if url.startswith(("tls://", "tcp://"))]
        if not usable:
            raise Failure(f"{self.url} names no tls:// or tcp:// server; give one with --server")
        return usable


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """What is typed wins over the environment, and beside the command over before it."""
    common: Common = context.ensure_object(Common)
    name = parameter.name or ""
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        common.given[name] = value
        common.typed.add(name)
    elif value is not None:
        common.given.setdefault(name, value)
    return value


_OPTIONS: list[Callable[[F], F]] = [
    click.option(
        "--url",
        envvar="PUSH_URL",
        metavar="URL",
        expose_value=False,
        callback=_remember,
        help=f"The HTTP API. [env PUSH_URL; default {DEFAULT_URL}]",
    ),
    click.option(
        "--key",
        envvar="PUSH_KEY",
        metavar="KEY",
        expose_value=False,
        callback=_remember,
        help="API key. [env PUSH_KEY]",
    ),
    click.option(
        "--key-file",
        envvar="PUSH_KEY_FILE",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=_remember,
        help="File with the API key. [env PUSH_KEY_FILE; default ./push-data/admin.key or app.key]",
    ),
    click.option(
        "--server",
        multiple=True,
        envvar="PUSH_SERVER",
        metavar="URL",
        expose_value=False,
        callback=_remember,
        help="Where devices connect, tls://host:port or tcp://host:port; may be repeated. "
        "[env PUSH_SERVER, separated by spaces; default those of the credentials; "
        f"{LOCAL_SERVER} if ./push-data/server.crt exists, else what the API names]",
    ),
    click.option(
        "--ca-file",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=_remember,
        help="CA certificates (PEM) to trust instead of the system's.",
    ),
    click.option(
        "--fingerprint",
        metavar="SHA256",
        expose_value=False,
        callback=_remember,
        help="SHA-256 of the server's certificate, the only one to trust. "
        "[default for a local server: that of ./push-data/server.crt]",
    ),
    click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Print JSON, one object a line.",
    ),
]


def common_options(command: F) -> F:
    """Adds the shared options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def explain(error: Exception) -> str:
    """What went wrong, without the class and the errno."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def print_json(value: Any) -> None:
    """One object, one line."""
    click.echo(msgspec.json.encode(value).decode())


class StoredCredentials(msgspec.Struct):
    """The file that `register` writes and `listen` reads."""

    token: str
    secret: str
    servers: list[str] = []


def read_credentials(path: str) -> StoredCredentials:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=StoredCredentials)
    except (OSError, msgspec.DecodeError) as error:
        raise Failure(f"--credentials {path}: {explain(error)}") from None


def write_credentials(path: str, credentials: StoredCredentials, *, force: bool) -> None:
    """Readable by the owner only, from the first byte on."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump(msgspec.to_builtins(credentials), file, indent=2)
            file.write("\n")
    except FileExistsError:
        raise Failure(f"--credentials {path}: exists already; --force replaces it") from None
    except OSError as error:
        raise Failure(f"--credentials {path}: {explain(error)}") from None

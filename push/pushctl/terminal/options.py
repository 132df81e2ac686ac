"""The options that every command shares, and what they default to.

They may be given before or after the command's name: `pushctl --json listen`, `pushctl listen
--json`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from push.pushctl.terminal import output
from push.pushctl.terminal.contexts import Context, complete_context, contexts_file, read_contexts
from push.pushctl.terminal.errors import Failure, explain
from push.pushctl.terminal.targets import check_ids
from push.sdk.backend import AsyncPushAPI, PushAPI
from push.sdk.tls import certificate_fingerprint

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
LOCAL_SERVER = "tls://127.0.0.1:6790"
_THIS_HOST = ("127.0.0.1", "::1", "localhost", socket.gethostname().lower())


def is_this_host(name: str | None) -> bool:
    return name in _THIS_HOST


@dataclass(slots=True)
class Common:
    """What was given, by name; a later place (the command's own) overrides an earlier one."""

    given: dict[str, Any] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)  # on the command line, not in the environment
    command: click.Command | None = None  # the one that runs
    values: dict[str, Any] = field(default_factory=dict)  # what it was given
    key_origin: str = ""  # where the key that was used is from
    _context: Context | None = None
    _context_name: str | None = None  # "": none is used; None: not looked for yet

    @property
    def json(self) -> bool:
        return bool(self.given.get("json"))

    @property
    def context(self) -> Context | None:
        """The context that is used: as a whole, or not at all. A key that was kept for one server
        must not go to another, so an address that is given leaves it out. Raises `WrongValue` for
        one that is unknown, and `Failure`."""
        if self._context_name is None:
            self._context_name, self._context = self._find_context()
        return self._context

    def _find_context(self) -> tuple[str, Context | None]:
        typed = self.given.get("context") if "context" in self.typed else None
        if typed and "url" in self.typed:
            raise click.UsageError("--context and --url exclude each other")
        if not typed and self.given.get("url"):
            return "", None
        origin = "--context" if typed else "PUSH_CONTEXT"
        name: str | None = typed or self.given.get("context")
        if name:
            return name, read_contexts().get(name, origin)
        contexts = read_contexts()
        if not contexts.current:
            return "", None
        return contexts.current, contexts.get(contexts.current, str(contexts_file()))

    @property
    def url(self) -> str:
        self._check_not_empty("url", "PUSH_URL")
        if self.context is not None:
            return self.context.url
        return str(self.given.get("url") or DEFAULT_URL)

    @property
    def url_origin(self) -> str:
        """The API's address as it was given, for errors."""
        if self._context is not None:
            return f"context {self._context_name}, {self._context.url}"
        if not self.given.get("url"):
            return f"{DEFAULT_URL} (the default; --url gives another)"
        return f"{'--url' if 'url' in self.typed else 'PUSH_URL'} {self.url}"

    @property
    def servers(self) -> list[str]:
        given = self._from_context("server", "servers")
        return list(given or ())

    @property
    def ca_file(self) -> str | None:
        return self._from_context("ca_file", "ca_file") or None

    def _from_context(self, option: str, field: str) -> Any:
        """What was typed, else what is in the environment, else what the context has; a context
        that was typed comes before the environment."""
        kept = getattr(self.context, field) if self.context is not None else None
        given = self.given.get(option)
        if option not in self.typed and "context" in self.typed:
            return kept or given
        return given or kept

    @property
    def data_folder(self) -> Path:
        return Path(os.environ.get("PUSH_SERVER_DATA") or "push-data")

    def key(self, *default_names: str) -> str | None:
        """The API key: given, from the file given, or from the data folder of a local server.

        One that is given and empty is a mistake (a variable that is not set), and no other is
        tried.
        """
        self.check_key_not_empty()
        if self.context is not None and self.context.key_file and not self._has_key_before_context:
            self.key_origin = f"context {self._context_name}, {self.context.key_file}"
            return self._key_in(self.context.key_file)
        key: str | None = self.given.get("key")
        key_file: str | None = self.given.get("key_file")
        if key and (not key_file or "key" in self.typed or "key_file" not in self.typed):
            self.key_origin = "--key" if "key" in self.typed else "PUSH_KEY"
            return key
        if key_file:
            self.key_origin = f"--key-file {key_file}"
            return self._key_in(key_file)
        if self.context is not None:  # the files of a local server are not for this one
            return None
        if os.environ.get("PUSH_AUTH_KEYS", "").strip() not in ("", "[]"):
            return None  # with [auth] keys the files of a first start are not valid
        for name in default_names or ("admin.key", "app.key"):
            path = self.data_folder / name
            try:
                key = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                continue
            self.key_origin = str(path)
            return key
        return None

    @property
    def _has_key_before_context(self) -> bool:
        """As in `_from_context`."""
        given = self.typed if "context" in self.typed else self.given.keys()
        return bool({"key", "key_file"} & given)

    def _key_in(self, path: str) -> str:
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{self.key_origin}: {explain(error)}") from None
        if not key:
            raise Failure(f"{self.key_origin}: it is empty")
        return key

    def check_key_not_empty(self) -> None:
        """Raises `UsageError`."""
        self._check_not_empty("key", "PUSH_KEY")
        self._check_not_empty("key_file", "PUSH_KEY_FILE")

    def _check_not_empty(self, name: str, variable: str) -> None:
        """click takes an empty variable for one that is not set."""
        if name in self.typed:
            if self.given[name] == "":
                raise click.UsageError(f"--{name.replace('_', '-')} is empty")
        elif os.environ.get(variable) == "" and not {"key", "key_file"} & self.typed - {name}:
            raise click.UsageError(f"{variable} is set and empty: unset it, or give a value")

    def api(self, *default_key_names: str) -> PushAPI:
        """The HTTP API with the caller's key. Raises `WrongValue` for ids that can be none."""
        check_ids(self.command, self.values)
        return PushAPI(self.url, self.key(*default_key_names), ca_file=self.ca_file)

    def async_api(self, *default_key_names: str) -> AsyncPushAPI:
        """The same for asyncio."""
        check_ids(self.command, self.values)
        return AsyncPushAPI(self.url, self.key(*default_key_names), ca_file=self.ca_file)

    def change(self, call: Callable[[PushAPI], Iterable[str]], done: str) -> None:
        """Make a change whose answer is the nodes that did not confirm it, and print `done`."""
        with self.api() as api:
            silent = call(api)
        self.print_done(done)
        self.fail_if_silent(silent)

    # --- Printing ---------------------------------------------------------------------------------

    def notice(self, text: str, **members: object) -> None:
        """A line about what happens, on standard error; `members` are for programs."""
        output.notice(text, json=self.json, **members)

    def print_done(self, text: str, value: object = None) -> None:
        """A line for people; for programs the answer, or that it is done."""
        if self.json:
            output.print_json({"ok": True} if value is None else value)
        else:
            output.say(text)

    def print_one(self, value: object, rows: Iterable[tuple[str, str | None]]) -> None:
        """One thing: its fields as rows, or as JSON."""
        if self.json:
            output.print_json(value)
        else:
            output.print_fields(rows)

    def print_list(
        self,
        items: Iterable[T],
        headings: Sequence[str],
        cells: Callable[[T], Sequence[str | None]],
        empty: str,
    ) -> None:
        """A table, or one JSON object a line; without items the text `empty`."""
        if self.json:
            for item in items:
                output.print_json(item)
        else:
            output.print_table(headings, map(cells, items), empty)

    def fail_if_silent(self, nodes: Iterable[str]) -> None:
        """These nodes did not answer: what they have is not in what was printed, or they have not
        confirmed what was done. Exit status 1."""
        silent = sorted(set(nodes))
        if silent:
            named = ", ".join(silent)
            raise Failure(f"incomplete: no answer from {named}", "incomplete", silent=silent)

    # --- Where devices connect --------------------------------------------------------------------

    def fingerprint(self, servers: list[str]) -> str | None:
        """The pinned certificate: given, or the one of a local server in the data folder."""
        given: str | None = self._from_context("fingerprint", "fingerprint")
        if given or self.ca_file:
            return given
        if not all(is_this_host(urlsplit(server).hostname) for server in servers):
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
        usable = _with_frames(remembered)
        if usable:
            return usable
        if self._local_fingerprint() is not None:
            return [LOCAL_SERVER]
        with self.api() as api:
            usable = _with_frames(api.servers().servers)
        if not usable:
            raise Failure(f"{self.url} names no tls:// or tcp:// server; give one with --server")
        return usable


def _with_frames(servers: list[str]) -> list[str]:
    """Of the servers that a registration is told, those whose carrier has binary frames."""
    return [url for url in servers if url.startswith(("tls://", "tcp://"))]


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> object:
    """The command line wins over the environment; after the command's name wins over before it."""
    common: Common = context.ensure_object(Common)
    common.command, common.values = context.command, context.params
    name = parameter.name or ""
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        common.given[name] = value
        common.typed.add(name)
    elif value is not None:
        common.given.setdefault(name, value)
    return value


_OPTIONS: list[Callable[[F], F]] = [
    click.option(
        "--context",
        envvar="PUSH_CONTEXT",
        metavar="NAME",
        expose_value=False,
        callback=_remember,
        shell_complete=complete_context,
        help="A server that `pushctl context add` keeps. [env PUSH_CONTEXT; default the one of "
        "`pushctl context use`]",
    ),
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
        help="Print JSON, one object a line; errors too, on standard error.",
    ),
]


def common_options(command: F) -> F:
    """Adds the shared options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command

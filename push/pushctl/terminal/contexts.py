"""Contexts: the servers that a user has named, each with its address, its key and what to trust.

They are in one file of the user, without keys: a key is in a file of its own, mode 0600.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import click
import msgspec
from click.shell_completion import CompletionItem

from push.pushctl.terminal.errors import Failure, WrongValue, explain, json_problem
from push.pushctl.terminal.private_files import write_private

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


class Context(msgspec.Struct, omit_defaults=True):
    """A server. Empty: as without a context."""

    url: str
    key_file: str = ""
    servers: list[str] = []
    ca_file: str = ""
    fingerprint: str = ""


class Contexts(msgspec.Struct):
    """All of a user. `current`: the name of the one that is used, "" for none."""

    current: str = ""
    contexts: dict[str, Context] = {}

    def get(self, name: str, origin: str) -> Context:
        """Raises `WrongValue`, which says where the name is from, for one that is unknown."""
        found = self.contexts.get(name)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise WrongValue(f"{origin}: there is no context {name!r}; known: {known}")
        return found


def folder() -> Path:
    """Where they are: `pushctl` in the user's folder of settings."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "pushctl"


def contexts_file() -> Path:
    return folder() / "contexts.json"


def key_file_of(name: str) -> Path:
    """Where `context add --key` keeps the key of this context."""
    return folder() / f"{name}.key"


def check_name(name: str) -> None:
    """Raises `WrongValue` for what can be no name of a context, which is part of a file's name."""
    if not _NAME.fullmatch(name):
        raise WrongValue(
            f"NAME {name!r}: expected 1 to 64 letters, digits, - and _; and . but not first"
        )


def read_contexts() -> Contexts:
    """None, when there is no file. Raises `Failure`."""
    path = contexts_file()
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise Failure(f"{path}: {explain(error)}") from None
    try:
        return msgspec.json.decode(raw, type=Contexts)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path}: {json_problem(error, raw)}") from None


def write_contexts(contexts: Contexts) -> None:
    """In place of the file that is there, at once. Raises `Failure`."""
    path = contexts_file()
    new = f"{path}.{os.getpid()}.new"
    text = msgspec.json.format(msgspec.json.encode(contexts)).decode()
    _make_folder()
    write_private(new, f"{text}\n", "", force=True)
    try:
        os.replace(new, path)
    except OSError as error:
        raise Failure(f"{path}: {explain(error)}") from None


def write_key(name: str, key: str) -> str:
    """Keep the key of a context; the path of its file. Raises `Failure`."""
    _make_folder()
    path = str(key_file_of(name))
    write_private(path, f"{key}\n", "", force=True)
    return path


def forget_key(name: str) -> None:
    """The file that `write_key` made, if there is one."""
    with contextlib.suppress(OSError):
        key_file_of(name).unlink()


def _make_folder() -> None:
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder()}: {explain(error)}") from None


def complete_context(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names that begin so; none where the file cannot be read."""
    try:
        known = sorted(read_contexts().contexts)
    except Failure:
        return []
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]

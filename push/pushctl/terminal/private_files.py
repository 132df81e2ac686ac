"""Files that only their owner may read: credentials and keys."""

from __future__ import annotations

import os

from push.pushctl.terminal.errors import Failure, explain


def check_new(path: str | None, option: str) -> None:
    """Before something is made that could then not be kept. Raises `Failure`."""
    if path is not None and os.path.lexists(path):
        raise Failure(f"{option}{path}: exists already")


def write_private(path: str, text: str, option: str, *, force: bool) -> None:
    """Readable by the owner only, from the first byte on. Raises `Failure`, which names `option`
    (with a space after it, or ""), when the file exists and is not to be replaced."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
    except FileExistsError:
        raise Failure(f"{option}{path}: exists already; --force replaces it") from None
    except (OSError, ValueError) as error:
        raise Failure(f"{option}{path}: {explain(error)}") from None

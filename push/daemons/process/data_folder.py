"""The data folder: made for its owner only, and files in it that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from push.daemons.config.errors import StartError

_REMEDY = "set [server] data to a folder that this user can write"


def make_data_folder(folder: Path) -> None:
    """Make it if it is not there. An existing one keeps the rights its owner gave it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"server.data: cannot make {folder}: {error.strerror}; {_REMEDY}"
        ) from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StartError(f"server.data: {folder} is not writable; {_REMEDY}")


def create_once(path: Path, content: bytes, mode: int) -> bytes:
    """Write a file that is not there yet; return what it holds, ours or what was there before.

    Two daemons that start at once on one folder agree: the file is written beside its place and
    linked there, which only the first can do, and nobody sees half of it.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        os.unlink(temporary)
    return content

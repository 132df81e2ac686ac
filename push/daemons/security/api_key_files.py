"""API keys: those of the configuration, and those that a first start makes."""

from __future__ import annotations

import hashlib
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger

from push.daemons.config.errors import StartError
from push.daemons.config.settings import ALL_SCOPES, ApiKey, Scope
from push.daemons.config.value_types import Sha256
from push.daemons.process.data_folder import create_once, make_data_folder

_log = Logger()

KEY_PREFIX = "pk_"
KEY_RANDOM_BYTES = 32
# Name of the key and its file, and what it may do. An app's key is public: apps ship with it.
KEY_FILES: dict[str, tuple[Scope, ...]] = {"admin": ALL_SCOPES, "app": ("register",)}


def key_file(folder: Path, name: str) -> Path:
    """Where the key "admin" or "app" is, if it was made."""
    return folder / f"{name}.key"


def load_keys(configured: Sequence[ApiKey], folder: Path) -> list[ApiKey]:
    """All keys that are valid: the configured ones and those in the data folder.

    Without configured keys, missing files are made. A file that is there stays valid until it is
    deleted, also beside configured keys; a configured key of the same name takes its place.
    """
    taken = {key.name for key in configured}
    keys = list(configured)
    for name, scopes in KEY_FILES.items():
        path = key_file(folder, name)
        if name not in taken and (not configured or path.exists()):
            keys.append(ApiKey(name=name, sha256=_digest(_read_or_make(path)), scopes=scopes))
    return keys


def _read_or_make(path: Path) -> str:
    try:
        if path.exists():
            _warn_if_readable(path)
            content = path.read_bytes()
        else:
            make_data_folder(path.parent)
            content = create_once(path, make_key().encode() + b"\n", mode=0o600)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    key = content.decode("utf-8", "replace").strip()
    if not re.fullmatch(r"[\x21-\x7e]{16,256}", key):
        raise StartError(f"{path} holds no key: delete it, and the next start makes a new one")
    return key


def _warn_if_readable(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        _log.warn("{path} can be read by others: chmod 600 it", path=str(path))


def make_key() -> str:
    """A new key: 256 random bits in URL-safe base64, with a prefix that scanners can find."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_RANDOM_BYTES)


def _digest(key: str) -> Sha256:
    return Sha256(hashlib.sha256(key.encode()).hexdigest())

"""API keys: those of the configuration, or else those that a first start makes as files.

Either the one or the other: a file that an operator left behind when they configured keys must not
still be valid.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.access.api_keys import ApiKey, Keyring, make_key
from push.daemons.config.errors import StartError
from push.daemons.config.settings import ApiKeySetting as ConfiguredKey
from push.daemons.process.data_folder import create_once, make_data_folder
from push.runtime.ports import Clock
from push.runtime.timers import Periodic
from push.wire.api.operate.keys import ALL_SCOPES, Scope

_log = Logger()

# A deleted file must stop counting within a second.
LOOK_SECONDS = 0.4
# Name of the key and its file, and what it may do. An app's key is public: apps ship with it.
KEY_FILES: dict[str, tuple[Scope, ...]] = {"admin": ALL_SCOPES, "app": ("register",)}

# What changes when a file does: its inode, size, mode and times in nanoseconds. None: not there.
_Signature = tuple[int, ...] | None


def key_file(folder: Path, name: str) -> Path:
    """Where the key "admin" or "app" is, if it was made."""
    return folder / f"{name}.key"


class ApiKeys(Service):
    """Keeps `keyring` to what is valid now: `configured`, or without any the files of `folder`.

    Missing files are made at the start, and only then: one that was deleted since is no longer
    valid, one that appears or changes counts. Files beside configured keys are ignored, with a
    warning that names each once. Raises StartError when keys cannot be used.
    """

    def __init__(self, reactor: Clock, configured: Sequence[ConfiguredKey], folder: Path) -> None:
        self.keyring = Keyring()
        self._folder = folder
        self._configured: tuple[ConfiguredKey, ...] = ()
        self._warned: set[str] = set()
        self._seen: dict[str, _Signature] = {}
        self._looks = Periodic(reactor, LOOK_SECONDS, self._look, _log_failure)
        if not configured:
            _make_missing(folder)
        self.configure(configured)

    def configure(self, configured: Sequence[ConfiguredKey]) -> None:
        """These keys are valid from now on. After a StartError nothing has changed."""
        seen = self._signatures()
        if configured:
            keys = [_configured_key(key) for key in configured]
        else:
            keys = [_read_key(self._folder, name) for name in _present(seen)]
        try:
            self.keyring.replace(keys)
        except ValueError as error:
            raise StartError(f"[auth] keys: {error}; give each a key of its own") from None
        self._configured = tuple(configured)
        self._seen = seen
        self._warn_of_ignored()

    @property
    def files(self) -> dict[str, Path]:
        """The files whose keys are valid, by the name of the key."""
        if self._configured:
            return {}
        return {name: key_file(self._folder, name) for name in _present(self._seen)}

    def __str__(self) -> str:
        count = len(self.keyring)
        return f"{count} API {'key' if count == 1 else 'keys'}"

    def startService(self) -> None:
        super().startService()
        self._looks.start()

    def stopService(self) -> None:
        super().stopService()
        self._looks.stop()

    # The files, while the daemon runs

    def _look(self) -> None:
        seen = self._signatures()
        if seen == self._seen:
            return
        before, self._seen = self._seen, seen
        if self._configured:
            self._warn_of_ignored()
            return
        valid = self._read_again()
        for name in KEY_FILES:
            if seen[name] != before[name]:
                path = key_file(self._folder, name)
                what = "is valid now" if name in valid else "is no longer valid"
                _log.info(
                    "the API key of {path} {what}", path=str(path), what=what, event="keys.changed"
                )

    def _read_again(self) -> set[str]:
        """The keys of the files that are there now are valid, and named in the result.

        A file that holds no key, or that of another file, is not: it is logged.
        """
        keys: dict[str, ApiKey] = {}
        for name in _present(self._seen):
            try:
                key = _read_key(self._folder, name)
                Keyring([*keys.values(), key])
            except (StartError, ValueError) as error:
                _log.error(
                    "{name}.key: {problem}", name=name, problem=str(error), event="keys.unreadable"
                )
            else:
                keys[name] = key
        self.keyring.replace(keys.values())
        return set(keys)

    def _warn_of_ignored(self) -> None:
        if not self._configured:
            self._warned.clear()
            return
        for name in _present(self._seen):
            if name not in self._warned:
                self._warned.add(name)
                _log.warn(
                    "{path} is ignored: its key is not valid beside [auth] keys; delete it",
                    path=str(key_file(self._folder, name)),
                    event="keys.ignored",
                )

    def _signatures(self) -> dict[str, _Signature]:
        return {name: _signature(key_file(self._folder, name)) for name in KEY_FILES}


def _log_failure(failure: Failure) -> None:
    _log.failure("The files of API keys could not be looked at", failure, event="keys.check_failed")


def _present(signatures: Mapping[str, _Signature]) -> list[str]:
    return [name for name, signature in signatures.items() if signature is not None]


def _signature(path: Path) -> _Signature:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (
        status.st_ino,
        status.st_size,
        status.st_mode,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _make_missing(folder: Path) -> None:
    for name in KEY_FILES:
        path = key_file(folder, name)
        if path.exists():
            continue
        make_data_folder(folder)
        try:
            create_once(path, make_key().encode() + b"\n", mode=0o600)
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}") from None


def _read_key(folder: Path, name: str) -> ApiKey:
    path = key_file(folder, name)
    try:
        content = path.read_bytes()
        status = path.stat()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        _log.warn(
            "{path} can be read by others: chmod 600 it",
            path=str(path),
            event="keys.readable_by_others",
        )
    key = content.decode("utf-8", "replace").strip()
    if not re.fullmatch(r"[\x21-\x7e]{16,256}", key):
        raise StartError(f"{path} holds no key: delete it, and the next start makes a new one")
    digest = hashlib.sha256(key.encode()).hexdigest()
    return ApiKey(
        name,
        digest,
        frozenset(KEY_FILES[name]),
        "file",
        created=int(status.st_mtime * 1000),
        remedy=f"delete the file {path} on each machine that has it",
    )


def _configured_key(key: ConfiguredKey) -> ApiKey:
    return ApiKey(
        key.name,
        str(key.sha256),
        frozenset(key.scopes),
        "config",
        remedy="delete it from [auth] keys in the configuration of every daemon and send SIGHUP",
    )

"""API keys: what each is called and may do. HTTP and the device interface (SUB) both check them
here. The scopes are in `push.wire.api.operate.keys` (`Scope`)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from push.wire.api.operate.keys import KeySource

KEY_PREFIX = "pk_"
KEY_RANDOM_BYTES = 32


def make_key() -> str:
    """A new key: 256 random bits in URL-safe base64, with a prefix that scanners can find."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_RANDOM_BYTES)


class ApiKey(NamedTuple):
    """A key that was given to someone. Only its digest (SHA-256, hexadecimal) is kept.

    `created`, `expires`: milliseconds since 1970 UTC; None: it is unknown, and it has no end.
    `remedy`: how an operator takes a key away that was not made by HTTP.
    """

    name: str
    sha256: str
    scopes: frozenset[str]
    source: KeySource = "config"
    created: int | None = None
    expires: int | None = None
    remedy: str = ""


class MadeCopy(Protocol):
    """The copy of the keys that were made by HTTP: whether it may be judged by."""

    @property
    def is_current(self) -> bool: ...

    async def wait_until_current(self) -> None: ...

    def now_ms(self) -> int: ...


class Keyring:
    """All keys that are valid now. Both interfaces ask it at each request and keep no answer.

    A key is found by its digest. That takes the same time for every key, in what matters: how far
    the search for a digest gets depends on the digest of a guess, which an attacker cannot
    steer towards that of a real key without inverting SHA-256. So the time of a wrong answer tells
    nothing about a right one, and nothing of the key itself is ever compared. A slow hash is not
    needed either: keys are random, not chosen by people.

    Beside the keys of this process (files, configuration) are those that were made while the
    deployment runs, of which `follow` has a copy.
    """

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys: dict[bytes, ApiKey] = {}
        self._made: dict[bytes, ApiKey] = {}
        self._copy: MadeCopy | None = None
        self._used: dict[str, int] = {}  # digest → when, since `take_used`
        self.replace(keys)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """From now on these are valid, beside those that were made, and no others.

        Raises ValueError when two keys have the same digest: which scopes would it have? Then
        the keys of before stay.
        """
        found: dict[bytes, ApiKey] = {}
        for key in keys:
            digest = bytes.fromhex(key.sha256)
            other = found.setdefault(digest, key)
            if other is not key:
                raise ValueError(f"the keys {other.name} and {key.name} are the same")
        self._keys = found

    def follow(self, copy: MadeCopy) -> None:
        """Judge by this copy, too, which calls `replace_made`."""
        self._copy = copy

    def replace_made(self, keys: Iterable[ApiKey]) -> None:
        """These, and no others, were made while the deployment runs."""
        self._made = {bytes.fromhex(key.sha256): key for key in keys}

    def __len__(self) -> int:
        """How many this process has of its own."""
        return len(self._keys)

    @property
    def own(self) -> list[ApiKey]:
        """The keys of this process: of files or of the configuration."""
        return list(self._keys.values())

    @property
    def made(self) -> list[ApiKey]:
        """The keys that were made and that have not ended."""
        return [key for key in self._made.values() if not self._has_ended(key)]

    def authenticate(self, key: str) -> ApiKey | None:
        """Whose key this is, or None: by what this process knows."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = self._keys.get(digest) or self._made.get(digest)
        if found is None or self._has_ended(found):
            return None
        if self._copy is not None:
            self._used[found.sha256] = self._copy.now_ms()
        return found

    @property
    def is_current(self) -> bool:
        """Whether `authenticate` judges every key by every change that was answered."""
        return self._copy is None or self._copy.is_current

    def is_current_for(self, key: str) -> bool:
        """Whether it judges this key so: of files and configuration all is known always."""
        if self.is_current:
            return True
        return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest() in self._keys

    async def make_current_for(self, key: str) -> None:
        """Return when that is so (`is_current_for`). Raises `StoreUnavailable` when that
        cannot be known now: the keys that were made before are kept, and judged by later."""
        if self._copy is not None and not self.is_current_for(key):
            await self._copy.wait_until_current()

    def take_used(self) -> dict[str, int]:
        """When keys were used last, by their digest: those that were used since the last call."""
        used, self._used = self._used, {}
        return used

    def used_at(self, sha256: str) -> int | None:
        """When it was used, if that was since `take_used`."""
        return self._used.get(sha256)

    def _has_ended(self, key: ApiKey) -> bool:
        if key.expires is None or self._copy is None:
            return False
        return key.expires <= self._copy.now_ms()

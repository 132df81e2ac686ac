"""API keys: what each is called and may do. HTTP and the device interface (SUB) both check them
here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple


class ApiKey(NamedTuple):
    """A key that was given to someone. Its digest (SHA-256, hexadecimal) is all that is kept."""

    name: str
    sha256: str
    scopes: frozenset[str]


class Keyring:
    """All keys that are valid now. Both interfaces ask it at each request and keep no answer.

    A key is found by its digest. That takes the same time for every key, in what matters: how far
    the search for a digest gets depends on the digest of a guess, which an attacker cannot
    steer towards that of a real key without inverting SHA-256. So the time of a wrong answer tells
    nothing about a right one, and nothing of the key itself is ever compared. A slow hash is not
    needed either: keys are random, not chosen by people.
    """

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys: dict[bytes, ApiKey] = {}
        self.replace(keys)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """From now on these are valid and no others: the next request is judged by them.

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

    def __len__(self) -> int:
        return len(self._keys)

    def authenticate(self, key: str) -> ApiKey | None:
        """Whose key this is, or None."""
        return self._keys.get(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest())

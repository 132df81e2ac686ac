"""The API key of a request: whose it is, and what it may do."""

from __future__ import annotations

from twisted.web.http_headers import Headers

from push.access.api_keys import ApiKey, Keyring
from push.wire.errors import RequestError

# A key that may only register tells nothing of its owner: it is in every app.
_SCOPES_OF_APPS = frozenset(("register",))


class RefusedKey(RequestError):
    """There is a key, and it is not valid; or it is valid (`key_name`) and may not do this."""

    key_name: str | None = None


def is_wrong_key(refusal: RequestError) -> bool:
    return isinstance(refusal, RefusedKey) and refusal.key_name is None


class MissingScope(RefusedKey):
    """The key `key_name` is valid and lacks a scope."""

    def __init__(self, key_name: str, scope: str) -> None:
        super().__init__("forbidden", f"the key {key_name} lacks the scope {scope}")
        self.key_name = key_name


class KeyCheck:
    """Judges by what this process knows of keys; `keyring` says whether that is all there is."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def authorise(self, headers: Headers, scope: str | None) -> ApiKey:
        """The owner of the key, of any if `scope` is None; raises `RequestError` `unauthenticated`
        or `forbidden`."""
        owner = self.owner(headers)
        if scope is not None and scope not in owner.scopes:
            raise MissingScope(owner.name, scope)
        return owner

    def owner(self, headers: Headers) -> ApiKey:
        """Raises `RequestError` `unauthenticated`."""
        owner = self.keyring.authenticate(key_in(headers))
        if owner is None:
            raise RefusedKey("unauthenticated", "invalid API key")
        return owner

    def is_allowed(self, headers: Headers, scope: str | None, *, needed: bool) -> bool:
        """Whether the key of a request that was let in is still valid for it. `needed`: it takes
        one."""
        if not needed:
            return True
        try:
            self.authorise(headers, scope)
        except RequestError:
            return False
        return True

    def digest_of_owner(self, headers: Headers) -> str:
        """The owner that a valid key of the request tells, by the key's digest; "" without one."""
        try:
            owner = self.owner(headers)
        except RequestError:
            return ""
        return owner.sha256 if owner.scopes - _SCOPES_OF_APPS else ""

    def doubted(self, refusal: RequestError, headers: Headers) -> RequestError:
        """Nobody waits for Redis before there is a body: a key that may be valid is no wrong one
        then."""
        if isinstance(refusal, RefusedKey) and not self.keyring.is_settled(key_in(headers)):
            return RequestError(
                "unavailable", "it is not known now whether this key is valid", after_seconds=1
            )
        return refusal


def key_in(headers: Headers) -> str:
    """The key that a request came with; raises `RequestError` `unauthenticated`."""
    values = headers.getRawHeaders(b"authorization")
    if not values:
        raise RequestError("unauthenticated", "the header Authorization: Bearer <key> is missing")
    scheme, _, key = values[0].partition(b" ")
    if len(values) > 1 or scheme.lower() != b"bearer":
        raise RequestError("unauthenticated", "Authorization must be: Bearer <key>")
    return key.strip().decode("utf-8", "replace")

"""Who may make a request: its key, the size of its body, and whether there is memory for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from push.access.api_keys import ApiKey, Keyring
from push.access.request_rates import FailedKeys, RequestRates
from push.http.edge.auditing import Auditing
from push.http.edge.incoming import HeaderValues, IncomingRequest
from push.http.framework.bodies import BodyAdmission, admission_of
from push.http.framework.client_address import caller_of, client_of
from push.http.framework.route import MAX_BODY_BYTES, Endpoint
from push.wire.addresses import Networks
from push.wire.defaults import SHORT_OF_MEMORY_AFTER_SECONDS
from push.wire.errors import RequestError
from push.wire.websocket.origins import Origins

NO_PATH: Mapping[str, str] = {}
KEYLESS_BODY_BYTES = 64 * 1024
_SCOPES_OF_NEW_WORK = frozenset(("push", "chat", "register"))
_SCOPES_OF_APPS = frozenset(("register",))


class RefusedKey(RequestError):
    """There is a key, and it is not valid; or it is valid (`key_name`) and may not do this."""

    def __init__(self, code: str, detail: str, *, key_name: str | None = None) -> None:
        super().__init__(code, detail)
        self.key_name = key_name


def is_wrong_key(refusal: RequestError) -> bool:
    return isinstance(refusal, RefusedKey) and refusal.key_name is None


@dataclass(frozen=True)
class Guards:
    """What guards a port: whose keys are valid, and how much they and strangers may do.

    The headers of `proxies` about the client are believed. Web pages of `origins` may call the
    routes that allow it. `rates` limits requests of a key, `failed_keys` wrong keys, and `auditing`
    gets both. While the process `is_short_of_memory`, nothing new is begun; reading, and what an
    administrator does against it, goes on.
    """

    keyring: Keyring
    origins: Origins = field(default_factory=lambda: Origins(()))
    proxies: Networks = field(default_factory=Networks)
    rates: RequestRates | None = None
    failed_keys: FailedKeys | None = None
    auditing: Auditing | None = None
    is_short_of_memory: Callable[[], bool] = lambda: False


class RequestAccess:
    """Judges requests before their body is read, and before their handler runs."""

    def __init__(self, guards: Guards) -> None:
        self._keyring = guards.keyring
        self._proxies = guards.proxies
        self._failed_keys = guards.failed_keys
        self._auditing = guards.auditing
        self._is_short_of_memory = guards.is_short_of_memory
        self._large: dict[bytes, Endpoint] = {}
        self._keyless: set[bytes] = set()  # paths of routes that take a body and need no key

    def add(self, route: Endpoint) -> None:
        if route.has_large_body:
            self._large[route.path.encode()] = route
        if not route.needs_key and route.body is not None:
            self._keyless.add(route.path.encode())

    # --- before the body ---------------------------------------------------------------------

    def admit(self, path: bytes, request: IncomingRequest) -> BodyAdmission:
        """The largest body. More than 64 KiB only for a valid key, and more than 1 MiB only for
        one that may use the path."""
        route = self._large.get(path)
        headers = request.requestHeaders
        try:
            if route is not None and route.body is not None:
                self.let_in(route, request)
                return admission_of(route.body.max_bytes)
            self._key_of(headers)
        except RequestError as error:
            if route is not None:
                raise self._doubted(error, headers) from None
            if path in self._keyless:
                return admission_of(KEYLESS_BODY_BYTES)
            return self._admission_without_key(request, self._doubted(error, headers))
        return admission_of(MAX_BODY_BYTES)

    def _admission_without_key(
        self, request: IncomingRequest, refusal: RequestError
    ) -> BodyAdmission:
        """(Apart: a frame that has raised an exception and keeps it would be a cycle of both.)"""
        wrong_from = client_of(request, self._proxies)[0] if is_wrong_key(refusal) else ""
        refused = partial(
            self._refused_again, refusal.code, refusal.detail, refusal.after_seconds, wrong_from
        )
        return BodyAdmission(KEYLESS_BODY_BYTES, refused)

    def _refused_again(
        self, code: str, detail: str, after_seconds: int | None, wrong_from: str
    ) -> RequestError:
        """Not the refusal itself, which would hold the request. Raises `RequestError`
        `rate_limited` instead for a wrong key that is one too many from that address."""
        if self._failed_keys is not None:
            self._failed_keys.note(wrong_from)
        return RequestError(code, detail, after_seconds=after_seconds)

    def _doubted(self, refusal: RequestError, headers: HeaderValues) -> RequestError:
        """Nobody waits for Redis before there is a body: a key that may be valid is no wrong one
        then."""
        if isinstance(refusal, RefusedKey) and not self._keyring.is_current_for(_key_in(headers)):
            return RequestError(
                "unavailable", "it is not known now whether this key is valid", after_seconds=1
            )
        return refusal

    def owner_of(self, request: IncomingRequest) -> str:
        """The owner that a valid key of the request names; "" without one.

        A key that may only register names nobody: it is in every app.
        """
        try:
            api_key = self._key_of(request.requestHeaders)
        except RequestError:
            return ""
        return _name_of(api_key)

    def owner_of_key(self, key: str) -> str:
        """The same of a key alone, which is not counted when it is wrong."""
        api_key = self._keyring.authenticate(key)
        return _name_of(api_key) if api_key is not None else ""

    def _key_of(self, headers: HeaderValues, scope: str | None = None) -> ApiKey:
        """The key, which must have `scope` unless that is None, by what this process knows (see
        `make_current`); raises `RequestError` `unauthenticated` or `forbidden`."""
        api_key = self._keyring.authenticate(_key_in(headers))
        if api_key is None:
            raise RefusedKey("unauthenticated", "invalid API key")
        if scope is not None and scope not in api_key.scopes:
            raise RefusedKey(
                "forbidden",
                f"the key {api_key.name} lacks the scope {scope}",
                key_name=api_key.name,
            )
        return api_key

    # --- a whole request ---------------------------------------------------------------------

    def let_in(
        self, route: Endpoint, request: IncomingRequest, path: Mapping[str, str] = NO_PATH
    ) -> tuple[str, ApiKey | None]:
        """The client's address, and the key where one is needed. Raises
        `RequestError` `unauthenticated`, `forbidden`, `rate_limited` or `unavailable`."""
        if route.admit is not None:
            route.admit(caller_of(request, self._proxies))
        client_ip, is_near = client_of(request, self._proxies)
        if not route.needs_key or (route.open_on_loopback and is_near):
            return client_ip, None
        if route.method != "GET" and route.scope in _SCOPES_OF_NEW_WORK:
            self._check_memory()
        try:
            api_key = self._key_of(request.requestHeaders, route.scope)
        except RefusedKey as refusal:
            if self._auditing is not None:
                self._auditing.refused(route, refusal.key_name, client_ip, path, refusal.code)
            if self._failed_keys is not None and is_wrong_key(refusal):
                self._failed_keys.note(client_ip)
            raise
        return client_ip, api_key

    @property
    def is_current(self) -> bool:
        """Whether every change of keys that was answered is known."""
        return self._keyring.is_current

    async def make_current(self, route: Endpoint, request: IncomingRequest) -> None:
        """Know every change of keys that was answered, where the key decides. Raises
        `StoreUnavailable`, or `RequestError` for what is no key."""
        if not route.needs_key:
            return
        headers = request.requestHeaders
        is_open = route.open_on_loopback and client_of(request, self._proxies)[1]
        if not is_open and headers.hasHeader(b"authorization"):
            await self._keyring.make_current_for(_key_in(headers))

    def _check_memory(self) -> None:
        if self._is_short_of_memory():
            raise RequestError(
                "unavailable",
                "the server is short of memory",
                after_seconds=SHORT_OF_MEMORY_AFTER_SECONDS,
            )

    def may_be_read(self, route: Endpoint, request: IncomingRequest) -> bool:
        """Whether `admit` would have a body of 64 KiB read for a route with a large one."""
        return not self._is_short_of_memory() and self.is_allowed(request.requestHeaders, route)

    def is_allowed(self, headers: HeaderValues, route: Endpoint) -> bool:
        """Whether the key of a request that was let in is still valid for it."""
        if not route.needs_key:
            return True
        try:
            self._key_of(headers, route.scope)
        except RequestError:
            return False
        return True


def _name_of(api_key: ApiKey) -> str:
    return api_key.sha256 if api_key.scopes - _SCOPES_OF_APPS else ""


def _key_in(headers: HeaderValues) -> str:
    """The key that a request came with; raises `RequestError` `unauthenticated`."""
    values = headers.getRawHeaders(b"authorization")
    if not values:
        raise RequestError("unauthenticated", "the header Authorization: Bearer <key> is missing")
    scheme, _, key = values[0].partition(b" ")
    if len(values) > 1 or scheme.lower() != b"bearer":
        raise RequestError("unauthenticated", "Authorization must be: Bearer <key>")
    return key.strip().decode("utf-8", "replace")

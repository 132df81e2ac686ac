"""The options of a device client: the one list of them, with their types and defaults.

`takes_options` gives the constructor of a client this list as its signature, for type checkers and
for `help()`.
"""

from __future__ import annotations

import inspect
import random as random_module
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec
from urllib.parse import urlsplit

from push.sdk.address import ServerAddress, parse_server, without_fallback
from push.sdk.core.actions import ClientState
from push.sdk.credentials import Credentials
from push.sdk.encoding import check_seconds, check_text
from push.sdk.errors import ConfigurationError
from push.sdk.reconnect import Abilities
from push.sdk.tls import parse_fingerprint

QUEUE_MESSAGES = 1024
CONNECT_SECONDS = 10.0
ADAPTIVE = "adaptive"

JWTSource = str | Callable[[], str] | Callable[[], Awaitable[str]]
Acks = Literal["auto", "explicit"]
OnCredentials = Callable[[Credentials], None] | Callable[[Credentials], Awaitable[None]]
OnState = Callable[[ClientState, str], None]


@dataclass
class ClientSettings:
    """`docs/sdk.md` says what each is for. Raises `ConfigurationError` with the name of what is
    wrong, `InvalidData` for a text that is none.

    Behind the options: `addresses` and `fingerprint_sha256` are what was parsed from them.
    """

    servers: Sequence[str] | str = ()
    _: KW_ONLY
    token: str | None = None
    secret: str | None = None
    jwt: JWTSource | None = None
    key: str | None = None
    platform: str = "python"
    app: str = "push-sdk"
    device: str | None = None
    servers_url: str | None = None
    ca_file: str | None = None
    fingerprint: str | None = None
    heartbeat: int | Literal["adaptive"] | None = None
    heartbeat_memory: MutableMapping[str, int] | None = None
    network: str = ""
    window: int | None = None
    max_frame: int | None = None
    acks: Acks = "auto"
    on_credentials: OnCredentials | None = None
    on_state: OnState | None = None
    queue_messages: int = QUEUE_MESSAGES
    connect_seconds: float = CONNECT_SECONDS
    random: Callable[[], float] = random_module.random
    addresses: tuple[ServerAddress, ...] = field(init=False)
    fingerprint_sha256: bytes | None = field(init=False)

    def __post_init__(self) -> None:
        self._check_texts()
        self._check_numbers()
        if (self.token is None) != (self.secret is None):
            raise ConfigurationError("`token` and `secret` go together")
        if self.token is None and self.jwt is None and self.key is None:
            raise ConfigurationError(
                "give `token` and `secret`, or `jwt`, or `key` to register with"
            )
        if self.acks not in ("auto", "explicit"):
            raise ConfigurationError(f"acks: 'auto' or 'explicit', not {self.acks!r}")
        urls = [self.servers] if isinstance(self.servers, str) else list(self.servers)
        if not urls and self.servers_url is None:
            raise ConfigurationError("servers: give at least one server, or servers_url")
        self.addresses = tuple(without_fallback(parse_server(url) for url in urls))
        self.fingerprint_sha256 = (
            None if self.fingerprint is None else parse_fingerprint(self.fingerprint)
        )
        if self.servers_url is not None:
            self.servers_url = self.servers_url.rstrip("/")
            # Loads an HTTP client: many devices need none.
            from push.sdk.backend.exchange import check_url

            check_url(self.servers_url)

    @property
    def pair(self) -> Credentials | None:
        """The device's, where it was given."""
        if self.token is None or self.secret is None:
            return None
        return Credentials(self.token, self.secret)

    @property
    def abilities(self) -> Abilities:
        return Abilities(
            register=self.key is not None,
            renew=callable(self.jwt),
            ask_servers=self.servers_url is not None,
        )

    @property
    def plain_allowed(self) -> bool:
        """Whether a list from `servers_url` may name `tcp://` servers."""
        return self.servers_url is None or urlsplit(self.servers_url).scheme != "https"

    def _check_texts(self) -> None:
        names = ("token", "secret", "key", "device", "platform", "app", "servers_url", "network")
        for name in names:
            text = getattr(self, name)
            if text is not None:
                check_text(text, name)
        if self.jwt is not None and not callable(self.jwt):
            check_text(self.jwt, "jwt")

    def _check_numbers(self) -> None:
        heartbeat = None if self.heartbeat == ADAPTIVE else self.heartbeat
        for name, value, least in (
            ("heartbeat", heartbeat, 1),
            ("window", self.window, 1),
            ("max_frame", self.max_frame, 4096),
            ("queue_messages", self.queue_messages, 0),
        ):
            if value is not None and not (type(value) is int and value >= least):
                raise ConfigurationError(
                    f"{name}: a whole number of at least {least}, not {value!r}"
                )
        memory = self.heartbeat_memory
        if memory is not None and not isinstance(memory, MutableMapping):
            raise ConfigurationError("heartbeat_memory: a dict, or another mutable mapping")
        check_seconds(self.connect_seconds, "connect_seconds")


P = ParamSpec("P")


def takes_options(
    options: Callable[P, ClientSettings],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:  # Any: `self`
    """The `__init__` that it decorates takes what `ClientSettings` takes."""

    def decorate(method: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        @wraps(method)
        def init(self: object, /, *args: P.args, **kwargs: P.kwargs) -> None:
            method(self, *args, **kwargs)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        given = inspect.signature(options, eval_str=False).parameters.values()
        init.__signature__ = inspect.Signature([own, *given])  # type: ignore[attr-defined]
        return init

    return decorate

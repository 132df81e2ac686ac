"""What every device client is configured with, checked once, before anything connects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from push.sdk.address import ServerAddress, parse_server, without_fallback
from push.sdk.encoding import check_text
from push.sdk.errors import ConfigurationError
from push.sdk.reconnect import Abilities
from push.sdk.tls import parse_fingerprint

JWTSource = str | Callable[[], str] | Callable[[], Awaitable[str]]
Acks = Literal["auto", "explicit"]


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """`fingerprint` is the SHA-256 as bytes; heartbeat in seconds, window in messages."""

    servers: tuple[ServerAddress, ...]
    servers_url: str | None
    jwt: JWTSource | None
    key: str | None
    platform: str
    app: str
    device: str | None
    ca_file: str | None
    fingerprint: bytes | None
    heartbeat: int | None
    window: int | None
    max_frame: int | None
    acks: Acks

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


def make_settings(
    servers: Sequence[str] | str,
    *,
    token: str | None,
    secret: str | None,
    jwt: JWTSource | None,
    key: str | None,
    platform: str,
    app: str,
    device: str | None,
    servers_url: str | None,
    ca_file: str | None,
    fingerprint: str | None,
    heartbeat: int | None,
    window: int | None,
    max_frame: int | None,
    acks: Acks,
) -> ClientSettings:
    """Raises `ConfigurationError` with the name of what is wrong, `InvalidData` for a text that is
    none.
    """
    texts = {"token": token, "secret": secret, "key": key, "device": device}
    texts |= {"platform": platform, "app": app, "servers_url": servers_url}
    for name, text in texts.items():
        if text is not None:
            check_text(text, name)
    if jwt is not None and not callable(jwt):
        check_text(jwt, "jwt")
    if (token is None) != (secret is None):
        raise ConfigurationError("`token` and `secret` go together")
    if token is None and jwt is None and key is None:
        raise ConfigurationError("give `token` and `secret`, or `jwt`, or `key` to register with")
    if acks not in ("auto", "explicit"):
        raise ConfigurationError(f"acks: 'auto' or 'explicit', not {acks!r}")
    for name, value, least in (
        ("heartbeat", heartbeat, 1),
        ("window", window, 1),
        ("max_frame", max_frame, 4096),
    ):
        if value is not None and not (type(value) is int and value >= least):
            raise ConfigurationError(f"{name}: a whole number of at least {least}, not {value!r}")
    urls = [servers] if isinstance(servers, str) else list(servers)
    if not urls and servers_url is None:
        raise ConfigurationError("servers: give at least one server, or servers_url")
    return ClientSettings(
        servers=tuple(without_fallback(parse_server(url) for url in urls)),
        servers_url=servers_url.rstrip("/") if servers_url is not None else None,
        jwt=jwt,
        key=key,
        platform=platform,
        app=app,
        device=device,
        ca_file=ca_file,
        fingerprint=parse_fingerprint(fingerprint) if fingerprint is not None else None,
        heartbeat=heartbeat,
        window=window,
        max_frame=max_frame,
        acks=acks,
    )

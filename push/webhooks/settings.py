"""The settings of webhooks."""

from __future__ import annotations

from msgspec import Struct

from push.wire import defaults

KEEP_SECONDS = 7 * 86_400  # attempts, and events that can be replayed


class ConfiguredEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint of the configuration; it may be private. `secret`: `whsec_…`."""

    id: str
    url: str
    types: tuple[str, ...]
    secret: str


class WebhookSettings(Struct, frozen=True, kw_only=True):
    """`retries_seconds`: how long after each attempt that failed the next is made; after the last
    the event is given up. `max_waiting` counts events for an endpoint, on each Redis server.
    """

    endpoints: tuple[ConfiguredEndpoint, ...] = ()
    max_waiting: int = defaults.WEBHOOKS_MAX_WAITING
    max_age_seconds: int = defaults.WEBHOOKS_MAX_AGE_SECONDS
    offline_after_seconds: int = defaults.WEBHOOKS_OFFLINE_AFTER_SECONDS
    retries_seconds: tuple[int, ...] = defaults.WEBHOOKS_RETRIES_SECONDS
    disable_after_seconds: int = 5 * 86_400
    timeout_seconds: float = 15.0
    ca_file: str = ""
    concurrency: int = defaults.WEBHOOKS_CONCURRENCY

"""Settings together: contradictions are refused, and a setting that another limits is reported."""

from __future__ import annotations

from collections.abc import Iterable, Set

from msgspec.structs import replace

from push.daemons.config.errors import SettingsError
from push.daemons.config.settings import Settings
from push.wire.addresses import is_loopback_listener

# What a PUSH frame holds beside data, title and body: ids, stream, times, names of a chat.
ENVELOPE_BYTES = 2048

Given = Set[tuple[str, str]]


def fit_together(settings: Settings, given: Given) -> Settings:
    """Refuse what is wrong in combination, with a `SettingsError`.

    A default that somebody's limits leave out is brought inside them, with a note; a value that
    somebody gave is never replaced by another. `given`: the settings that were, as (section, key).
    """
    connector, auth = settings.connector, settings.auth
    _check_tls(settings)
    if settings.redis.ca_file and not settings.redis.url.tls:
        raise SettingsError("redis.ca_file is for TLS: redis.url must begin with rediss")
    _check_demo(settings)
    if connector.heartbeat_min > connector.heartbeat_max:
        raise SettingsError(
            f"connector.heartbeat_min ({connector.heartbeat_min}) is above "
            f"connector.heartbeat_max ({connector.heartbeat_max})"
        )
    if name := _first_repeated(key.name for key in auth.keys):
        raise SettingsError(f"auth.keys: two keys are named {name}")
    if name := _first_repeated(endpoint.id for endpoint in settings.webhooks.endpoints):
        raise SettingsError(f"webhooks.endpoints: two endpoints are {name}")
    settings = _fit_heartbeat(settings, given)
    settings = _fit_ttl(settings, given)
    return replace(settings, notes=(*settings.notes, *_cut_by_others(settings)))


def _check_demo(settings: Settings) -> None:
    """The demo needs no key, so it is for this machine, or for those that come over TLS."""
    http = settings.http
    if not http.demo or not http.listen or http.certificate:
        return
    if not is_loopback_listener(http.listen.host):
        raise SettingsError(
            f"http.demo: {http.listen} is a public address without TLS: set http.certificate and "
            "http.private_key, or http.listen to a loopback address"
        )


def _check_tls(settings: Settings) -> None:
    connector = settings.connector
    for name, section in (("connector", connector), ("http", settings.http)):
        if bool(section.certificate) != bool(section.private_key):
            raise SettingsError(
                f"{name}.certificate and {name}.private_key belong together: set both or none"
            )
    if connector.client_ca and not connector.tls and not connector.wss:
        raise SettingsError("connector.client_ca is for TLS: set connector.tls or connector.wss")


def _fit_heartbeat(settings: Settings, given: Given) -> Settings:
    connector = settings.connector
    low, high, wanted = connector.heartbeat_min, connector.heartbeat_max, connector.heartbeat
    fitting = max(low, min(wanted, high))
    if fitting == wanted:
        return settings
    where = f"outside connector.heartbeat_min … heartbeat_max ({low} … {high})"
    if ("connector", "heartbeat") in given:
        raise SettingsError(f"connector.heartbeat ({wanted}) is {where}")
    note = f"connector.heartbeat is {fitting}: the default of {wanted} is {where}"
    return replace(
        settings,
        connector=replace(connector, heartbeat=fitting),
        notes=(*settings.notes, note),
    )


def _fit_ttl(settings: Settings, given: Given) -> Settings:
    limits = settings.limits
    if limits.ttl_default <= limits.ttl_max:
        return settings
    where = f"above limits.ttl_max ({limits.ttl_max})"
    if ("limits", "ttl_default") in given:
        raise SettingsError(f"limits.ttl_default ({limits.ttl_default}) is {where}")
    note = f"limits.ttl_default is {limits.ttl_max}: the default of {limits.ttl_default} is {where}"
    return replace(
        settings,
        limits=replace(limits, ttl_default=limits.ttl_max),
        notes=(*settings.notes, note),
    )


def _cut_by_others(settings: Settings) -> list[str]:
    """Limits that another limit keeps from being reached."""
    connector, limits, chat = settings.connector, settings.limits, settings.chat
    notes = []
    largest_data = connector.max_frame - ENVELOPE_BYTES
    if limits.max_payload > largest_data:
        notes.append(
            f"limits.max_payload ({limits.max_payload}) does not fit into a frame: messages "
            f"of more than about {largest_data} bytes reach no device; raise connector.max_frame "
            f"({connector.max_frame})"
        )
    longest = limits.shared_max_age
    for name, seconds in (("limits.ttl_max", limits.ttl_max), ("chat.ttl", chat.ttl)):
        if seconds > longest:
            notes.append(
                f"{name} ({seconds}) is above limits.shared_max_age ({longest}): streams of users, "
                "groups, topics and of all keep messages for that long at most"
            )
    return notes


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None

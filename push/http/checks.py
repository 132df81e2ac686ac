"""Rules of the bodies of HTTP that no schema can say.

The limits that are settings come as `PushLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from msgspec import UNSET, UnsetType

from push.wire import defaults
from push.wire.addresses import normal_network
from push.wire.errors import RequestError
from push.wire.idents import NAME_RULE, is_name


@dataclass(frozen=True)
class PushLimits:
    """What one push may ask for. `max_payload_bytes` bounds data, title and body as JSON."""

    ttl_default_seconds: int = defaults.TTL_SECONDS
    ttl_max_seconds: int = defaults.TTL_MAX_SECONDS
    max_payload_bytes: int = defaults.MAX_PAYLOAD_BYTES


T = TypeVar("T")


def none_if_unset(value: T | UnsetType) -> T | None:
    """A member that was left out, for a function whose argument is None then."""
    return None if value is UNSET else value


def check_name(name: str, field: str, index: int | None = None) -> None:
    if not is_name(name):
        place = field if index is None else f"{field}[{index}]"
        raise invalid(place, f"expected {NAME_RULE}")


def read_network(text: str, field: str) -> str:
    """An address or network in its usual spelling; raises `RequestError` `invalid`."""
    try:
        return normal_network(text)
    except ValueError as error:
        raise invalid(field, f"expected an address or a network like 10.0.0.0/8: {error}") from None


def invalid(field: str, what: str) -> RequestError:
    return RequestError("invalid", f"`{field}`: {what}", field=field)

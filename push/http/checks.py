"""Rules of the bodies of HTTP that no schema can say.

The limits that are settings come as `PushLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from push.pushing.service import PushContent
from push.pushing.targets import Target
from push.wire import defaults
from push.wire.addresses import normal_network
from push.wire.api.push import PushBody, PushTargetBody
from push.wire.api.push_targets import PUSH_TARGETS
from push.wire.errors import RequestError
from push.wire.idents import NAME_RULE, is_name


@dataclass(frozen=True)
class PushLimits:
    """What one push may ask for. `max_payload_bytes` bounds data, title and body as JSON."""

    ttl_default_seconds: int = defaults.TTL_SECONDS
    ttl_max_seconds: int = defaults.TTL_MAX_SECONDS
    max_payload_bytes: int = defaults.MAX_PAYLOAD_BYTES


_values_of = attrgetter(*(target.name for target in PUSH_TARGETS))

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
_decode_base64 = msgspec.json.Decoder(bytes).decode


def message_of(body: PushBody, limits: PushLimits) -> tuple[Target, PushContent]:
    """The target and content of a push; raises `RequestError` `invalid` or `too_large`."""
    target = _target_of(body.to)
    ttl_seconds = limits.ttl_default_seconds if body.ttl is UNSET else body.ttl
    if ttl_seconds > limits.ttl_max_seconds:
        if body.ttl is not UNSET:
            raise _invalid("ttl", f"expected integer <= {limits.ttl_max_seconds}")
        ttl_seconds = limits.ttl_max_seconds
    size = len(memoryview(body.data))
    for part in (body.title, body.body):
        if part is not UNSET:
            size += len(_encode(part))
    if size > limits.max_payload_bytes:
        raise RequestError(
            "too_large",
            f"data, title and body are {size:,} bytes as JSON where at most "
            f"{limits.max_payload_bytes:,} are accepted",
        )
    _check_numbers(body.data)
    if body.encoding is not UNSET:
        _check_base64(body.data)
    if body.collapse is not UNSET:
        check_name(body.collapse, "collapse")
        if target.kind == "ip":
            raise _invalid("collapse", "nothing waits for an address that could be replaced")
    return target, PushContent(
        body.data,
        None if body.title is UNSET else body.title,
        None if body.body is UNSET else body.body,
        None if body.encoding is UNSET else body.encoding,
        0 if target.kind == "ip" else ttl_seconds,
        1 if body.qos is UNSET else body.qos,
        None if body.collapse is UNSET else body.collapse,
    )


def _check_numbers(data: msgspec.Raw) -> None:
    """JSON sets no limits to numbers, but receivers do: such a number is refused here."""
    try:
        _decode_any(data)
    except msgspec.DecodeError as error:
        raise _invalid("data", str(error)) from None


def _target_of(to: PushTargetBody) -> Target:
    values = _values_of(to)
    if values.count(UNSET) != len(values) - 1:
        names = ", ".join(target.name for target in PUSH_TARGETS)
        pairs = zip(PUSH_TARGETS, values, strict=True)
        given = [target.name for target, value in pairs if value is not UNSET]
        raise _invalid("to", f"exactly one of {names}; it has {' and '.join(given) or 'none'}")
    place = 0
    while values[place] is UNSET:
        place += 1
    target, value = PUSH_TARGETS[place], values[place]
    field = f"to.{target.name}"
    if target.value == "everyone":
        if value is not True:
            raise _invalid(field, "expected true")
        return Target(target.name, ())
    if target.value == "network":
        return Target(target.name, (read_network(value, field),))
    names_of = tuple(value) if target.several else (value,)
    if target.value == "name":
        for index, name in enumerate(names_of):
            check_name(name, field, index if target.several else None)
    return Target(target.name, names_of)


def none_if_unset(value: T | UnsetType) -> T | None:
    """A member that was left out, for a function whose argument is None then."""
    return None if value is UNSET else value


def check_name(name: str, field: str, index: int | None = None) -> None:
    if not is_name(name):
        place = field if index is None else f"{field}[{index}]"
        raise _invalid(place, f"expected {NAME_RULE}")


def read_network(text: str, field: str) -> str:
    """An address or network in its usual spelling; raises `RequestError` `invalid`."""
    try:
        return normal_network(text)
    except ValueError as error:
        raise _invalid(
            field, f"expected an address or a network like 10.0.0.0/8: {error}"
        ) from None


def _check_base64(data: msgspec.Raw) -> None:
    try:
        _decode_base64(data)
    except msgspec.DecodeError:
        raise _invalid("data", "expected a string of base64, padded, without spaces") from None


def _invalid(field: str, what: str) -> RequestError:
    return RequestError("invalid", f"`{field}`: {what}", field=field)

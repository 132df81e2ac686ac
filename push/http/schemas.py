"""The bodies of HTTP as structs, and what of their rules no schema can say.

A field that may be left out is UNSET then; null is not the same as left out. The limits that are
settings come as `PushLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push.pushing.service import PushContent, PushReceipt, Target
from push.wire import defaults
from push.wire.addresses import normal_network
from push.wire.bodies import MAX_DEVICE_BYTES, MAX_LABEL_BYTES, MAX_OPAQUE_BYTES
from push.wire.defaults import MAX_DRAIN_RATE_PER_SECOND
from push.wire.errors import RequestError
from push.wire.idents import NAME_PATTERN, NAME_RULE, is_name
from push.wire.push_targets import DESCRIPTION_OF_TARGET
from push.wire.text import NAME_TEXT_PATTERN, check_name_text

MAX_TARGETS = 1000
MAX_BATCH_ITEMS = 1000


@dataclass(frozen=True)
class PushLimits:
    """What one push may ask for. `max_payload_bytes` bounds data, title and body as JSON."""

    ttl_default_seconds: int = defaults.TTL_SECONDS
    ttl_max_seconds: int = defaults.TTL_MAX_SECONDS
    max_payload_bytes: int = defaults.MAX_PAYLOAD_BYTES


# Of any form: a token that is not one is not registered, and is answered as such.
TokenText = Annotated[str, Meta(min_length=1, max_length=MAX_OPAQUE_BYTES)]
# The pattern is only for the document: the check is `is_name`, which is exact about line ends.
Name = Annotated[str, Meta(extra_json_schema={"pattern": NAME_PATTERN})]
# Here too the pattern is for the document, and the check is `check_name_text`.
LabelText = Annotated[
    str,
    Meta(
        max_length=MAX_LABEL_BYTES,
        description=f"at most {MAX_LABEL_BYTES} bytes, no control characters",
        extra_json_schema={"pattern": NAME_TEXT_PATTERN},
    ),
]


def _target(name: str, **more: Any) -> Meta:
    return Meta(description=DESCRIPTION_OF_TARGET[name], **more)


class PushTargetBody(Struct, forbid_unknown_fields=True, frozen=True):
    """Who is addressed: exactly one of these."""

    token: Annotated[TokenText, _target("token")] | UnsetType = UNSET
    tokens: (
        Annotated[list[TokenText], _target("tokens", min_length=1, max_length=MAX_TARGETS)]
        | UnsetType
    ) = UNSET
    user: Annotated[Name, _target("user")] | UnsetType = UNSET
    users: (
        Annotated[list[Name], _target("users", min_length=1, max_length=MAX_TARGETS)] | UnsetType
    ) = UNSET
    topic: Annotated[Name, _target("topic")] | UnsetType = UNSET
    group: Annotated[Name, _target("group")] | UnsetType = UNSET
    ip: Annotated[str, _target("ip", max_length=64)] | UnsetType = UNSET
    all: Annotated[bool, _target("all", extra_json_schema={"const": True})] | UnsetType = UNSET


class PushBody(Struct, forbid_unknown_fields=True, frozen=True):
    """A message and whom it is for."""

    to: PushTargetBody
    data: Annotated[
        msgspec.Raw,
        Meta(description="any JSON value; with `encoding` `base64` a string of base64"),
    ]
    title: (
        Annotated[
            str,
            Meta(
                description="shown by the system of the device; no control characters",
                extra_json_schema={"pattern": NAME_TEXT_PATTERN},
            ),
        ]
        | UnsetType
    ) = UNSET
    body: Annotated[str, Meta(description="shown by the system of the device")] | UnsetType = UNSET
    encoding: (
        Annotated[Literal["base64"], Meta(description="`data` is binary, as base64")] | UnsetType
    ) = UNSET
    ttl: (
        Annotated[
            int,
            Meta(
                ge=0,
                description="seconds that the message is kept for devices that are away; "
                "0 = only for those online now",
            ),
        ]
        | UnsetType
    ) = UNSET
    qos: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1,
                description="1 = kept until acknowledged; 0 = sent once to those online now",
                extra_json_schema={"default": 1},
            ),
        ]
        | UnsetType
    ) = UNSET
    collapse: (
        Annotated[
            str,
            Meta(
                description="takes the place of an earlier message with this key that was not "
                "acknowledged yet, in each stream for itself",
                extra_json_schema={"pattern": NAME_PATTERN},
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        check_name_text("title", self.title)


class BatchPushBody(PushBody, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A message of a batch. With an `idempotency_key` it may be sent again, as with the header."""

    idempotency_key: (
        Annotated[str, Meta(description="1 to 255 printable ASCII characters")] | UnsetType
    ) = UNSET


class BatchReceipt(PushReceipt, omit_defaults=True, kw_only=True):
    """An item of a batch that was accepted. `status` is what it would have got alone."""

    status: Annotated[int, Meta(extra_json_schema={"const": 202})]


class BatchAnswer(Struct):
    """One result for each item, in order: a receipt, or a problem."""

    results: list[
        Annotated[
            Any,
            Meta(
                extra_json_schema={
                    "oneOf": [
                        {"$ref": "#/components/schemas/BatchReceipt"},
                        {"$ref": "#/components/schemas/Problem"},
                    ]
                }
            ),
        ]
    ]


class MessageStatus(Struct):
    """What became of a message. Counts are devices; times are milliseconds since 1970 UTC.

    `addressed` is for how many it was meant, `stored` for how many it was kept, `written` to how
    many it was sent. `acknowledged`, `expired`, `cancelled` and `dropped` are its ends.
    """

    id: str
    ts: int
    expires: int
    to: Annotated[msgspec.Raw, Meta(description="as it was pushed")]
    addressed: int
    stored: int
    written: int
    acknowledged: int
    expired: int
    cancelled: int
    dropped: Annotated[dict[str, int], Meta(description="how many, by reason")]


class MessageDeviceStatus(Struct, omit_defaults=True):
    """What became of a message for one device. `ts` is since when."""

    token: str
    state: Literal["stored", "written", "acknowledged", "expired", "cancelled", "dropped"]
    ts: int
    user: Annotated[str, Meta(description="whom it was addressed to, if not the device")] | None = (
        None
    )
    reason: Annotated[str, Meta(description="why it was dropped")] | None = None


class MessageDevices(Struct):
    """A page of devices. `cursor` asks for the next one; null: this is the last."""

    devices: list[MessageDeviceStatus]
    cursor: str | None


class Cancelled(Struct):
    """For how many devices a message was taken back."""

    cancelled: int


class DrainBody(Struct, forbid_unknown_fields=True, frozen=True):
    """How a connector is drained."""

    rate: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_DRAIN_RATE_PER_SECOND,
                description="sessions a second; the connector's own if absent",
            ),
        ]
        | None
    ) = None


class Draining(Struct):
    """A connector was told to drain."""

    node: str
    draining: bool = True


class RegistrationBody(Struct, forbid_unknown_fields=True, frozen=True):
    """A device that wants a token. With `token` and its `secret`: the same pair again."""

    platform: LabelText
    app: LabelText
    device: (
        Annotated[
            str,
            Meta(
                max_length=MAX_DEVICE_BYTES,
                description=f"information only, at most {MAX_DEVICE_BYTES} bytes, "
                "no control characters",
                extra_json_schema={"pattern": NAME_TEXT_PATTERN},
            ),
        ]
        | UnsetType
    ) = UNSET
    token: Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES)] | UnsetType = UNSET
    secret: Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_name_text("platform", self.platform, MAX_LABEL_BYTES)
        check_name_text("app", self.app, MAX_LABEL_BYTES)
        check_name_text("device", self.device, MAX_DEVICE_BYTES)


class RegisteredDevice(Struct):
    """The address of a device and the proof that it is its own; and where it can connect."""

    token: str
    secret: str
    servers: Annotated[list[str], Meta(description="URLs, best first")]


class ServerListBody(Struct):
    """Where a device can connect now."""

    servers: Annotated[list[str], Meta(description="URLs, best first")]
    ttl: Annotated[int, Meta(description="seconds for which the list may be kept")]


class NodeStats(Struct):
    """A daemon of the cluster. `counters` count since it was started."""

    service: str
    instance: str
    sessions: int
    capacity: Annotated[int, Meta(description="sessions it can hold, 0 = no limit")]
    version: str
    draining: bool
    counters: dict[str, int]


class Stats(Struct):
    """The whole cluster: the sums, and the daemons they come from."""

    sessions: int
    counters: dict[str, int]
    nodes: list[NodeStats]


class Health(Struct):
    """It is well."""

    status: Literal["ok"] = "ok"


class Ready(Struct):
    """It can work."""

    status: Literal["ok"] = "ok"
    notes: list[str] | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
_decode_base64 = msgspec.json.Decoder(bytes).decode


def message_of(body: PushBody, limits: PushLimits) -> tuple[Target, PushContent]:
    """Whom and what to push; raises `RequestError` `invalid` or `too_large`."""
    target = _target_of(body.to)
    if body.ttl is UNSET:
        ttl_seconds = min(limits.ttl_default_seconds, limits.ttl_max_seconds)
    else:
        ttl_seconds = body.ttl
    if ttl_seconds > limits.ttl_max_seconds:
        raise _invalid("ttl", f"expected integer <= {limits.ttl_max_seconds}")
    title = None if body.title is UNSET else body.title
    text = None if body.body is UNSET else body.body
    encoding = None if body.encoding is UNSET else body.encoding
    size = len(memoryview(body.data))
    size += sum(len(_encode(part)) for part in (title, text) if part is not None)
    if size > limits.max_payload_bytes:
        raise RequestError(
            "too_large",
            f"data, title and body are {size:,} bytes as JSON where at most "
            f"{limits.max_payload_bytes:,} are accepted",
        )
    _check_numbers(body.data)
    if encoding is not None:
        _check_base64(body.data)
    qos = 1 if body.qos is UNSET else body.qos
    collapse = None if body.collapse is UNSET else body.collapse
    if collapse is not None:
        check_name(collapse, "collapse")
        if target.kind == "ip":
            raise _invalid("collapse", "nothing waits for an address that could be replaced")
    if target.kind == "ip":
        ttl_seconds = 0
    return target, PushContent(body.data, title, text, encoding, ttl_seconds, qos, collapse)


def _check_numbers(data: msgspec.Raw) -> None:
    """JSON sets numbers no limits; what receives them does. Better refused here than there."""
    try:
        _decode_any(data)
    except msgspec.DecodeError as error:
        raise _invalid("data", str(error)) from None


def _target_of(to: PushTargetBody) -> Target:
    kinds = [kind for kind in PushTargetBody.__struct_fields__ if getattr(to, kind) is not UNSET]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none"
        raise _invalid(
            "to", f"exactly one of {', '.join(PushTargetBody.__struct_fields__)}; it has {given}"
        )
    kind = kinds[0]
    value: Any = getattr(to, kind)
    if kind == "all":
        if value is not True:
            raise _invalid("to.all", "expected true")
        return Target(kind, ())
    if kind == "ip":
        return Target(kind, (read_network(value, "to.ip"),))
    if kind in ("user", "topic", "group"):
        check_name(value, f"to.{kind}")
    elif kind == "users":
        for index, name in enumerate(value):
            check_name(name, "to.users", index)
    return Target(kind, (value,) if isinstance(value, str) else tuple(value))


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

"""Pushing: the body of a push, its target, and what it is answered with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.common import (
    MAX_ADDRESS_CHARACTERS,
    MAX_IDEMPOTENCY_KEY,
    Name,
    TokenText,
)
from push.wire.api.push_targets import DESCRIPTION_OF_TARGET
from push.wire.idents import NAME_PATTERN
from push.wire.text import NAME_TEXT_PATTERN, check_name_text

MAX_TARGETS = 1000
MAX_BATCH_ITEMS = 1000
IN_PROGRESS = "in_progress"


def _target(name: str, *, max_length: int | None = None, min_length: int | None = None) -> Meta:
    text = DESCRIPTION_OF_TARGET[name]
    return Meta(description=text, min_length=min_length, max_length=max_length)


class PushTargetBody(Struct, forbid_unknown_fields=True, frozen=True):
    """The target of a push: exactly one of these."""

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
    ip: Annotated[str, _target("ip", max_length=MAX_ADDRESS_CHARACTERS)] | UnsetType = UNSET
    all: Annotated[bool, _target("all"), Meta(extra_json_schema={"const": True})] | UnsetType = (
        UNSET
    )


class PushBody(Struct, forbid_unknown_fields=True, frozen=True):
    """A message and its target."""

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
                description="seconds that the message is kept for devices that are offline; "
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
        Annotated[str, Meta(description=f"1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters")]
        | UnsetType
    ) = UNSET


class PushResult(Struct, frozen=True):
    """A push was accepted: how many `streams` it was written to, how many of them a connector
    followed then (`online`), and which tokens no device has (`unknown`).

    To an `ip`: how many sessions were online, and the nodes that did not answer (`silent`).
    """

    id: str
    streams: int = 0
    online: int = 0
    unknown: list[str] = []
    silent: list[str] = []


class BatchReceipt(PushResult, frozen=True, kw_only=True):
    """An item of a batch that was accepted. `status` is that of the same push alone."""

    status: Annotated[int, Meta(extra_json_schema={"const": 202})] = 202


class BatchItem(Struct, frozen=True):
    """The outcome of one push of a batch: a receipt or a problem, by its `status`, which is that
    of the same push alone."""

    status: int
    id: str | None = None
    streams: int = 0
    online: int = 0
    unknown: list[str] = []
    silent: list[str] = []
    code: str | None = None
    detail: str | None = None
    field: str | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def passing(self) -> bool:
        """Whether the same item may be answered otherwise in a moment."""
        return self.status == 503 or self.code == IN_PROGRESS


class BatchAnswer(Struct, frozen=True):
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

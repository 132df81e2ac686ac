"""Webhooks: endpoints of others to which events are sent, and what became of that."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType, field

from push.wire.api.common import null
from push.wire.text import NAME_TEXT_PATTERN, check_name_text

WebhookType = Literal[
    "chat.message",
    "device.offline",
    "device.online",
    "group.changed",
    "message.acknowledged",
    "message.dropped",
    "message.expired",
]
WebhookState = Literal["ok", "failing", "disabled"]
WEBHOOK_TYPES: tuple[str, ...] = get_args(WebhookType)
TEST_TYPE = "webhook.test"
MAX_URL_CHARACTERS = 2000
MAX_DESCRIPTION_CHARACTERS = 200

Url = Annotated[
    str,
    Meta(
        max_length=MAX_URL_CHARACTERS,
        description="`https://…`, at an address that is public",
    ),
]
Types = Annotated[
    list[WebhookType],
    Meta(min_length=1, max_length=len(WEBHOOK_TYPES), description="the events that it gets"),
]
Enabled = Annotated[bool, Meta(description="false: no new events are kept for it")]
Description = Annotated[
    str,
    Meta(
        max_length=MAX_DESCRIPTION_CHARACTERS,
        description="no control characters",
        extra_json_schema={"pattern": NAME_TEXT_PATTERN},
    ),
]
Time = Annotated[int, Meta(ge=0, le=2**53 - 1, description="ms since 1970 UTC")]


class WebhookBody(Struct, forbid_unknown_fields=True, frozen=True):
    """An endpoint to which events are sent from now on."""

    url: Url
    types: Types
    enabled: Enabled = True
    description: Description = ""

    def __post_init__(self) -> None:
        check_name_text("description", self.description)


class WebhookChange(Struct, forbid_unknown_fields=True, frozen=True):
    """What changes of an endpoint; what is absent stays."""

    url: Url | UnsetType = UNSET
    types: Types | UnsetType = UNSET
    enabled: Annotated[bool, Meta(description="true also tries a disabled endpoint again")] | (
        UnsetType
    ) = UNSET
    description: Description | UnsetType = UNSET
    rotate: Annotated[
        bool,
        Meta(description="true: it gets a new secret; for 24 h the one before signs, too"),
    ] = False

    def __post_init__(self) -> None:
        check_name_text("description", self.description)


class Webhook(Struct, frozen=True, kw_only=True):
    """An endpoint. Times are in milliseconds since 1970 UTC."""

    id: str
    url: Annotated[str, Meta(description="a query in it may be a secret: `?redacted` for it")]
    types: list[WebhookType]
    enabled: bool
    description: str
    source: Annotated[
        Literal["config", "made"],
        Meta(description="`config`: it is in the daemons' configuration and changes there"),
    ]
    created: int
    state: Annotated[
        WebhookState,
        Meta(description="`disabled`: by an operator, by 410, or after five days of failures"),
    ]
    disabled_reason: Annotated[str, Meta(description="why it is disabled")] | None = field(
        default_factory=null
    )
    failing_since: Annotated[int, Meta(description="null: the last attempt succeeded")] | None = (
        field(default_factory=null)
    )
    waiting: Annotated[int, Meta(description="events that it does not have yet")] = 0
    lost: Annotated[
        int,
        Meta(description="events given up: after the last attempt, or because too many waited"),
    ] = 0


class WebhookMade(Webhook, frozen=True, kw_only=True):
    """An endpoint and its secret, which is told only now."""

    secret: Annotated[str, Meta(description="`whsec_…`: what signs the events")]


class WebhookChanged(Webhook, frozen=True, kw_only=True):
    """An endpoint as it is now. `secret` is there after `rotate` only."""

    secret: Annotated[str, Meta(description="the new secret")] | UnsetType = UNSET


class WebhookPage(Struct, frozen=True):
    """A page of endpoints by id. `cursor` asks for the next one; null: this is the last."""

    webhooks: list[Webhook]
    cursor: str | None = None


class WebhookAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt to send an event. It has `status`, or `error` when no answer came."""

    id: Annotated[str, Meta(description="of the attempt")]
    event: Annotated[str, Meta(description="of the event: `webhook-id`")]
    type: Annotated[str, Meta(description="of the event")]
    ts: Annotated[int, Meta(description="when it ended, ms since 1970 UTC")]
    status: Annotated[int, Meta(description="the HTTP status of the answer")] | UnsetType = UNSET
    error: Annotated[str, Meta(description="why there was no answer")] | UnsetType = UNSET
    ms: Annotated[int, Meta(description="how long it took")] = field(default_factory=int)
    next: (
        Annotated[
            int,
            Meta(description="when the next attempt is made; null: there is none"),
        ]
        | None
    ) = field(default_factory=null)


class WebhookAttemptPage(Struct, frozen=True):
    """A page of attempts, the newest first. `cursor` asks for the next one; null: the last."""

    attempts: list[WebhookAttempt]
    cursor: str | None = None


class ReplayBody(Struct, forbid_unknown_fields=True, frozen=True):
    """Which events go to an endpoint again: all that are kept, unless something narrows that."""

    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET
    type: Annotated[WebhookType, Meta(description="only of this type")] | UnsetType = UNSET
    only_failed: Annotated[
        bool, Meta(description="true: only those that were tried and that it does not have")
    ] = False

    def __post_init__(self) -> None:
        if self.since is not UNSET and self.until is not UNSET and self.since > self.until:
            raise ValueError("`until` is before `since`")


class Replayed(Struct, frozen=True):
    """How many events are sent again."""

    events: int


class WebhookTested(Struct, frozen=True):
    """The id of the test event."""

    event: str

"""The section `[webhooks]` of the settings."""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

from msgspec import Meta

from push.daemons.config.section import PositiveSeconds, Section
from push.webhooks.addresses import check_url
from push.webhooks.signing import key_of
from push.wire import defaults
from push.wire.api.operate.webhooks import WEBHOOK_TYPES, WebhookType
from push.wire.errors import RequestError
from push.wire.idents import is_name

MAX_NAME_CHARACTERS = 50  # it becomes a part of the endpoint's id


class EndpointName(str):
    """A short name."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        is_short = isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS
        if not isinstance(value, str) or not is_short or not is_name(value):
            raise ValueError(
                f"expected 1 to {MAX_NAME_CHARACTERS} letters, digits and . _ @ : + = -"
            )
        return cls(value)


class EndpointUrl(str):
    """`http://…` or `https://…`; it may be private."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        if not isinstance(value, str):
            raise ValueError('expected a URL, as "https://example.com/push"')
        try:
            return cls(check_url(value, public=False))
        except RequestError as error:
            raise ValueError(error.detail.removeprefix("`url`: ")) from None


class WebhookSecret(str):
    """`whsec_` and base64: what signs events."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        if not isinstance(value, str):
            raise ValueError("expected whsec_ and base64")
        key_of(value)
        return cls(value)


class EndpointSetting(Section, frozen=True):
    """An endpoint to which events are sent."""

    url: EndpointUrl
    secret: WebhookSecret
    types: Annotated[tuple[WebhookType, ...], Meta(min_length=1)] = WEBHOOK_TYPES  # type: ignore[assignment]  # the same, by get_args
    name: EndpointName = EndpointName("")  # "": one that is made of its URL

    @property
    def id(self) -> str:
        return self.name or hashlib.sha256(self.url.encode()).hexdigest()[:12]


class WebhooksSection(Section, frozen=True):
    """Events that are sent to others."""

    endpoints: Annotated[
        tuple[EndpointSetting, ...],
        Meta(
            description='endpoints, which may be private: [{name = "…", url = "…", '
            'secret = "whsec_…", types = ["chat.message"]}]; without types they get all'
        ),
    ] = ()
    ca_file: Annotated[
        str,
        Meta(
            description="PEM file with the CAs to trust of the https endpoints above; "
            '"" = the system\'s, as for endpoints that are made by the API'
        ),
    ] = ""
    max_waiting: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="events that wait for an endpoint, and events that can be replayed; of "
            "more, the oldest are lost",
        ),
    ] = defaults.WEBHOOKS_MAX_WAITING
    max_age: Annotated[
        int, Meta(ge=1, le=30 * 86_400, description="seconds that an event waits at most")
    ] = defaults.WEBHOOKS_MAX_AGE_SECONDS
    offline_after: Annotated[
        int,
        Meta(ge=0, le=86_400, description="seconds without a session until device.offline"),
    ] = defaults.WEBHOOKS_OFFLINE_AFTER_SECONDS
    retries: Annotated[
        tuple[PositiveSeconds, ...],
        Meta(description="seconds after each failed attempt until the next"),
    ] = defaults.WEBHOOKS_RETRIES_SECONDS
    concurrency: Annotated[
        int, Meta(ge=1, le=256, description="events on their way to an endpoint at one time")
    ] = defaults.WEBHOOKS_CONCURRENCY

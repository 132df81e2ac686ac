"""What is pushed: as a request has it, as pushes of this process have it, as devices get it."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from push.streams.message import MessageContent
from push.wire import defaults
from push.wire.api.push import PushBody


class PushContent(msgspec.Struct, frozen=True):
    """What is pushed. `data` is the JSON value's own bytes; `ttl_seconds` 0: only devices that are
    online.

    `collapse`: takes the place of an earlier message with the same key.
    """

    data: msgspec.Raw
    title: str | None = None
    body: str | None = None
    encoding: str | None = None
    ttl_seconds: int = defaults.TTL_SECONDS
    qos: int = 1
    collapse: str | None = None


def content_of(body: PushBody, ttl_seconds: int) -> PushContent:
    """What a request's `body` asks to push, of which the checks are done."""
    return PushContent(
        data=body.data,
        title=None if body.title is UNSET else body.title,
        body=None if body.body is UNSET else body.body,
        encoding=None if body.encoding is UNSET else body.encoding,
        ttl_seconds=ttl_seconds,
        qos=1 if body.qos is UNSET else body.qos,
        collapse=None if body.collapse is UNSET else body.collapse,
    )


def stored_content(id: str, content: PushContent) -> MessageContent:
    """The same, as devices get it."""
    return MessageContent(
        id,
        data=content.data,
        title=content.title,
        body=content.body,
        encoding=content.encoding,
    )

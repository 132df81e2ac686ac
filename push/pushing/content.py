"""What is pushed, and what devices get of it."""

from __future__ import annotations

import msgspec

from push.wire import defaults


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


class _MessageContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What devices get of it. `id` is the message's name."""

    id: str
    data: msgspec.Raw
    title: str | None = None
    body: str | None = None
    encoding: str | None = None


_encode = msgspec.json.Encoder().encode


def encoded(id: str, content: PushContent) -> bytes:
    """What does not depend on the stream of the PUSH that devices get."""
    return _encode(_MessageContent(id, content.data, content.title, content.body, content.encoding))

"""Pushing: who is addressed becomes streams, and the streams are written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType
from twisted.internet.defer import Deferred, gatherResults

from push.store.errors import StoreUnavailable
from push.streams.message import Content as StoredContent
from push.streams.message import encode_content
from push.streams.publish import Address, Published, Publisher
from push.wire.errors import Refusal
from push.wire.idents import STREAM_ALL, Snowflake, device_stream, user_stream


class Target(msgspec.Struct, frozen=True):
    """Who is addressed: `kind` is token, tokens, user, users or all."""

    kind: str
    names: tuple[str, ...] = ()


class Content(msgspec.Struct, frozen=True):
    """What is pushed. `data` is the JSON value's own bytes; `ttl_seconds` 0: who is online."""

    data: msgspec.Raw
    title: str | None = None
    body: str | None = None
    encoding: str | None = None
    ttl_seconds: int = 86_400
    qos: int = 1


class Receipt(msgspec.Struct, omit_defaults=True):
    """A push was accepted: streams written, and how many of them a connector followed then."""

    id: str
    streams: int | UnsetType = UNSET
    online: int | UnsetType = UNSET
    unknown: list[str] | UnsetType = UNSET


class Pushing:
    """Accepts pushes."""

    def __init__(self, publisher: Publisher, snowflake: Snowflake) -> None:
        self._publisher = publisher
        self._snowflake = snowflake

    async def push(self, target: Target, content: Content) -> Receipt:
        """Write to its streams. Raises `Refusal` `unknown_token`, `StoreUnavailable`."""
        id = self._snowflake.next_id()
        stored = content.qos > 0 and content.ttl_seconds > 0
        published = await self._publisher.publish(
            addresses_of(target),
            id,
            encode_content(
                StoredContent(id, content.data, content.title, content.body, content.encoding)
            ),
            ttl_seconds=content.ttl_seconds,
            stored=stored,
        )
        return _receipt(id, target, published)

    async def push_batch(self, items: Sequence[tuple[Target, Content]]) -> list[Receipt | Refusal]:
        """Each item for itself, in one pipeline; what is refused is so alone."""
        calls = [Deferred.fromCoroutine(self._one(target, content)) for target, content in items]
        return list(await gatherResults(calls))

    async def _one(self, target: Target, content: Content) -> Receipt | Refusal:
        try:
            return await self.push(target, content)
        except Refusal as refusal:
            return refusal
        except StoreUnavailable as error:
            return Refusal("unavailable", error.reason, after_seconds=1)


def addresses_of(target: Target) -> list[Address]:
    """The streams of a target, each once. Only devices must exist."""
    if target.kind == "all":
        return [Address(STREAM_ALL)]
    names = dict.fromkeys(target.names)
    if target.kind in ("token", "tokens"):
        return [Address(device_stream(name), name) for name in names]
    return [Address(user_stream(name)) for name in names]


def _receipt(id: str, target: Target, published: Published) -> Receipt:
    known = [outcome for outcome in published.outcomes if outcome.known]
    unknown = [o.stream.split(":", 1)[1] for o in published.outcomes if not o.known]
    if unknown and not known:
        what = "no device has this token" if len(unknown) == 1 else "no device has these tokens"
        raise Refusal("unknown_token", what, field=f"to.{target.kind}")
    receipt = Receipt(
        id=id,
        streams=len(known),
        online=sum(1 for outcome in known if outcome.connectors),
    )
    if unknown:
        receipt.unknown = unknown
    return receipt

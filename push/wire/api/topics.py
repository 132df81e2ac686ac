"""Topics that devices follow."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Topic(Struct, frozen=True):
    """A topic that devices follow."""

    topic: str
    devices: Annotated[int, Meta(description="how many follow it")]


class TopicPage(Struct, frozen=True):
    """A page of topics, by name. `cursor` asks for the next one; null: this is the last."""

    topics: list[Topic]
    cursor: str | None = None

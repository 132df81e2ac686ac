"""The HTTP API's requests about topics; see `push.sdk.backend.calls.base`."""

from __future__ import annotations

from push.sdk.backend.calls.base import ApiCall, read_silent, reader
from push.sdk.backend.calls.paths import path_of
from push.wire.api.topics import Topic, TopicPage


def subscribe(topic: str, token: str) -> ApiCall[list[str]]:
    """A device follows a topic, private ones too, from now on; a live session at once. Returns the
    nodes that did not confirm it yet, usually none."""
    return ApiCall("PUT", _subscription(topic, token), read_silent)


def unsubscribe(topic: str, token: str) -> ApiCall[list[str]]:
    """A device stops following a topic; `not_found` (404) if it did not. Returns as `subscribe`."""
    return ApiCall("DELETE", _subscription(topic, token), read_silent)


def topic(name: str) -> ApiCall[Topic]:
    """How many devices follow a topic; `not_found` (404) when none does."""
    return ApiCall("GET", path_of("/v1/topics/{topic}", topic=name), reader(Topic))


def topics(*, cursor: str | None = None, limit: int | None = None) -> ApiCall[TopicPage]:
    """The topics that devices follow, by name: a page of at most `limit` (50, at most 200) from
    `cursor` on. `each_topic` goes through all pages.
    """
    given = {"cursor": cursor, "limit": None if limit is None else str(limit)}
    params = {name: value for name, value in given.items() if value is not None}
    return ApiCall("GET", "/v1/topics", reader(TopicPage), params=params or None)


def _subscription(topic: str, token: str) -> str:
    return path_of("/v1/topics/{topic}/devices/{token}", topic=topic, token=token)

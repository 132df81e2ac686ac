"""Topics: which devices follow them; subscribing and unsubscribing.

A topic is a stream that devices subscribe to. There is nothing to create: it is listed while a
device follows it. A subscription is a cursor in the device's record, as all that it follows, so it
outlives connections and connectors; it ends when it is ended, or with the device.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import msgspec

from push.devices.outbox import Changed, Outbox, SubscriptionChange, record_change_of
from push.devices.readers import NO_READERS, Readers
from push.devices.registration import check_token, unknown_token
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.wire.api.paging import make_cursor, read_cursor
from push.wire.api.topics import Topic, TopicPage
from push.wire.errors import RequestError
from push.wire.idents import NAME_RULE, device_stream, is_name, topic_stream

PRIVATE_PREFIX = "private."
UNSUBSCRIBED = keyspace.DROPPED_UNSUBSCRIBED

_subscribe = load_script("devices", "subscribe")
_renew = load_script("devices", "renew")
_topics = load_script("devices", "topics")


class TopicWrite(msgspec.Struct, frozen=True):
    """Whether a subscription changed, and the nodes that did not confirm it in time."""

    changed: bool
    silent: list[str]


class Topics:
    """All topics. A device follows at most `max_per_device` of them.

    `subscribe` and `unsubscribe` are a backend's, and in effect when they return; a connector does
    the same for a session of its own with `write_subscription` and `write_unsubscription`.
    """

    def __init__(
        self,
        shards: Shards,
        outbox: Outbox,
        *,
        max_per_device: int,
        readers: Readers = NO_READERS,
    ) -> None:
        self._shards = shards
        self._outbox = outbox
        self._readers = readers
        self.max_per_device = max_per_device

    async def subscribe(self, topic: str, token: str) -> TopicWrite:
        """The device follows from now on, a live session at once, whatever its JWT says.

        Raises `RequestError`: `invalid`, `unknown_token`, `not_allowed` (as many as it may).
        """
        return await self._applied(await self.write_subscription(topic, token))

    async def unsubscribe(self, topic: str, token: str) -> TopicWrite:
        """The device follows no longer; its waiting messages are dropped.

        Raises `RequestError`: `invalid`, `unknown_token`.
        """
        return await self._applied(await self.write_unsubscription(topic, token))

    async def _applied(self, changed: Changed) -> TopicWrite:
        silent = await self._readers.apply_devices(changed.held)
        return TopicWrite(bool(changed.code), silent)

    async def write_subscription(self, topic: str, token: str, allowed_to: str = "") -> Changed:
        """`allowed_to`: the user whose JWT allows it; it ends with that right.

        Raises `RequestError` as `subscribe` does, and `not_allowed` if the device is not that
        user's.
        """
        check_topic(topic)
        check_token(token)
        stream = topic_stream(topic)
        home = self._shards.of(device_stream(token))
        here = self._outbox.place_of(token, stream) != "away"
        arguments = [token, stream, "1" if here else "0", self.max_per_device, allowed_to]
        change = await home.run(_subscribe, [], arguments, durable=True, decode=record_change_of)
        if change.code == -1:
            raise unknown_token(token)
        if change.code == -2:
            raise too_many_topics(self.max_per_device)
        if change.code == -3:
            raise not_named_by_jwt(topic)
        return await self._outbox.changed(home, change)

    async def write_unsubscription(self, topic: str, token: str) -> Changed:
        """Raises `RequestError` as `unsubscribe` does."""
        check_topic(topic)
        check_token(token)
        ending = SubscriptionChange(topic_stream(topic), code=UNSUBSCRIBED)
        changed = await self._outbox.change(token, [ending])
        if changed.code < 0:
            raise unknown_token(token)
        return changed

    async def renew(self, token: str, user: str, topics: Sequence[str]) -> bool:
        """A JWT of `user` replaces another: of the topics which that allowed, those end that are
        not among `topics`. Whether there were such."""
        home = self._shards.of(device_stream(token))
        arguments = [token, user, *map(topic_stream, topics)]
        changed, outbox = await home.run(
            _renew, [], arguments, durable=True, decode=_changed_and_outbox
        )
        await self._outbox.run(home, outbox)
        return changed

    async def get_topic(self, topic: str) -> Topic:
        """Raises `RequestError`: `invalid`; `not_found` when no device follows it."""
        check_topic(topic)
        stream = topic_stream(topic)
        server = self._shards.of(stream)
        devices = int(await server.command("SCARD", server.key(f"{keyspace.FOLLOWERS}{stream}")))
        if not devices:
            raise RequestError("not_found", f"no device follows the topic {topic}")
        return Topic(topic, devices)

    async def find_topics(self, cursor: str = "", limit: int = 50) -> TopicPage:
        """The topics that devices follow, by name. Raises `RequestError` `invalid` for a cursor
        of another list."""
        place = read_cursor("topics", cursor, str)
        after = place[0] if place else ""
        # One more of each tells whether this is the last page.
        found = await gather(self._of_server(server, after, limit + 1) for server in self._shards)
        topics = list(heapq.merge(*found, key=lambda topic: topic.topic))
        page = topics[:limit]
        more = len(topics) > limit
        return TopicPage(page, make_cursor("topics", page[-1].topic) if more else None)

    async def _of_server(self, server: RedisClient, after: str, limit: int) -> list[Topic]:
        return await server.run(_topics, [], [after, limit], decode=_topics_in)


def _changed_and_outbox(reply: list[Any]) -> tuple[bool, list[bytes]]:
    changed, *outbox = reply
    return bool(changed), outbox


def _topics_in(reply: list[bytes]) -> list[Topic]:
    """Names, each with the number of its devices."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [Topic(name.decode(), int(devices)) for name, devices in pairs]


def check_topic(topic: str) -> None:
    if not is_name(topic):
        raise RequestError(
            "invalid",
            f"a topic is {NAME_RULE}",
            field="topic",
        )


def not_named_by_jwt(topic: str) -> RequestError:
    return RequestError(
        "not_allowed",
        f"the topic {topic} is private, and no JWT of this session names it",
        field="topic",
    )


def too_many_topics(max_per_device: int) -> RequestError:
    return RequestError(
        "not_allowed", f"a device follows at most {max_per_device} topics", field="topic"
    )

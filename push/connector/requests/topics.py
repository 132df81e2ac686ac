"""PUBLISH `TS` and `TU`: a session subscribes to a topic, and unsubscribes.

Of a session with a device the subscription is the device's: it is stored, and comes back with every
session. Of a user without a device nothing is stored: the subscription is the session's, and ends
with it. Both are in effect when the answer comes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.requests.dispatch import Caller, Handler, handling
from push.connector.transport.connection import DeviceConnection
from push.devices.topics import (
    PRIVATE_PREFIX,
    Topics,
    check_topic,
    not_named_by_jwt,
    too_many_topics,
)
from push.redis.shards import Shards
from push.session.window import Subscription
from push.wire.errors import RequestError
from push.wire.idents import TOPIC_PREFIX, is_name, topic_stream
from push.wire.signals import RequestName


class TopicBody(msgspec.Struct, frozen=True):
    """The body of both."""

    topic: str


class TopicRequests:
    """Answers both, for the sessions of one connector by their ids."""

    def __init__(
        self,
        shards: Shards,
        topics: Topics,
        following: SessionSubscriptions,
        sessions: Mapping[str, DeviceConnection],
    ) -> None:
        self._shards = shards
        self._topics = topics
        self._following = following
        self._sessions = sessions

    @property
    def handlers(self) -> dict[int, Handler]:
        return {
            RequestName.TS: handling(TopicBody, self._subscribe),
            RequestName.TU: handling(TopicBody, self._unsubscribe),
        }

    async def _subscribe(self, caller: Caller, body: TopicBody) -> None:
        connection = self._connection_of(caller)
        check_topic(body.topic)
        needs_jwt = body.topic.startswith(PRIVATE_PREFIX)
        if needs_jwt and body.topic not in connection.jwt_topics:
            raise not_named_by_jwt(body.topic)
        stream = topic_stream(body.topic)
        if connection.token is None:
            await self._subscribe_session(connection, stream)
        else:
            allowed_to = str(connection.user) if needs_jwt else ""
            await self._topics.write_subscription(body.topic, connection.token, allowed_to)
            subscription = connection.subscriptions.get(stream)
            if subscription is None or not subscription.heard or connection.refreshing:
                await self._following.refreshed(connection)
        if needs_jwt and body.topic not in connection.jwt_topics:
            # A JWT that does not name it came meanwhile, or the session is another user's now.
            await self.judge_again(connection)
            raise not_named_by_jwt(body.topic)

    async def _subscribe_session(self, connection: DeviceConnection, stream: str) -> None:
        """From the end of the stream on: the server keeps no place for who has no device."""
        if stream in connection.subscriptions:
            return
        followed = sum(name.startswith(TOPIC_PREFIX) for name in connection.subscriptions)
        if followed >= self._topics.max_per_device:
            raise too_many_topics(self._topics.max_per_device)
        number = self._shards.number_of(stream)
        end = await self._shards[number].last_offset()
        if not connection.is_gone():
            await self._following.add(connection, [Subscription(stream, end, number)])

    async def _unsubscribe(self, caller: Caller, body: TopicBody) -> None:
        check_topic(body.topic)
        await self._end(self._connection_of(caller), body.topic)

    async def _end(self, connection: DeviceConnection, topic: str) -> None:
        stream = topic_stream(topic)
        if connection.token is None:
            self._following.remove(connection, stream)
            return
        await self._topics.write_unsubscription(topic, connection.token)
        # A look at the record that is under way may be from before.
        if stream in connection.subscriptions or connection.refreshing:
            await self._following.refreshed(connection)

    async def judge_again(self, connection: DeviceConnection) -> None:
        """The session has a new JWT: what one before allowed and this one does not ends."""
        allowed = connection.jwt_topics
        if connection.token is not None:
            user = str(connection.user)
            if await self._topics.renew(connection.token, user, [*filter(is_name, allowed)]):
                await self._following.refreshed(connection)
            return
        for stream in list(connection.subscriptions):
            topic = stream.removeprefix(TOPIC_PREFIX)
            if stream != topic and topic.startswith(PRIVATE_PREFIX) and topic not in allowed:
                self._following.remove(connection, stream)

    def _connection_of(self, caller: Caller) -> DeviceConnection:
        connection = self._sessions.get(caller.session)
        if connection is None:  # it ended while the request waited: nobody hears the answer
            raise RequestError("unavailable", "the session is over")
        return connection

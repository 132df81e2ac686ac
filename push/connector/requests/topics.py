"""PUBLISH `TS` and `TU`: a session subscribes to a topic, and unsubscribes.

Of a session with a device the subscription is the device's: it is stored, and holds for every
later session. Of a user without a device nothing is stored: the subscription is the session's, and
ends with it. Both are in effect when the answer comes.
"""

from __future__ import annotations

import msgspec

from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.requests.dispatch import Caller, Handler
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import GatewayPort
from push.devices.topics import (
    PRIVATE_PREFIX,
    Topics,
    check_topic,
    not_named_by_jwt,
    too_many_topics,
)
from push.redis.shards import Shards
from push.session.subscription import Subscription
from push.wire.errors import RequestError
from push.wire.idents import TOPIC_PREFIX, is_name, topic_stream
from push.wire.signals import RequestName


class TopicBody(msgspec.Struct, frozen=True):
    """The body of both."""

    topic: str


class TopicRequests:
    """Answers both, for the sessions of one connector."""

    def __init__(
        self,
        shards: Shards,
        topics: Topics,
        following: SessionSubscriptions,
        port: GatewayPort,
    ) -> None:
        self._shards = shards
        self._topics = topics
        self._following = following
        self._port = port

    def handlers(self) -> dict[int, Handler]:
        """By the name of the request."""
        return {
            RequestName.TS: Handler(TopicBody, self._subscribe, asks_others=True),
            RequestName.TU: Handler(TopicBody, self._unsubscribe, asks_others=True),
        }

    async def _subscribe(self, caller: Caller, body: TopicBody) -> None:
        device = self._session_of(caller)
        check_topic(body.topic)
        needs_jwt = body.topic.startswith(PRIVATE_PREFIX)
        if needs_jwt and body.topic not in device.jwt_topics:
            raise not_named_by_jwt(body.topic)
        stream = topic_stream(body.topic)
        if device.token is None:
            await self._subscribe_session(device, stream)
        else:
            allowed_to = str(device.user) if needs_jwt else ""
            changed = await self._topics.write_subscription(body.topic, device.token, allowed_to)
            subscription = device.subscriptions.get(stream)
            if (
                subscription is None
                or not subscription.subscribed
                or self._following.is_refreshing(device)
            ):
                await self._following.refreshed(device, changed.told_at)
        if needs_jwt and body.topic not in device.jwt_topics:
            # A JWT that does not name it came meanwhile, or the session is another user's now.
            await self.apply_jwt(device)
            raise not_named_by_jwt(body.topic)

    async def _subscribe_session(self, device: DeviceSession, stream: str) -> None:
        """From the end of the stream on: the server keeps no place for a user without a device."""
        if stream in device.subscriptions:
            return
        followed = sum(name.startswith(TOPIC_PREFIX) for name in device.subscriptions)
        if followed >= self._topics.max_per_device:
            raise too_many_topics(self._topics.max_per_device)
        number = self._shards.number_of(stream)
        end = await self._shards[number].last_offset()
        if not device.is_over:
            await self._following.add(device, [Subscription(stream, end, number)])

    async def _unsubscribe(self, caller: Caller, body: TopicBody) -> None:
        check_topic(body.topic)
        await self._end(self._session_of(caller), body.topic)

    async def _end(self, device: DeviceSession, topic: str) -> None:
        stream = topic_stream(topic)
        if device.token is None:
            self._following.remove(device, stream)
            return
        changed = await self._topics.write_unsubscription(topic, device.token)
        # A look at the record that is under way may be from before.
        if stream in device.subscriptions or self._following.is_refreshing(device):
            await self._following.refreshed(device, changed.told_at)

    async def apply_jwt(self, device: DeviceSession) -> None:
        """The session has a new JWT: what one before allowed and this one does not ends."""
        allowed = device.jwt_topics
        if device.token is not None:
            user = str(device.user)
            if await self._topics.renew(device.token, user, [*filter(is_name, allowed)]):
                await self._following.refreshed(device)
            return
        for stream in list(device.subscriptions):
            topic = stream.removeprefix(TOPIC_PREFIX)
            if stream != topic and topic.startswith(PRIVATE_PREFIX) and topic not in allowed:
                self._following.remove(device, stream)

    def _session_of(self, caller: Caller) -> DeviceSession:
        device = self._port.sessions.get(caller.session)
        if device is None:  # it ended while the request waited: nobody receives the answer
            raise RequestError("unavailable", "the session is over")
        return device

"""What a client asks for in a session: any PUBLISH, new credentials, topics."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from push.sdk.aio.attempt import Attempt
from push.sdk.aio.request_names import UNANSWERED, request_number
from push.sdk.credentials import Credentials
from push.sdk.encoding import check_text, encode_json
from push.sdk.errors import ConnectionFailed, RequestRefused
from push.sdk.logs import log
from push.session.client.events import Connected, RequestAnswered
from push.wire.signals import RequestName

REQUEST_SECONDS = 30.0
RESTORE_AGAIN_SECONDS = 5.0


class ClientRequests(ABC):
    """`session` is the open one, `_visit` its connection.

    Of each topic that was subscribed to, it is remembered who follows it: the device, or, for a
    user without one, that session. Another, after a registration or a reconnect, does not yet.
    """

    def __init__(self) -> None:
        self.session: Connected | None = None
        self._visit: Attempt | None = None
        self._followers: dict[str, str] = {}

    @abstractmethod
    async def wait_connected(self) -> Connected:
        """The open session, as soon as there is one. Raises what stopped the client."""

    @property
    @abstractmethod
    def credentials(self) -> Credentials | None:
        """The device's pair, once there is one."""

    async def publish(
        self,
        request: str | int,
        body: Mapping[str, object],
        *,
        timeout: float | None = REQUEST_SECONDS,
    ) -> dict[str, Any]:
        """A PUBLISH request (`"TS"`, `"MS"` …) and its answer's members.

        Waits for the session first. `timeout`: seconds for all of it. `TP` has no answer: `{}`.
        Raises `RequestRefused`; `ConnectionFailed` when the connection was lost before the answer
        (then it is not known whether it was done) or no session came in time; `InvalidData` for a
        body that JSON has no form for; `ValueError` for an unknown request.
        """
        number = request_number(request)
        content = msgspec.Raw(encode_json(body, "body"))
        try:
            async with asyncio.timeout(timeout):
                await self.wait_connected()
                assert self._visit is not None
                if number in UNANSWERED:
                    self._visit.publish_unanswered(number, content)
                    return {}
                answer = await self._visit.publish(number, content)
        except TimeoutError:
            raise ConnectionFailed(f"no answer within {timeout:g} s") from None
        return _members(answer)

    async def renew(self, jwt: str, *, timeout: float | None = REQUEST_SECONDS) -> int | None:
        """AUTH with a new JWT for the same user; its expiry in ms since 1970 UTC.

        Needed only for a `jwt` that was given as a string. Raises like `publish`.
        """
        check_text(jwt, "jwt")
        try:
            async with asyncio.timeout(timeout):
                await self.wait_connected()
                assert self._visit is not None
                return await self._visit.renew(jwt)
        except TimeoutError:
            raise ConnectionFailed(f"no answer within {timeout:g} s") from None

    # --- Topics ---------------------------------------------------------------------------------

    async def subscribe(self, topic: str, *, timeout: float | None = REQUEST_SECONDS) -> None:
        """Follow a topic: what is pushed to it from now on comes in the iteration.

        The server keeps the subscription of a device, also while it is offline. When the device is
        registered anew, and at each connection of a user without a device, for which nothing is
        kept, this client subscribes again. Raises like `publish`.
        """
        session = await self._connected_within(timeout)
        await self.publish("TS", {"topic": topic}, timeout=timeout)
        self._followers[topic] = self._follower(session)

    async def unsubscribe(self, topic: str, *, timeout: float | None = REQUEST_SECONDS) -> None:
        """Follow a topic no more. Does nothing when it is not followed. Raises like `publish`."""
        self._followers.pop(topic, None)
        await self.publish("TU", {"topic": topic}, timeout=timeout)

    async def _connected_within(self, seconds: float | None) -> Connected:
        try:
            async with asyncio.timeout(seconds):
                return await self.wait_connected()
        except TimeoutError:
            raise ConnectionFailed(f"no session within {seconds:g} s") from None

    def _follower(self, session: Connected) -> str:
        """What follows the subscriptions of `session`; `streams` is for sessions without a
        device."""
        if session.streams is not None:
            return f"session {session.session}"
        return f"device {self.credentials.token}" if self.credentials else "device of the JWT"

    async def _restore(self, visit: Attempt, session: Connected) -> None:
        """Subscribe again where this session's follower is another than before."""
        follower = self._follower(session)
        missing = [topic for topic, known in self._followers.items() if known != follower]
        while missing:
            refused: list[str] = []
            for topic in filter(self._followers.__contains__, missing):
                try:
                    body = msgspec.Raw(encode_json({"topic": topic}))
                    _members(await visit.publish(RequestName.TS, body))
                except RequestRefused as refusal:
                    log.warning("the topic %s is not followed any more: %s", topic, refusal)
                    if refusal.after_seconds is not None:
                        refused.append(topic)
                except ConnectionFailed:
                    return  # the next session tries
                else:
                    if topic in self._followers:
                        self._followers[topic] = follower
            missing = refused
            if missing:
                await asyncio.sleep(RESTORE_AGAIN_SECONDS)


def _members(answer: RequestAnswered) -> dict[str, Any]:
    """What an answer says, without `ok`. Raises `RequestRefused`."""
    if not answer.ok:
        raise RequestRefused(
            answer.code or "internal",
            answer.detail,
            field=answer.field,
            after_seconds=answer.after_seconds,
        )
    return {name: value for name, value in answer.body.items() if name != "ok"}

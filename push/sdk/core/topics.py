"""Which topics a client follows, and which of them it must subscribe to again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from push.sdk.core.pending import Pending
from push.sdk.core.requests import JSON
from push.sdk.errors import ConnectionFailed, RequestRefused
from push.sdk.logs import log

RESTORE_AGAIN_SECONDS = 5.0


class ClientTopics:
    """Of each topic it is remembered who follows it: the device, or, for a user without one, that
    session. Another, after a registration or a reconnect, does not yet: then `subscribe(topic)`
    asks for it, one after the other.
    """

    def __init__(self, subscribe: Callable[[str], Pending[JSON]]) -> None:
        self._subscribe = subscribe
        self._followers: dict[str, str] = {}
        self._follower = ""
        self._missing: list[str] = []
        self._refused: list[str] = []
        self._asked: Pending[JSON] | None = None
        self._again_at: float | None = None
        self._now = 0.0

    def followed(self, topic: str) -> None:
        """The session follows it."""
        self._followers[topic] = self._follower

    def forget(self, topic: str) -> None:
        self._followers.pop(topic, None)

    def begin_session(self, follower: str, now: float) -> None:
        self._now = now
        self._follower = follower
        self._missing = [topic for topic, known in self._followers.items() if known != follower]
        self._ask_next()

    def end_session(self) -> None:
        asked, self._asked = self._asked, None
        self._missing, self._refused, self._again_at = [], [], None
        if asked is not None:
            asked.fail(ConnectionFailed("the session is over"))

    def next_deadline(self) -> float | None:
        return self._again_at

    def tick(self, now: float) -> None:
        self._now = now
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            self._missing, self._refused = self._refused, []
            self._ask_next()

    def _ask_next(self) -> None:
        while self._missing:
            topic = self._missing.pop(0)
            if topic in self._followers:  # not left meanwhile
                self._asked = self._subscribe(topic)
                self._asked.then(partial(self._answered, topic))
                return
        if self._refused:
            self._again_at = self._now + RESTORE_AGAIN_SECONDS

    def _answered(self, topic: str, asked: Pending[JSON]) -> None:
        if asked is not self._asked:
            return  # the next session asks
        self._asked = None
        if isinstance(asked.error, ConnectionFailed):
            return
        if isinstance(asked.error, RequestRefused):
            log.warning("the topic %s is not followed any more: %s", topic, asked.error)
            if asked.error.after_seconds is not None:
                self._refused.append(topic)
        elif topic in self._followers:
            self._followers[topic] = self._follower
        self._ask_next()

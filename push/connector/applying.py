"""What was written is applied to the sessions of this connector, before the write is answered."""

from __future__ import annotations

import msgspec

from push.cluster.survey import SurveyHandler
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.requests.dispatch import RequestDispatcher
from push.connector.sessions.freshness import Freshness
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.sharded_streams import ShardedStreams
from push.devices.session_queries import APPLY, ApplyAsked
from push.wire.idents import user_stream

_decode = msgspec.json.Decoder(ApplyAsked).decode


class Applying:
    """Answers the question `apply`. Sessions that are being opened read their record once more
    before they are accepted."""

    def __init__(
        self,
        survey_handler: SurveyHandler,
        streams: ShardedStreams,
        subscriptions: SessionSubscriptions,
        freshness: Freshness,
        requests: RequestDispatcher,
        port: GatewayPort,
    ) -> None:
        self._streams = streams
        self._subscriptions = subscriptions
        self._freshness = freshness
        self._requests = requests
        self._port = port
        survey_handler.handle(APPLY, self._apply, even_late=True)

    async def _apply(self, raw: bytes) -> None:
        asked = _decode(raw)
        sessions, opening = self._port.sessions, self._port.opening
        found = {sessions[id] for id in asked.sessions if id in sessions}
        # Every session of a user follows that user's stream: nobody needs to be looked for.
        for user in asked.users:
            found.update(self._streams.followers_of(user_stream(user)))
        for id in opening if asked.users or asked.dismissed else asked.sessions:
            if id in opening:
                self._subscriptions.mark_outdated(opening[id])
                found.discard(opening[id])
        if asked.dismissed:
            self._subscriptions.end_stream(asked.dismissed)
        await self._freshness.apply(found)
        # What they asked for before is done by the state before, or is judged by the new one.
        await self._requests.until_done(
            [each for each in found if each.session_id in asked.sessions]
        )

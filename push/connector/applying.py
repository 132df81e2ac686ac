"""What was written is applied to the sessions of this connector, before the write is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from push.cluster.survey import Answerer
from push.connector.delivery.sharded_streams import Sources
from push.connector.delivery.subscriptions import Following
from push.connector.transport.connection import DeviceConnection
from push.devices.session_query_types import APPLY, ApplyAsked
from push.wire.idents import user_stream

_decode = msgspec.json.Decoder(ApplyAsked).decode


class Applying:
    """Answers the question `apply`.

    `sessions` are those that the connector has; `opening` the connections whose session is being
    opened: they read the record once more before they are accepted.
    """

    def __init__(
        self,
        answerer: Answerer,
        sessions: Mapping[str, DeviceConnection],
        opening: Mapping[str, DeviceConnection],
        sources: Sources,
        following: Following,
    ) -> None:
        self._sessions = sessions
        self._opening = opening
        self._sources = sources
        self._following = following
        answerer.handle(APPLY, self._apply)

    async def _apply(self, raw: bytes) -> None:
        asked = _decode(raw)
        opening = self._opening
        found = {self._sessions[id] for id in asked.sessions if id in self._sessions}
        found.update(self._followers_of(asked))
        for id in opening if asked.users or asked.stream else asked.sessions:
            if id in opening:
                opening[id].refresh_again = True
                found.discard(opening[id])
        for waiter in [self._following.refreshed(each) for each in found]:
            await waiter

    def _followers_of(self, asked: ApplyAsked) -> Iterable[DeviceConnection]:
        """Every session of a user follows that user's stream: so nobody needs to be looked for."""
        streams = [*map(user_stream, asked.users), *([asked.stream] if asked.stream else [])]
        for stream in streams:
            yield from self._sources.followers_of(stream)

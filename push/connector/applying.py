"""What was written is applied to the sessions of this connector, before the write is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from push.cluster.survey import SurveyHandler
from push.connector.currency import Currency
from push.connector.delivery.sharded_streams import ShardedStreams
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.transport.connection import DeviceConnection
from push.devices.session_query_types import APPLY, ApplyAsked
from push.wire.idents import user_stream

_decode = msgspec.json.Decoder(ApplyAsked).decode


class Applying:
    """Answers the question `apply`.

    `sessions` are those that the connector has; `opening` the connections whose session is being
    opened: they read the record once more before they are accepted. `settled(connections)` returns
    when the requests of these are done that are being carried out.
    """

    def __init__(
        self,
        answerer: SurveyHandler,
        sessions: Mapping[str, DeviceConnection],
        opening: Mapping[str, DeviceConnection],
        sources: ShardedStreams,
        following: SessionSubscriptions,
        currency: Currency,
        settled: Callable[[Iterable[DeviceConnection]], Awaitable[None]],
    ) -> None:
        self._sessions = sessions
        self._opening = opening
        self._sources = sources
        self._following = following
        self._currency = currency
        self._settled = settled
        answerer.handle(APPLY, self._apply, even_late=True)

    async def _apply(self, raw: bytes) -> None:
        asked = _decode(raw)
        opening = self._opening
        found = {self._sessions[id] for id in asked.sessions if id in self._sessions}
        # Every session of a user follows that user's stream: nobody needs to be looked for.
        for user in asked.users:
            found.update(self._sources.followers_of(user_stream(user)))
        for id in opening if asked.users or asked.dismissed else asked.sessions:
            if id in opening:
                opening[id].refresh_again = True
                found.discard(opening[id])
        if asked.dismissed:
            self._following.end_stream(asked.dismissed)
        await self._currency.apply(found)
        # What they asked for before is done by the state before, or is judged by the new one.
        await self._settled([each for each in found if each.session_id in asked.sessions])

"""The sessions of the whole cluster: what connectors are asked about theirs, and what they answer.

Every answer names the nodes that did not answer in time (`silent`): what they have is not in it.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable

import msgspec

from push.access.bans import keep_kick
from push.cluster.survey import Survey, SurveyResult
from push.redis.connection.patient_calls import check_waiting
from push.runtime.places import Places
from push.wire.api.connections import Connection, ConnectionPage, KickResult
from push.wire.api.paging import make_cursor, read_cursor

# Kinds of questions.
LIST, KICK, PUSH, APPLY = "sessions", "kick", "push", "apply"


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which sessions: those that fit all that is given.

    `users`: of one of them; `without_token`: of a user without a device; `ip`: an address or
    network as `normal_network` writes it; `topic`: that they follow; `node`: the name of their
    connector.
    """

    session: str | None = None
    token: str | None = None
    user: str | None = None
    users: tuple[str, ...] | None = None
    without_token: bool = False
    ip: str | None = None
    topic: str | None = None
    node: str | None = None


class ListSessions(msgspec.Struct, frozen=True):
    """At most `limit` sessions, by id, after the id `after`."""

    filter: Filter
    after: str
    limit: int


class KickSessions(msgspec.Struct, frozen=True):
    filter: Filter


class KeptKick(msgspec.Struct, frozen=True):
    """A kick that not all connectors confirmed: it ends the sessions that fit and were opened
    before `before_ms`, in milliseconds since 1970 UTC."""

    filter: Filter
    before_ms: int


class KickAnswer(msgspec.Struct, frozen=True):
    kicked: int


class PushToSessions(msgspec.Struct, frozen=True):
    """Hand message `id` to the sessions of `ip`. `content` is as streams keep it (message.py);
    `acknowledged`: for the ledger."""

    ip: str
    id: str
    content: msgspec.Raw
    acknowledged: bool


class PushAnswer(msgspec.Struct, frozen=True):
    """How many sessions it was for, and how many of them are of devices."""

    sessions: int
    devices: int


class ApplyAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """Read again, and answer when that is in effect: the records of the devices that `sessions`
    have, and the groups of `users`. The stream `dismissed` has no followers from now on."""

    sessions: list[str] = []
    users: list[str] = []
    dismissed: str = ""


# Two processes' estimates of the server's time differ by less.
CLOCK_TOLERANCE_MS = 1000

# Pages that are put together, at first: each takes this process, and every connector, some
# milliseconds. One of which a connector is silent holds up the others for a moment (see `Places`).
LISTED_AT_A_TIME = 2
LIST_RESTS = 1.0  # if others wait

_decode_rows = msgspec.json.Decoder(list[Connection]).decode
_decode_kicked = msgspec.json.Decoder(KickAnswer).decode
_decode_pushed = msgspec.json.Decoder(PushAnswer).decode


class Reached(msgspec.Struct, frozen=True):
    """How many sessions a message was for, and how many of them are of devices."""

    sessions: int
    devices: int
    silent: list[str]


class SessionQueries:
    """Lists, ends and reaches sessions, wherever they are. Raises `StoreUnavailable`."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._listing = Places(survey.server.reactor, LISTED_AT_A_TIME)

    async def find(
        self, filter: Filter, cursor: str = "", limit: int = 50, turns_of: Hashable = None
    ) -> ConnectionPage:
        """The sessions that fit, by id. `turns_of`: for many sessions, the owner of the turn that
        this waits for. Raises `RequestError` `invalid` for a wrong cursor, `unavailable` where too
        many of the owner wait."""
        place = read_cursor("connections", cursor, str)
        after = place[0] if place else ""
        if turns_of is None:
            return await self._page(filter, after, limit)
        check_waiting(self._listing.waiting_of(turns_of))
        async with self._listing.place(turns_of) as taken:
            page = await self._page(filter, after, limit)
            # About as long as another takes that found as many.
            taken.kind = len(page.connections).bit_length()
            if self._listing.is_waited_for:
                taken.rests = LIST_RESTS
        return page

    async def _page(self, filter: Filter, after: str, limit: int) -> ConnectionPage:
        # One more of each tells whether this is the last page.
        asked = await self._survey.ask(LIST, ListSessions(filter, after, limit + 1))
        return _page_of(asked, filter, limit)

    async def kick(self, filter: Filter) -> KickResult:
        """End the sessions that fit: their clients do not reconnect by themselves.

        Connectors that do not confirm it end them before they next do anything for them.
        """
        server = self._survey.server
        kept = KeptKick(filter, server.clock.now_ms() + CLOCK_TOLERANCE_MS)
        asked = await self._survey.ask(KICK, KickSessions(filter), thorough=True)
        kicked = sum(_decode_kicked(raw).kicked for _, raw in asked.answers)
        silent = _silent(asked, filter)
        if silent:
            await keep_kick(server, msgspec.json.encode(kept))
        return KickResult(kicked, silent)

    async def push(self, ip: str, id: str, content: bytes, *, acknowledged: bool) -> Reached:
        """Hand a message to the sessions of an address or network."""
        body = PushToSessions(ip, id, msgspec.Raw(content), acknowledged)
        asked = await self._survey.ask(PUSH, body)
        answers = [_decode_pushed(raw) for _, raw in asked.answers]
        return Reached(
            sum(answer.sessions for answer in answers),
            sum(answer.devices for answer in answers),
            asked.silent,
        )


def _page_of(asked: SurveyResult, filter: Filter, limit: int) -> ConnectionPage:
    pages = [_decode_rows(raw) for _, raw in asked.answers]
    rows = list(heapq.merge(*pages, key=lambda row: row.session))
    more = len(rows) > limit
    rows = rows[:limit]
    cursor = make_cursor("connections", rows[-1].session) if more else None
    return ConnectionPage(rows, cursor, _silent(asked, filter))


def _silent(asked: SurveyResult, filter: Filter) -> list[str]:
    """Who did not answer, if it matters."""
    return [node for node in asked.silent if filter.node in (None, node)]

"""The recent messages."""

from __future__ import annotations

from msgspec import UNSET

from push.http.framework.route import DocumentedResponse, Request, Response, Route, json_answer
from push.observe.recent import RecentMessages
from push.pushing.service import PushService
from push.runtime.owner_queue import FairSemaphore
from push.runtime.tasks import gather
from push.streams.ledger import DeliveryCounts
from push.wire.api.messages import MessageLedger
from push.wire.api.operate.messages import RecentPage, RecentQuery
from push.wire.errors import RequestError
from push.wire.idents import NAME_RULE, is_name, is_token

# Of all pages that are asked for: a row takes long enough for others to notice a page.
ROWS_AT_ONCE = 20

_KINDS = ("user", "topic", "group", "token")


class RecentMessageRoutes:
    def __init__(self, recent: RecentMessages, pushing: PushService) -> None:
        self._recent = recent
        self._pushing = pushing
        self._looking_up = FairSemaphore(1)

    @Route(
        "GET",
        "/v1/messages",
        "List recent messages",
        {200: DocumentedResponse("A page of messages, the newest first.", RecentPage)},
        description=(
            "The last 1,000 that were pushed, to `to` or to anybody, of seven days; half a second "
            "late. A page may have fewer than `limit`, because a message is listed as long as "
            "its record is kept. To an `ip` they are listed without `to` only."
        ),
        scope="read",
        query=RecentQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_recent_messages(self, call: Request) -> Response:
        query: RecentQuery = call.query
        target = None if query.to is UNSET else _target_of(query.to)
        ids, cursor = await self._recent.page(target, query.since, query.cursor, query.limit)
        found: list[DeliveryCounts | None] = []
        for start in range(0, len(ids), ROWS_AT_ONCE):
            async with self._looking_up.turn(call.turns_of):
                part = ids[start : start + ROWS_AT_ONCE]
                found += await gather(self._look_up(id) for id in part)
        names = MessageLedger.__struct_fields__
        rows = [
            MessageLedger(**{name: getattr(counts, name) for name in names})
            for counts in found
            if counts is not None
        ]
        return json_answer(200, RecentPage(rows, cursor))

    async def _look_up(self, id: str) -> DeliveryCounts | None:
        try:
            return await self._pushing.message(id)
        except RequestError:
            return None  # its record has ended


def _target_of(text: str) -> str:
    """Raises `RequestError` `invalid`."""
    kind, colon, name = text.partition(":")
    if text == "all":
        return text
    if kind not in _KINDS or not colon:
        raise RequestError(
            "invalid", "`to`: expected user:…, topic:…, group:…, token:… or all", field="to"
        )
    if kind == "token" and not is_token(name):
        raise RequestError("invalid", "`to`: not a token", field="to")
    if kind != "token" and not is_name(name):
        raise RequestError("invalid", f"`to`: after {kind}: expected {NAME_RULE}", field="to")
    return text

"""What became of a message, and cancelling it."""

from __future__ import annotations

from collections.abc import Sequence

from push.http.framework.route import (
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.pushing.service import PushService
from push.streams.ledger import DeviceLine
from push.wire.api.messages import Cancelled, DeliveryPage, DeviceDelivery, MessageLedger
from push.wire.api.paging import PageQuery, make_cursor, read_cursor

_PROBLEMS = ("unknown_message", "unavailable")


class MessageRoutes:
    def __init__(self, pushing: PushService) -> None:
        self._pushing = pushing

    @Route(
        "GET",
        "/v1/messages/{id}",
        "See what became of a message",
        {200: DocumentedResponse("What became of it.", MessageLedger)},
        description=(
            "Counts are devices, and are about a second late. Of a message that was "
            "stored, `addressed` is the sum of the ends once nothing waits any more. Kept for "
            "a day longer than the message. Reasons of `dropped`: `backlog` (more waited for "
            "the device than it may have), `retention` (more waited in the stream), "
            "`collapsed` (a newer one took its place), `too_large` (for the device's frame "
            "limit), `unacknowledged` (sent ten times, and not acknowledged until now), "
            "`unbound`, `unsubscribed`, `forgotten` (the device), `erased` (the user), "
            "`congested` (the connection was full, and the message was not stored)."
        ),
        scope="read",
        problems=_PROBLEMS,
    )
    async def get_message(self, call: Request) -> Response:
        counts = await self._pushing.message(call.path["id"])
        names = MessageLedger.__struct_fields__
        return json_answer(200, MessageLedger(**{name: getattr(counts, name) for name in names}))

    @Route(
        "GET",
        "/v1/messages/{id}/devices",
        "See what became of a message on each device",
        {200: DocumentedResponse("A page of devices, by token.", DeliveryPage)},
        description="Kept for messages that were addressed to devices or users.",
        scope="read",
        query=PageQuery,
        problems=(*_PROBLEMS, "not_found"),
    )
    async def get_message_devices(self, call: Request) -> Response:
        query: PageQuery = call.query
        after = read_cursor("deliveries", query.cursor, str)
        lines = await self._pushing.message_devices(call.path["id"], call.turns_of)
        return json_answer(200, _page(lines, after[0] if after else "", query.limit))

    @Route(
        "DELETE",
        "/v1/messages/{id}",
        "Cancel a message",
        {
            200: DocumentedResponse(
                "Cancelled for the devices that had not acknowledged it.", Cancelled
            )
        },
        description=(
            "It is not delivered any more. A device that has it but had not "
            "acknowledged it counts as cancelled, until it does."
        ),
        scope="push",
        problems=_PROBLEMS,
    )
    async def cancel_message(self, call: Request) -> Response:
        return json_answer(200, Cancelled(await self._pushing.cancel(call.path["id"])))


def _page(lines: Sequence[DeviceLine], after: str, limit: int) -> DeliveryPage:
    """The lines after the token `after`."""
    left = [line for line in lines if line.token > after]
    rows = [
        DeviceDelivery(line.token, line.state, line.reason, line.ts, line.user)
        for line in left[:limit]
    ]
    more = len(left) > limit
    return DeliveryPage(rows, make_cursor("deliveries", rows[-1].token) if more else None)

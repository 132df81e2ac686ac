"""What became of a message, and cancelling it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from push.http.framework.route import (
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.streams.ledger import DeliveryCounts, DeviceLine
from push.wire.api.messages import Cancelled, DeliveryPage, DeviceDelivery, MessageLedger
from push.wire.api.paging import PageQuery, make_cursor, read_cursor

ID_TEXT = "the id that the push was answered with"


class MessageLookup(Protocol):
    """What is needed of `push.pushing.service.PushService`."""

    async def message(self, id: str) -> DeliveryCounts: ...

    async def message_devices(self, id: str) -> Sequence[DeviceLine]: ...

    async def cancel(self, id: str) -> int: ...


def message_routes(messages: MessageLookup) -> tuple[Route, ...]:
    async def get_message(call: Request) -> Response:
        funnel = await messages.message(call.path["id"])
        names = MessageLedger.__struct_fields__
        return json_answer(200, MessageLedger(**{name: getattr(funnel, name) for name in names}))

    async def get_devices(call: Request) -> Response:
        query: PageQuery = call.query
        after = read_cursor("deliveries", query.cursor, str)
        lines = await messages.message_devices(call.path["id"])
        return json_answer(200, _page(lines, after[0] if after else "", query.limit))

    async def cancel(call: Request) -> Response:
        return json_answer(200, Cancelled(await messages.cancel(call.path["id"])))

    path = {"id": ID_TEXT}
    problems = ("unknown_message", "unavailable")
    return (
        Route(
            "GET",
            "/v1/messages/{id}",
            "get_message",
            "See what became of a message",
            get_message,
            {200: DocumentedResponse("Its funnel.", MessageLedger)},
            description=(
                "Counts are devices, and are about a second late. Of a message that was "
                "stored, `addressed` is the sum of the ends once nothing waits any more. Kept for "
                "a day longer than the message. Reasons of `dropped`: `backlog` (more waited for "
                "the device than it may have), `retention` (more waited in the stream), "
                "`collapsed` (a newer one took its place), `too_large` (for the device's frame "
                "limit), `unacknowledged` (sent ten times, and not acknowledged until now), "
                "`unbound`, `unsubscribed`, `forgotten` (the device), `erased` (the user), "
                "`congested` (the connection took no more, and the message was not stored)."
            ),
            scope="read",
            path_texts=path,
            problems=problems,
        ),
        Route(
            "GET",
            "/v1/messages/{id}/devices",
            "get_message_devices",
            "See what became of a message on each device",
            get_devices,
            {200: DocumentedResponse("A page of devices, by token.", DeliveryPage)},
            description="Kept for messages that were addressed to devices or users.",
            scope="read",
            path_texts=path,
            query=PageQuery,
            problems=(*problems, "not_found"),
        ),
        Route(
            "DELETE",
            "/v1/messages/{id}",
            "cancel_message",
            "Cancel a message",
            cancel,
            {
                200: DocumentedResponse(
                    "Cancelled for the devices that had not acknowledged it.", Cancelled
                )
            },
            description=(
                "It is delivered to no device any more. A device that has it but had not "
                "acknowledged it counts as cancelled, until it does."
            ),
            scope="push",
            path_texts=path,
            problems=problems,
        ),
    )


def _page(lines: Sequence[DeviceLine], after: str, limit: int) -> DeliveryPage:
    """The lines after the token `after`."""
    left = [line for line in lines if line.token > after]
    rows = [
        DeviceDelivery(line.token, line.state, line.reason, line.ts, line.user)
        for line in left[:limit]
    ]
    more = len(left) > limit
    return DeliveryPage(rows, make_cursor("deliveries", rows[-1].token) if more else None)

"""What became of a message, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from push.http.framework.request_reading import LIMIT_PARAMETER, read_cursor, read_limit
from push.http.framework.route import (
    DocumentedResponse,
    Parameter,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.schemas import Cancelled, MessageDevices, MessageDeviceStatus, MessageStatus
from push.streams.ledger import DeliveryCounts, DeviceLine

ID_TEXT = "the id that the push was answered with"
CURSOR = Parameter("cursor", "`cursor` of the page before")


class MessageLookup(Protocol):
    """What is needed of `push.pushing.service.PushService`."""

    async def message(self, id: str) -> DeliveryCounts: ...

    async def message_devices(self, id: str) -> Sequence[DeviceLine]: ...

    async def cancel(self, id: str) -> int: ...


def message_routes(messages: MessageLookup) -> tuple[Route, ...]:
    async def get_message(call: Request) -> Response:
        funnel = await messages.message(call.path["id"])
        names = MessageStatus.__struct_fields__
        return json_answer(200, MessageStatus(**{name: getattr(funnel, name) for name in names}))

    async def get_devices(call: Request) -> Response:
        limit = read_limit(call.query)
        lines = await messages.message_devices(call.path["id"])
        return json_answer(200, _page(lines, read_cursor(call.query), limit))

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
            {200: DocumentedResponse("Its funnel.", MessageStatus)},
            description=(
                "Counts are devices, and lag behind by about a second. Of a message that was "
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
            {200: DocumentedResponse("A page of devices, by token.", MessageDevices)},
            description="Kept for messages that were addressed to devices or users.",
            scope="read",
            path_texts=path,
            query=(CURSOR, LIMIT_PARAMETER),
            problems=(*problems, "not_found"),
        ),
        Route(
            "DELETE",
            "/v1/messages/{id}",
            "cancel_message",
            "Cancel a message",
            cancel,
            {200: DocumentedResponse("Taken back from who had not acknowledged it.", Cancelled)},
            description=(
                "It is handed out to nobody any more. A device that has it but had not "
                "acknowledged it counts as cancelled, until it does."
            ),
            scope="push",
            path_texts=path,
            problems=problems,
        ),
    )


def _page(lines: Sequence[DeviceLine], cursor: str, limit: int) -> MessageDevices:
    """The lines behind the token `cursor`."""
    left = [line for line in lines if line.token > cursor]
    rows = [
        MessageDeviceStatus(line.token, line.state, line.ts, line.user, line.reason)  # type: ignore[arg-type]
        for line in left[:limit]
    ]
    return MessageDevices(rows, rows[-1].token if len(left) > limit else None)

"""Webhooks: endpoints to which events are sent, what became of attempts, replay and test."""

from __future__ import annotations

from push.http.framework.route import (
    NO_CONTENT,
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.webhooks.service import Webhooks
from push.wire.api.operate.webhooks import (
    ReplayBody,
    Replayed,
    Webhook,
    WebhookAttemptPage,
    WebhookBody,
    WebhookChange,
    WebhookChanged,
    WebhookMade,
    WebhookPage,
    WebhookTested,
)
from push.wire.api.paging import PageQuery, make_cursor, read_cursor


class WebhookRoutes:
    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    @Route(
        "GET",
        "/v1/webhooks",
        "List the endpoints",
        {
            200: DocumentedResponse(
                "A page of them, by id, those of the configuration, too.", WebhookPage
            )
        },
        scope="admin",
        query=PageQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_webhooks(self, call: Request) -> Response:
        query: PageQuery = call.query
        place = read_cursor("webhooks", query.cursor, str)
        page, after = await self._webhooks.page(place[0] if place else "", query.limit)
        cursor = None if after is None else make_cursor("webhooks", after)
        return json_answer(200, WebhookPage(page, cursor))

    @Route(
        "POST",
        "/v1/webhooks",
        "Make an endpoint",
        {201: DocumentedResponse("It gets what is decided from now on.", WebhookMade)},
        description=(
            "Events are sent by POST and signed as the Standard Webhooks specification has it. "
            "The address must be public: that is judged now as far as it can be, and again for "
            "each connection. Endpoints that are private belong into the configuration."
        ),
        scope="admin",
        body=Body(WebhookBody, {"url": "https://example.com/push", "types": ["chat.message"]}),
        problems=("not_allowed", "unavailable"),
    )
    async def create_webhook(self, call: Request) -> Response:
        made = await self._webhooks.create(call.body)
        return json_answer(201, made, (b"Cache-Control", b"no-store"))

    @Route(
        "GET",
        "/v1/webhooks/{webhook}",
        "Look an endpoint up",
        {200: DocumentedResponse("Its state, and how much waits for it.", Webhook)},
        scope="admin",
        problems=("not_found", "unavailable"),
    )
    async def get_webhook(self, call: Request) -> Response:
        return json_answer(200, await self._webhooks.get(call.path["webhook"]))

    @Route(
        "PATCH",
        "/v1/webhooks/{webhook}",
        "Change an endpoint",
        {
            200: DocumentedResponse(
                "As it is now, with a new secret after `rotate`.", WebhookChanged
            )
        },
        description=(
            "`rotate` makes a new secret. For 24 hours events have two signatures, so that the "
            "receiver can change over. `enabled` true tries a disabled endpoint again; what "
            "waited for it is sent. Of an endpoint of the configuration only `enabled` changes."
        ),
        scope="admin",
        body=Body(WebhookChange, {"description": "orders"}),
        problems=("not_allowed", "not_found", "unavailable"),
    )
    async def change_webhook(self, call: Request) -> Response:
        changed = await self._webhooks.change(call.path["webhook"], call.body)
        return json_answer(200, changed, (b"Cache-Control", b"no-store"))

    @Route(
        "DELETE",
        "/v1/webhooks/{webhook}",
        "Delete an endpoint",
        {204: DocumentedResponse("It gets no event any more; what waited for it is gone.")},
        scope="admin",
        problems=("not_allowed", "not_found", "unavailable"),
    )
    async def delete_webhook(self, call: Request) -> Response:
        await self._webhooks.delete(call.path["webhook"])
        return NO_CONTENT

    @Route(
        "GET",
        "/v1/webhooks/{webhook}/attempts",
        "List the attempts of the last 7 days",
        {200: DocumentedResponse("A page of them, the newest first.", WebhookAttemptPage)},
        description="Of each Redis server about the last 10,000 are kept.",
        scope="admin",
        query=PageQuery,
        problems=("invalid", "not_found", "unavailable"),
    )
    async def list_webhook_attempts(self, call: Request) -> Response:
        query: PageQuery = call.query
        read = read_cursor("attempts", query.cursor, int, int)
        before = (read[0], read[1]) if read else None
        page, more = await self._webhooks.attempts(call.path["webhook"], before, query.limit)
        cursor = None if more is None else make_cursor("attempts", *more)
        return json_answer(200, WebhookAttemptPage(page, cursor))

    @Route(
        "POST",
        "/v1/webhooks/{webhook}/replay",
        "Send events again",
        {202: DocumentedResponse("So many are sent again.", Replayed)},
        description=(
            "Of the events of the last 7 days that are kept, those that were decided from `since` "
            "to `until` and are of a type that the endpoint gets. They have the same `webhook-id`."
        ),
        scope="admin",
        body=Body(ReplayBody, {"only_failed": True}, optional=True),
        problems=("not_allowed", "not_found", "unavailable"),
    )
    async def replay_webhook(self, call: Request) -> Response:
        body = ReplayBody() if call.body is None else call.body
        return json_answer(202, Replayed(await self._webhooks.replay(call.path["webhook"], body)))

    @Route(
        "POST",
        "/v1/webhooks/{webhook}/test",
        "Send a test event",
        {202: DocumentedResponse("It is on its way.", WebhookTested)},
        description="Its type is `webhook.test`, and its source the endpoint.",
        scope="admin",
        problems=("not_allowed", "not_found", "unavailable"),
    )
    async def send_test_event(self, call: Request) -> Response:
        return json_answer(202, WebhookTested(await self._webhooks.test(call.path["webhook"])))

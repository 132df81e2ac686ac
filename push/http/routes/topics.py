"""Topics: which there are, and which devices follow them."""

from __future__ import annotations

from push.devices.topics import Topics
from push.http.framework.route import (
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.paging import PageQuery
from push.wire.api.topics import Topic, TopicPage
from push.wire.errors import RequestError


class TopicRoutes:
    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    @Route(
        "GET",
        "/v1/topics",
        "List topics",
        {200: DocumentedResponse("A page of the topics that devices follow, by name.", TopicPage)},
        description=(
            "A topic is there while a device follows it. Sessions with a JWT alone are not "
            "counted: `GET /v1/connections?topic=` has them."
        ),
        scope="read",
        query=PageQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_topics(self, call: Request) -> Response:
        query: PageQuery = call.query
        return json_answer(200, await self._topics.find_topics(query.cursor, query.limit))

    @Route(
        "GET",
        "/v1/topics/{topic}",
        "Look a topic up",
        {200: DocumentedResponse("How many devices follow it.", Topic)},
        scope="read",
        problems=("invalid", "not_found", "unavailable"),
    )
    async def get_topic(self, call: Request) -> Response:
        return json_answer(200, await self._topics.get_topic(call.path["topic"]))

    @Route(
        "PUT",
        "/v1/topics/{topic}/devices/{token}",
        "Subscribe a device to a topic",
        {
            204: DocumentedResponse("It follows the topic from now on, a live session at once."),
            200: REPLY_UNCONFIRMED,
        },
        description=(
            "Any topic, also one that begins with `private.`, to which a device subscribes "
            "itself only with a JWT that names it."
        ),
        scope="push",
        problems=("invalid", "unknown_token", "unavailable", "not_allowed"),
    )
    async def subscribe_device(self, call: Request) -> Response:
        done = await self._topics.subscribe(call.path["topic"], call.path["token"])
        return in_effect(done.silent)

    @Route(
        "DELETE",
        "/v1/topics/{topic}/devices/{token}",
        "Unsubscribe a device from a topic",
        {204: DocumentedResponse("It follows the topic no longer."), 200: REPLY_UNCONFIRMED},
        description="In the ledger, what it had not acknowledged is dropped as `unsubscribed`.",
        scope="push",
        problems=("invalid", "unknown_token", "unavailable", "not_found"),
    )
    async def unsubscribe_device(self, call: Request) -> Response:
        topic, token = call.path["topic"], call.path["token"]
        done = await self._topics.unsubscribe(topic, token)
        if not done.changed:
            raise RequestError("not_found", f"device {token} does not follow the topic {topic}")
        return in_effect(done.silent)

"""Topics: which there are, and which devices follow them."""

from __future__ import annotations

from typing import Protocol

from push.devices.topics import TopicWrite
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

TOPIC_TEXT = "the name of a topic"


class TopicStore(Protocol):
    """What is needed of `push.devices.topics.TopicStore`."""

    async def subscribe(self, topic: str, token: str) -> TopicWrite: ...

    async def unsubscribe(self, topic: str, token: str) -> TopicWrite: ...

    async def get_topic(self, topic: str) -> Topic: ...

    async def find_topics(self, cursor: str = "", limit: int = 50) -> TopicPage: ...


def topic_routes(topics: TopicStore) -> tuple[Route, ...]:
    return (*_reading_routes(topics), *_subscribing_routes(topics))


def _reading_routes(topics: TopicStore) -> tuple[Route, ...]:
    async def list_topics(call: Request) -> Response:
        page = await topics.find_topics(call.query.cursor, call.query.limit)
        return json_answer(200, page)

    async def get_topic(call: Request) -> Response:
        return json_answer(200, await topics.get_topic(call.path["topic"]))

    return (
        Route(
            "GET",
            "/v1/topics",
            "list_topics",
            "List topics",
            list_topics,
            {
                200: DocumentedResponse(
                    "A page of the topics that devices follow, by name.", TopicPage
                )
            },
            description=(
                "A topic is there while a device follows it. Sessions with a JWT alone are not "
                "counted: `GET /v1/connections?topic=` has them."
            ),
            scope="read",
            query=PageQuery,
            problems=("invalid", "unavailable"),
        ),
        Route(
            "GET",
            "/v1/topics/{topic}",
            "get_topic",
            "Look a topic up",
            get_topic,
            {200: DocumentedResponse("How many devices follow it.", Topic)},
            scope="read",
            path_texts={"topic": TOPIC_TEXT},
            problems=("invalid", "not_found", "unavailable"),
        ),
    )


def _subscribing_routes(topics: TopicStore) -> tuple[Route, ...]:
    async def subscribe(call: Request) -> Response:
        done = await topics.subscribe(call.path["topic"], call.path["token"])
        return in_effect(done.silent)

    async def unsubscribe(call: Request) -> Response:
        topic, token = call.path["topic"], call.path["token"]
        done = await topics.unsubscribe(topic, token)
        if not done.changed:
            raise RequestError("not_found", f"device {token} does not follow the topic {topic}")
        return in_effect(done.silent)

    path = {"topic": TOPIC_TEXT, "token": "the token of a device"}
    problems = ("invalid", "unknown_token", "unavailable")
    return (
        Route(
            "PUT",
            "/v1/topics/{topic}/devices/{token}",
            "subscribe_device",
            "Subscribe a device to a topic",
            subscribe,
            {
                204: DocumentedResponse(
                    "It follows the topic from now on, a live session at once."
                ),
                200: REPLY_UNCONFIRMED,
            },
            description=(
                "Any topic, also one that begins with `private.`, to which a device subscribes "
                "itself only with a JWT that names it."
            ),
            scope="push",
            path_texts=path,
            problems=(*problems, "not_allowed"),
        ),
        Route(
            "DELETE",
            "/v1/topics/{topic}/devices/{token}",
            "unsubscribe_device",
            "Unsubscribe a device from a topic",
            unsubscribe,
            {204: DocumentedResponse("It follows the topic no more."), 200: REPLY_UNCONFIRMED},
            description="In the ledger, what it had not acknowledged is dropped as `unsubscribed`.",
            scope="push",
            path_texts=path,
            problems=(*problems, "not_found"),
        ),
    )

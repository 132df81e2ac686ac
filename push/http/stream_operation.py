"""`GET /v1/stream` in the OpenAPI document: the connector answers it, and no route."""

from __future__ import annotations

from typing import Any

from push.http.framework.route import App
from push.wire.bodies import MAX_OPAQUE_BYTES
from push.wire.event_stream.answers import TITLES
from push.wire.event_stream.request import BY_ID, STREAM_PATH, WRITTEN


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_OPAQUE_BYTES},
    }


_OPERATION: dict[str, Any] = {
    "operationId": "stream",
    "summary": "Messages as server-sent events",
    "description": (
        "For one device or user, read only. Credentials as in `CONNECT`: `Authorization: Bearer "
        "<JWT>`, or `Push-Token` and `Push-Secret`. The response goes on until one side ends it."
    ),
    "security": [],  # not an API key
    "parameters": [
        {
            "name": "ack",
            "in": "query",
            "required": False,
            "description": (
                "What acknowledges a message: that it was `written` to the socket, or the "
                "`Last-Event-ID` of the next request (`id`)."
            ),
            "schema": {"type": "string", "enum": [WRITTEN, BY_ID], "default": WRITTEN},
        },
        _header("Push-Token", "The device's token."),
        _header("Push-Secret", "The device's secret."),
        _header("Last-Event-ID", "The `id` of the last event that was read: acknowledge up to it."),
    ],
    "responses": {
        "200": {
            "description": "Events: `message` has the body of a `PUSH`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        "307": {
            "description": "Another connector serves it: see `Location`.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
    },
}
STREAM_APP = App(
    "streams",
    "Messages without a protocol of our own.",
    (),
    beside={STREAM_PATH: (_OPERATION, tuple(TITLES))},
)

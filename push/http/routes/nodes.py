"""Nodes of the cluster, and emptying one."""

from __future__ import annotations

from typing import Protocol

from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.nodes import DrainBody, Draining
from push.wire.reading import decoder_for


class Drains(Protocol):
    """What is needed of `push.cluster.drain_command.NodeDrains`."""

    async def drain(self, node: str, rate_per_second: float) -> None: ...


def node_routes(drains: Drains) -> tuple[Route, ...]:
    decode = decoder_for(DrainBody)

    async def drain(call: Request) -> Response:
        await drains.drain(call.path["id"], call.body.rate or 0)
        return json_answer(202, Draining(call.path["id"]))

    return (
        Route(
            "POST",
            "/v1/nodes/{id}/drain",
            "drain_node",
            "Drain a connector",
            drain,
            {202: DocumentedResponse("It was told to.", Draining)},
            description=(
                "It takes no new sessions, sends those that it has to other connectors (`rate` of "
                "them a second), and its process ends. Without another connector it ends at once."
            ),
            scope="admin",
            path_texts={"id": "the name of a connector's node"},
            body=Body(DrainBody, decode, {"rate": 500}),
            problems=("not_found", "unavailable"),
        ),
    )

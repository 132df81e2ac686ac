"""Nodes of the cluster: listing them, their statistics, and emptying one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from push.cluster.directory import Directory
from push.cluster.drain_command import NodeDrains
from push.cluster.registry.entry import RegistryEntry
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.nodes import DrainBody, Draining, NodeEntry, NodeList, NodeStats, Stats


class NodeRoutes:
    def __init__(self, nodes: Directory, drains: NodeDrains) -> None:
        self._nodes = nodes
        self._drains = drains

    @Route(
        "GET",
        "/v1/nodes",
        "List the daemons of the cluster",
        {200: DocumentedResponse("Every registered daemon.", NodeList)},
        description="As last reported by each daemon, at most a few seconds ago.",
        scope="read",
    )
    async def list_nodes(self, call: Request) -> Response:
        names = NodeEntry.__struct_fields__
        nodes = self._nodes.nodes()
        rows = [NodeEntry(**{name: getattr(node, name) for name in names}) for node in nodes]
        return json_answer(200, NodeList(rows))

    @Route(
        "POST",
        "/v1/nodes/{id}/drain",
        "Drain a connector",
        {202: DocumentedResponse("The connector was told to drain.", Draining)},
        description=(
            "It takes no new sessions, sends those that it has to other connectors (`rate` of "
            "them a second), and its process ends. Without another connector it ends at once."
        ),
        scope="admin",
        path_texts={"id": "the name of a connector's node"},
        body=Body(DrainBody, {"rate": 500}),
        problems=("not_found", "unavailable"),
    )
    async def drain_node(self, call: Request) -> Response:
        await self._drains.drain(call.path["id"], call.body.rate or 0)
        return json_answer(202, Draining(call.path["id"]))

    @Route(
        "GET",
        "/v1/stats",
        "Statistics of the cluster",
        {200: DocumentedResponse("The sums, and the daemons they come from.", Stats)},
        description="As last reported by each daemon, at most a few seconds ago.",
        scope="read",
    )
    async def stats(self, call: Request) -> Response:
        return json_answer(200, stats_of(self._nodes.nodes()))


def stats_of(nodes: Sequence[RegistryEntry]) -> Stats:
    """Sums over all daemons."""
    counters: Counter[str] = Counter()
    for node in nodes:
        counters.update(node.counters)
    rows = [
        NodeStats(
            node.service,
            node.instance,
            node.sessions,
            node.capacity,
            node.version,
            node.draining,
            dict(node.counters),
        )
        for node in nodes
    ]
    return Stats(sum(row.sessions for row in rows), dict(counters), rows)

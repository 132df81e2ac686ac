"""Live sessions across the cluster: listing them, ending them, and the nodes they are on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import UNSET, UnsetType

from push.devices.session_query_types import Filter
from push.http.checks import read_network
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.connections import ConnectionPage, ConnectionsQuery, KickBody, Kicked
from push.wire.api.nodes import NodeEntry, NodeList
from push.wire.errors import RequestError
from push.wire.reading import decoder_for

TOKEN_TEXT = "the token of a device"
USER_TEXT = "the id of a user"
KICK_TEXT = (
    "The client gets `kicked` and does not reconnect by itself; it may do so when the app is "
    "started again."
)


class SessionAdmin(Protocol):
    """What is needed of `push.devices.session_queries.SessionAdmin`."""

    async def find(self, filter: Filter, cursor: str = "", limit: int = 50) -> ConnectionPage: ...

    async def kick(self, filter: Filter) -> Kicked: ...


class DeviceLookup(Protocol):
    """What is needed of `push.devices.registration.DeviceLookup`."""

    async def check(self, token: str) -> None: ...


class ListedNode(Protocol):
    """What is needed of an entry of the cluster's directory."""

    @property
    def service(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def addresses(self) -> Mapping[str, str]: ...
    @property
    def sessions(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def version(self) -> str: ...
    @property
    def draining(self) -> bool: ...
    @property
    def weight(self) -> int: ...
    @property
    def zone(self) -> str: ...
    @property
    def started(self) -> int: ...


class NodeDirectory(Protocol):
    """What is needed of `push.cluster.directory.Directory`."""

    def nodes(self) -> Sequence[ListedNode]: ...


def client_routes(
    clients: SessionAdmin, devices: DeviceLookup, nodes: NodeDirectory
) -> tuple[Route, ...]:
    return (_list_route(clients), *_kick_routes(clients, devices), _nodes_route(nodes))


def _list_route(clients: SessionAdmin) -> Route:
    async def connections(call: Request) -> Response:
        query: ConnectionsQuery = call.query
        found = Filter(
            node=_or_none(query.node),
            user=_or_none(query.user),
            ip=None if query.ip is UNSET else read_network(query.ip, "ip"),
            topic=_or_none(query.topic),
        )
        page = await clients.find(found, query.cursor, query.limit)
        return json_answer(200, page)

    return Route(
        "GET",
        "/v1/connections",
        "list_connections",
        "List live sessions",
        connections,
        {200: DocumentedResponse("A page of sessions, by their ids.", ConnectionPage)},
        description=(
            "All connectors are asked; those that do not answer within two seconds are named in "
            "`silent`. With several filters a session must fit all of them."
        ),
        scope="read",
        query=ConnectionsQuery,
        problems=("invalid", "unavailable"),
    )


def _kick_routes(clients: SessionAdmin, devices: DeviceLookup) -> tuple[Route, ...]:
    async def answer(found: Filter) -> Response:
        done = await clients.kick(found)
        if found.session is not None and not done.kicked and not done.silent:
            raise RequestError("not_found", "no node has this session")
        return json_answer(200, done)

    async def kick_session(call: Request) -> Response:
        return await answer(Filter(session=call.path["session"]))

    async def kick_ip(call: Request) -> Response:
        return await answer(Filter(ip=read_network(call.body.ip, "ip")))

    async def kick_device(call: Request) -> Response:
        await devices.check(call.path["token"])
        return await answer(Filter(token=call.path["token"]))

    async def kick_user(call: Request) -> Response:
        return await answer(Filter(user=call.path["user"]))

    replies = {200: DocumentedResponse("How many were ended.", Kicked)}
    return (
        Route(
            "DELETE",
            "/v1/connections/{session}",
            "kick_session",
            "End a session",
            kick_session,
            replies,
            description=KICK_TEXT,
            scope="admin",
            path_texts={"session": "the id of a session"},
            problems=("not_found", "unavailable"),
        ),
        Route(
            "POST",
            "/v1/connections/kick",
            "kick_ip",
            "End the sessions of an address or network",
            kick_ip,
            replies,
            description=KICK_TEXT,
            scope="admin",
            body=Body(KickBody, decoder_for(KickBody), {"ip": "192.0.2.0/24"}),
            problems=("unavailable",),
        ),
        Route(
            "POST",
            "/v1/devices/{token}/kick",
            "kick_device",
            "End the session of a device",
            kick_device,
            replies,
            description=KICK_TEXT,
            scope="admin",
            path_texts={"token": TOKEN_TEXT},
            problems=("invalid", "unknown_token", "unavailable"),
        ),
        Route(
            "POST",
            "/v1/users/{user}/kick",
            "kick_user",
            "End all sessions of a user",
            kick_user,
            replies,
            description=KICK_TEXT,
            scope="admin",
            path_texts={"user": USER_TEXT},
            problems=("invalid", "unavailable"),
        ),
    )


def _nodes_route(nodes: NodeDirectory) -> Route:
    async def list_nodes(call: Request) -> Response:
        names = NodeEntry.__struct_fields__
        rows = [
            NodeEntry(**{name: getattr(node, name) for name in names}) for node in nodes.nodes()
        ]
        return json_answer(200, NodeList(rows))

    return Route(
        "GET",
        "/v1/nodes",
        "list_nodes",
        "List the daemons of the cluster",
        list_nodes,
        {200: DocumentedResponse("Every one that is registered.", NodeList)},
        description="As last reported by each daemon, at most a few seconds ago.",
        scope="read",
    )


def _or_none(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value

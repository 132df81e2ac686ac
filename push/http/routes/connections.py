"""Live sessions across the cluster: listing them, and ending them."""

from __future__ import annotations

from push.devices.registration import Devices
from push.devices.session_queries import Filter, SessionQueries
from push.http.checks import none_if_unset, read_network
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.connections import ConnectionPage, ConnectionsQuery, KickBody, KickResult
from push.wire.errors import RequestError

_KICKED = {200: DocumentedResponse("How many were ended.", KickResult)}
_KICK_TEXT = (
    "The client gets `kicked` and does not reconnect by itself; it may do so when the app is "
    "started again."
)


class ConnectionRoutes:
    def __init__(self, sessions: SessionQueries, devices: Devices) -> None:
        self._sessions = sessions
        self._devices = devices

    @Route(
        "GET",
        "/v1/connections",
        "List live sessions",
        {200: DocumentedResponse("A page of sessions, by their ids.", ConnectionPage)},
        description=(
            "All connectors are asked; those that do not answer within two seconds are named in "
            "`silent`. With several filters a session must match all of them."
        ),
        scope="read",
        query=ConnectionsQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_connections(self, call: Request) -> Response:
        query: ConnectionsQuery = call.query
        ip = none_if_unset(query.ip)
        wanted = Filter(
            node=none_if_unset(query.node),
            user=none_if_unset(query.user),
            ip=None if ip is None else read_network(ip, "ip"),
            topic=none_if_unset(query.topic),
        )
        return json_answer(
            200, await self._sessions.find(wanted, query.cursor, query.limit, call.turns_of)
        )

    @Route(
        "DELETE",
        "/v1/connections/{session}",
        "End a session",
        _KICKED,
        description=_KICK_TEXT,
        scope="admin",
        problems=("not_found", "unavailable"),
    )
    async def kick_session(self, call: Request) -> Response:
        done = await self._sessions.kick(Filter(session=call.path["session"]))
        if not done.kicked and not done.silent:
            raise RequestError("not_found", "no node has this session")
        return json_answer(200, done)

    @Route(
        "POST",
        "/v1/connections/kick",
        "End the sessions of an address or network",
        _KICKED,
        description=_KICK_TEXT,
        scope="admin",
        body=Body(KickBody, {"ip": "192.0.2.0/24"}),
        problems=("unavailable",),
    )
    async def kick_ip(self, call: Request) -> Response:
        return await self._kick(Filter(ip=read_network(call.body.ip, "ip")))

    @Route(
        "POST",
        "/v1/devices/{token}/kick",
        "End the session of a device",
        _KICKED,
        description=_KICK_TEXT,
        scope="admin",
        problems=("invalid", "unknown_token", "unavailable"),
    )
    async def kick_device(self, call: Request) -> Response:
        await self._devices.check(call.path["token"])
        return await self._kick(Filter(token=call.path["token"]))

    @Route(
        "POST",
        "/v1/users/{user}/kick",
        "End all sessions of a user",
        _KICKED,
        description=_KICK_TEXT,
        scope="admin",
        problems=("invalid", "unavailable"),
    )
    async def kick_user(self, call: Request) -> Response:
        return await self._kick(Filter(user=call.path["user"]))

    async def _kick(self, wanted: Filter) -> Response:
        return json_answer(200, await self._sessions.kick(wanted))

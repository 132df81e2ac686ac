"""Registering devices and telling them where to connect."""

from __future__ import annotations

from push.cluster.directory import Directory
from push.devices.registration import Devices
from push.http.checks import none_if_unset
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.devices import Registration, RegistrationBody, Servers, ServersQuery
from push.wire.errors import RequestError

SERVERS_TTL_SECONDS = 60
FULL_RETRY_SECONDS = 5


class RegistrationRoutes:
    def __init__(self, devices: Devices, servers: Directory) -> None:
        self._devices = devices
        self._servers = servers

    @Route(
        "POST",
        "/v1/devices",
        "Register a device",
        {
            201: DocumentedResponse(
                "The device's token and secret, to be kept; and servers.", Registration
            )
        },
        description=(
            "The token is the device's address and may be told to a backend; the secret is the "
            "device's own. `platform` and `app` are free text. A device that registers again "
            "sends its `token` and `secret` and gets the same pair; if they are not right it "
            "gets a new one. `servers` is empty when there is no connector at the moment that this "
            "client can reach."
        ),
        scope="register",
        body=Body(
            RegistrationBody,
            {"platform": "linux", "app": "example", "device": "kitchen display"},
        ),
        problems=("banned", "rate_limited", "unavailable"),
        cors=True,
        audited=False,
    )
    async def register_device(self, call: Request) -> Response:
        body: RegistrationBody = call.body
        credentials = await self._devices.register(
            platform=body.platform,
            app=body.app,
            device=none_if_unset(body.device),
            token=none_if_unset(body.token),
            secret=none_if_unset(body.secret),
            ip=call.client_ip,
        )
        servers = self._servers.servers(None, call.client_ip)
        answer = Registration(credentials.token, credentials.secret, servers)
        return json_answer(201, answer, (b"Cache-Control", b"no-store"))

    @Route(
        "GET",
        "/v1/servers",
        "Where to connect",
        {200: DocumentedResponse("URLs as `tls://host:6790`, best first.", Servers)},
        scope="register",
        query=ServersQuery,
        problems=("unavailable",),
        cors=True,
    )
    async def list_servers(self, call: Request) -> Response:
        carrier = none_if_unset(call.query.carrier)
        urls = self._servers.servers(carrier, call.client_ip)
        if not urls:
            raise RequestError(
                "unavailable",
                "all connectors that this client can reach are full",
                after_seconds=FULL_RETRY_SECONDS,
            )
        return json_answer(200, Servers(urls, SERVERS_TTL_SECONDS))

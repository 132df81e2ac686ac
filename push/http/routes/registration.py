"""push-sub: registering devices and telling them where to connect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import UNSET, UnsetType

from push.devices.registration import NewCredentials
from push.http.framework.route import (
    App,
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.devices import Registration, RegistrationBody, Servers, ServersQuery
from push.wire.errors import RequestError
from push.wire.reading import decoder_for

SERVERS_TTL_SECONDS = 60
FULL_RETRY_SECONDS = 5


class DeviceRegistrar(Protocol):
    """What is needed of `push.devices.registration.DeviceRegistrar`."""

    async def register(
        self,
        *,
        platform: str,
        app: str,
        device: str | None = None,
        token: str | None = None,
        secret: str | None = None,
        ip: str,
    ) -> NewCredentials: ...


class ServerList(Protocol):
    """What is needed of `push.cluster.directory.Directory`."""

    def servers(self, carrier: str | None, client_ip: str) -> Sequence[str]: ...


def make_sub(
    devices: DeviceRegistrar, servers: ServerList, *, open_registration: bool = False
) -> App:
    """The app push-sub. With `open_registration` a device needs no key here."""
    scope = None if open_registration else "register"
    return App(
        "push-sub",
        "For devices: a token, and where to connect.",
        (_register_route(devices, servers, scope), _servers_route(servers, scope)),
    )


def _register_route(devices: DeviceRegistrar, servers: ServerList, scope: str | None) -> Route:
    async def register(call: Request) -> Response:
        body: RegistrationBody = call.body
        credentials = await devices.register(
            platform=body.platform,
            app=body.app,
            device=_or_none(body.device),
            token=_or_none(body.token),
            secret=_or_none(body.secret),
            ip=call.client_ip,
        )
        told = list(servers.servers(None, call.client_ip))
        answer = Registration(credentials.token, credentials.secret, told)
        return json_answer(201, answer, (b"Cache-Control", b"no-store"))

    return Route(
        "POST",
        "/v1/devices",
        "register_device",
        "Register a device",
        register,
        {
            201: DocumentedResponse(
                "The device's token and secret, to be kept; and servers.", Registration
            )
        },
        description=(
            "The token is the device's address and may be told to a backend; the secret is the "
            "device's own. `platform` and `app` are free text. A device that registers again "
            "sends its `token` and `secret` and gets the same pair; if they are not right it "
            "gets a new one. `servers` is empty when no connector is there at the moment that this "
            "client can reach."
        ),
        scope=scope,
        body=Body(
            RegistrationBody,
            decoder_for(RegistrationBody),
            {"platform": "linux", "app": "example", "device": "kitchen display"},
        ),
        problems=("banned", "rate_limited", "unavailable"),
        cors=True,
    )


def _servers_route(servers: ServerList, scope: str | None) -> Route:
    async def list_servers(call: Request) -> Response:
        urls = list(servers.servers(_or_none(call.query.carrier), call.client_ip))
        if not urls:
            raise RequestError(
                "unavailable",
                "all connectors that this client can reach are full",
                after_seconds=FULL_RETRY_SECONDS,
            )
        return json_answer(200, Servers(urls, SERVERS_TTL_SECONDS))

    return Route(
        "GET",
        "/v1/servers",
        "list_servers",
        "Where to connect",
        list_servers,
        {200: DocumentedResponse("URLs as `tls://host:6790`, best first.", Servers)},
        scope=scope,
        query=ServersQuery,
        problems=("unavailable",),
        cors=True,
    )


def _or_none(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value

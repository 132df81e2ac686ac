"""Devices: looking one up, forgetting one, and the users that they are bound to."""

from __future__ import annotations

from push.devices.registration import Devices
from push.http.framework.route import DocumentedResponse, Request, Response, Route, json_answer
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.devices import Device

_PROBLEMS = ("invalid", "unknown_token", "unavailable")


class DeviceRoutes:
    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    @Route(
        "GET",
        "/v1/devices/{token}",
        "Look a device up",
        {200: DocumentedResponse("The device.", Device)},
        description=(
            "Times are milliseconds since 1970 UTC; `backlog` is how many messages wait. A "
            "token whose check character is wrong is `invalid`: it was mistyped."
        ),
        scope="read",
        problems=_PROBLEMS,
    )
    async def get_device(self, call: Request) -> Response:
        return json_answer(200, await self._devices.get(call.path["token"]))

    @Route(
        "DELETE",
        "/v1/devices/{token}",
        "Forget a device",
        {
            204: DocumentedResponse(
                "Forgotten, with all that waited for it; its session is closed."
            ),
            200: REPLY_UNCONFIRMED,
        },
        scope="admin",
        problems=_PROBLEMS,
    )
    async def forget_device(self, call: Request) -> Response:
        return in_effect(await self._devices.forget(call.path["token"]))

    @Route(
        "PUT",
        "/v1/users/{user}/devices/{token}",
        "Bind a device to a user",
        {
            204: DocumentedResponse(
                "Bound, at once also for a live session; another user is replaced."
            ),
            200: REPLY_UNCONFIRMED,
        },
        scope="push",
        problems=_PROBLEMS,
    )
    async def bind_device(self, call: Request) -> Response:
        return in_effect(await self._devices.bind(call.path["user"], call.path["token"]))

    @Route(
        "DELETE",
        "/v1/users/{user}/devices/{token}",
        "Unbind a device from a user",
        {
            204: DocumentedResponse("The device is bound to no user now."),
            200: REPLY_UNCONFIRMED,
        },
        scope="push",
        problems=(*_PROBLEMS, "not_found"),
    )
    async def unbind_device(self, call: Request) -> Response:
        return in_effect(await self._devices.unbind(call.path["user"], call.path["token"]))

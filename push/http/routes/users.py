"""A user: devices, presence, and erasing one."""

from __future__ import annotations

from push.chat.erasure import Erasure
from push.devices.users import Users
from push.http.framework.route import DocumentedResponse, Request, Response, Route, json_answer
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.devices import User


class UserRoutes:
    def __init__(self, users: Users, erasure: Erasure) -> None:
        self._users = users
        self._erasure = erasure

    @Route(
        "GET",
        "/v1/users/{user}",
        "Look a user up",
        {200: DocumentedResponse("Devices and presence.", User)},
        description=(
            "A user without devices has an empty list. Sessions with a JWT alone are in no "
            "record: unless a device is online, all connectors are asked for one, and those "
            "that do not answer are named in `silent`."
        ),
        scope="read",
        problems=("invalid", "unavailable"),
    )
    async def get_user(self, call: Request) -> Response:
        return json_answer(200, await self._users.get_user(call.path["user"]))

    @Route(
        "DELETE",
        "/v1/users/{user}",
        "Erase a user",
        {
            200: REPLY_UNCONFIRMED,
            204: DocumentedResponse("Erased, except for the data that the documents name."),
        },
        description=(
            "Devices are unbound and keep their sessions; sessions with a JWT alone end. In "
            "the ledger, what was not acknowledged is dropped as `unbound` or `erased`. The "
            "user leaves all groups: the admin who joined first, else the member who did, "
            "becomes the owner of their groups, and a group without other members is "
            "dismissed. Their messages to other users are recalled; those in groups stay. A "
            "conversation of two goes when both are erased. After `unavailable` ask again; "
            "what was begun is finished by any daemon. A JWT that is still valid makes the "
            "user again."
        ),
        scope="admin",
        problems=("invalid", "not_found", "unavailable"),
    )
    async def erase_user(self, call: Request) -> Response:
        return in_effect(await self._erasure.erase(call.path["user"]))

"""A user: devices, presence, and erasing one."""

from __future__ import annotations

from typing import Protocol

from push.http.framework.route import DocumentedResponse, Request, Response, Route, json_answer
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.devices import User


class UserStore(Protocol):
    """What is needed of `push.devices.users.UserStore`."""

    async def get_user(self, user: str) -> User: ...


class Erasure(Protocol):
    """What is needed of `push.chat.erasure.Erasure`."""

    async def erase(self, user: str) -> list[str]: ...


def user_routes(users: UserStore, erasure: Erasure) -> tuple[Route, ...]:
    async def get_user(call: Request) -> Response:
        return json_answer(200, await users.get_user(call.path["user"]))

    async def erase_user(call: Request) -> Response:
        return in_effect(await erasure.erase(call.path["user"]))

    path = {"user": "the id of a user"}
    return (
        Route(
            "GET",
            "/v1/users/{user}",
            "get_user",
            "Look a user up",
            get_user,
            {200: DocumentedResponse("Devices and presence.", User)},
            description=(
                "A user without devices has an empty list. Sessions with a JWT alone are in no "
                "record: unless a device is online, all connectors are asked for one, and those "
                "that do not answer are named in `silent`."
            ),
            scope="read",
            path_texts=path,
            problems=("invalid", "unavailable"),
        ),
        Route(
            "DELETE",
            "/v1/users/{user}",
            "erase_user",
            "Erase a user",
            erase_user,
            {
                200: REPLY_UNCONFIRMED,
                204: DocumentedResponse("Nothing of the user is left but what the documents name."),
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
            path_texts=path,
            problems=("invalid", "not_found", "unavailable"),
        ),
    )

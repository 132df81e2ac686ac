"""A user: who is there, and erasing one."""

from __future__ import annotations

from typing import Protocol

from push.devices.users import User
from push.http.framework.route import NO_CONTENT, Answer, Call, Reply, Route, json_answer


class Users(Protocol):
    """What is needed of `push.devices.users.Users`."""

    async def get_user(self, user: str) -> User: ...

    async def erase(self, user: str) -> None: ...


def user_routes(users: Users) -> tuple[Route, ...]:
    async def get_user(call: Call) -> Answer:
        return json_answer(200, await users.get_user(call.path["user"]))

    async def erase_user(call: Call) -> Answer:
        await users.erase(call.path["user"])
        return NO_CONTENT

    path = {"user": "the id of a user"}
    return (
        Route(
            "GET",
            "/v1/users/{user}",
            "get_user",
            "Look a user up",
            get_user,
            {200: Reply("Devices and presence.", User)},
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
            {204: Reply("All devices are unbound, and what waited for the user is deleted.")},
            description=(
                "Sessions stay, and devices stop following the user at once. In the ledger, what "
                "was not acknowledged is dropped as `unbound` or `erased`. A JWT that is still "
                "valid makes the user again: end such sessions with `POST /v1/users/{user}/kick`."
            ),
            scope="admin",
            path_texts=path,
            problems=("invalid", "not_found", "unavailable"),
        ),
    )

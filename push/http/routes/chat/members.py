"""The members of a group. Without `by` the backend itself acts, above all roles."""

from __future__ import annotations

from push.chat.groups import Groups
from push.http.checks import none_if_unset
from push.http.framework.route import (
    NO_CONTENT,
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.http.routes.chat.groups import REFUSALS
from push.wire.api.groups import (
    ActorQuery,
    GroupChanges,
    MemberChange,
    MemberPage,
    MemberPut,
    NewMembers,
    Results,
)
from push.wire.api.paging import PageQuery
from push.wire.errors import RequestError


class MemberRoutes:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    @Route(
        "GET",
        "/v1/groups/{group}/members",
        "List the members of a group",
        {200: DocumentedResponse("A page of members, by name.", MemberPage)},
        scope="chat",
        query=PageQuery,
        problems=("invalid", "unknown_group", "unavailable"),
    )
    async def list_members(self, call: Request) -> Response:
        query: PageQuery = call.query
        page = await self._groups.members(
            call.path["group"],
            None,
            cursor=query.cursor,
            limit=query.limit,
            turns_of=call.turns_of,
        )
        return json_answer(200, page)

    @Route(
        "POST",
        "/v1/groups/{group}/members",
        "Add members to a group",
        {200: DocumentedResponse("What became of each user.", Results)},
        description="`ok`, `already_exists` or `group_full` for each of the users.",
        scope="chat",
        body=Body(NewMembers, {"users": ["dave"], "by": "anna"}),
        problems=REFUSALS,
    )
    async def add_members(self, call: Request) -> Response:
        body: NewMembers = call.body
        group, by = call.path["group"], none_if_unset(body.by)
        added = await self._groups.add(group, body.users, by, turns_of=call.turns_of)
        return json_answer(200, added)

    @Route(
        "PUT",
        "/v1/groups/{group}/members/{user}",
        "Change a member's role, mute or unmute",
        {204: DocumentedResponse("Changed.")},
        scope="chat",
        body=Body(MemberPut, {"role": "admin"}),
        query=ActorQuery,
        problems=(*REFUSALS, "not_found"),
    )
    async def change_member(self, call: Request) -> Response:
        body: MemberPut = call.body
        member = MemberChange(call.path["user"], role=body.role, muted=body.muted)
        by = none_if_unset(call.query.by)
        await self._groups.change(call.path["group"], GroupChanges(member=member), by)
        return NO_CONTENT

    @Route(
        "DELETE",
        "/v1/groups/{group}/members/{user}",
        "Remove a member, or let one leave",
        {
            204: DocumentedResponse(
                "The user is no longer a member; their devices stop following at once."
            ),
            200: REPLY_UNCONFIRMED,
        },
        description="With the user themselves as `by` they leave.",
        scope="chat",
        query=ActorQuery,
        problems=(*REFUSALS, "not_found"),
    )
    async def remove_member(self, call: Request) -> Response:
        group, user, by = call.path["group"], call.path["user"], none_if_unset(call.query.by)
        if by == user:
            return in_effect(await self._groups.leave(group, user))
        removed = await self._groups.remove(group, [user], by)
        code = removed.results[user]
        if code != "ok":
            what = "is no member" if code == "not_found" else "cannot be removed by this role"
            raise RequestError(code, f"{user} {what}")
        return in_effect(removed.silent or [])

"""Groups and their members and messages. Without `by` the backend itself acts, above all roles."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from push.chat.conversation_id import to_group
from push.chat.service import ChatService
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
from push.wire.api.conversations import HistoryPage, MessageBody, RangeQuery, Sent
from push.wire.api.groups import (
    ActorQuery,
    CreateGroupBody,
    GroupChanges,
    GroupInfo,
    GroupPatch,
    MemberChange,
    MemberPage,
    MemberPut,
    NewMembers,
    Results,
)
from push.wire.api.paging import PageQuery
from push.wire.errors import RequestError
from push.wire.reading import decoder_for

GROUP = {"group": "the id of a group"}
BOTH = {**GROUP, "user": "the id of a user"}
_REFUSALS = ("invalid", "unknown_group", "not_member", "not_allowed", "unavailable")


def group_routes(chat: ChatService) -> tuple[Route, ...]:
    return (*_group_routes(chat), *_member_routes(chat), *_message_routes(chat))


def _group_of(call: Request) -> str:
    return call.path["group"]


def _by_of(call: Request) -> str | None:
    return _or_none(call.query.by)


def _or_none(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


def _group_routes(chat: ChatService) -> tuple[Route, ...]:
    groups = chat.groups

    async def create(call: Request) -> Response:
        return json_answer(201, await groups.create(call.body.owner, call.body))

    async def get(call: Request) -> Response:
        return json_answer(200, await groups.get(_group_of(call), None))

    async def change(call: Request) -> Response:
        by = _or_none(call.body.by)
        return json_answer(200, await groups.change(_group_of(call), call.body, by))

    async def dismiss(call: Request) -> Response:
        return in_effect(await groups.dismiss(_group_of(call), _by_of(call)))

    return (
        Route(
            "POST",
            "/v1/groups",
            "create_group",
            "Create a group",
            create,
            {201: DocumentedResponse("The group.", GroupInfo)},
            description=(
                "Its id is made by the server. `type` `broadcast`: only the owner and admins write."
            ),
            scope="chat",
            body=Body(
                CreateGroupBody,
                decoder_for(CreateGroupBody),
                {"owner": "anna", "name": "Friends", "members": ["bob", "carol"]},
            ),
            problems=("group_full", "unavailable"),
        ),
        Route(
            "GET",
            "/v1/groups/{group}",
            "get_group",
            "Look a group up",
            get,
            {200: DocumentedResponse("The group.", GroupInfo)},
            scope="chat",
            path_texts=GROUP,
            problems=("invalid", "unknown_group", "unavailable"),
        ),
        Route(
            "PATCH",
            "/v1/groups/{group}",
            "change_group",
            "Change a group",
            change,
            {200: DocumentedResponse("The group as it is now.", GroupInfo)},
            description="All that is given, or nothing.",
            scope="chat",
            body=Body(GroupPatch, decoder_for(GroupPatch), {"announcement": "Tonight at eight."}),
            path_texts=GROUP,
            problems=(*_REFUSALS, "not_found"),
        ),
        Route(
            "DELETE",
            "/v1/groups/{group}",
            "dismiss_group",
            "Dismiss a group",
            dismiss,
            {
                204: DocumentedResponse(
                    "It is deleted with its history; its members are notified."
                ),
                200: REPLY_UNCONFIRMED,
            },
            scope="chat",
            query=ActorQuery,
            path_texts=GROUP,
            problems=_REFUSALS,
        ),
    )


def _member_routes(chat: ChatService) -> tuple[Route, ...]:
    groups = chat.groups

    async def page(call: Request) -> Response:
        members = await groups.members(
            _group_of(call), None, cursor=call.query.cursor, limit=call.query.limit
        )
        return json_answer(200, members)

    async def add(call: Request) -> Response:
        by = _or_none(call.body.by)
        return json_answer(200, await groups.add(_group_of(call), call.body.users, by))

    async def put(call: Request) -> Response:
        member = MemberChange(call.path["user"], role=call.body.role, muted=call.body.muted)
        await groups.change(_group_of(call), GroupChanges(member=member), _by_of(call))
        return NO_CONTENT

    async def remove(call: Request) -> Response:
        group, user, by = _group_of(call), call.path["user"], _by_of(call)
        if by == user:
            return in_effect(await groups.leave(group, user))
        removed = await groups.remove(group, [user], by)
        code = removed.results[user]
        if code != "ok":
            what = "is no member" if code == "not_found" else "cannot be removed by this role"
            raise RequestError(code, f"{user} {what}")
        return in_effect(removed.silent or [])

    return (
        Route(
            "GET",
            "/v1/groups/{group}/members",
            "list_members",
            "List the members of a group",
            page,
            {200: DocumentedResponse("A page of members, by name.", MemberPage)},
            scope="chat",
            query=PageQuery,
            path_texts=GROUP,
            problems=("invalid", "unknown_group", "unavailable"),
        ),
        Route(
            "POST",
            "/v1/groups/{group}/members",
            "add_members",
            "Add members to a group",
            add,
            {200: DocumentedResponse("What became of each user.", Results)},
            description="`ok`, `already_exists` or `group_full` for each of the users.",
            scope="chat",
            body=Body(NewMembers, decoder_for(NewMembers), {"users": ["dave"], "by": "anna"}),
            path_texts=GROUP,
            problems=_REFUSALS,
        ),
        Route(
            "PUT",
            "/v1/groups/{group}/members/{user}",
            "change_member",
            "Change a member's role, mute or unmute",
            put,
            {204: DocumentedResponse("Changed.")},
            scope="chat",
            body=Body(MemberPut, decoder_for(MemberPut), {"role": "admin"}),
            query=ActorQuery,
            path_texts=BOTH,
            problems=(*_REFUSALS, "not_found"),
        ),
        Route(
            "DELETE",
            "/v1/groups/{group}/members/{user}",
            "remove_member",
            "Remove a member, or let one leave",
            remove,
            {
                204: DocumentedResponse("No member any more; devices stop following at once."),
                200: REPLY_UNCONFIRMED,
            },
            description="With the user as `by` they leave.",
            scope="chat",
            query=ActorQuery,
            path_texts=BOTH,
            problems=(*_REFUSALS, "not_found"),
        ),
    )


def _message_routes(chat: ChatService) -> tuple[Route, ...]:
    async def send(call: Request) -> Response:
        to = to_group(call.path["group"], "group")
        return json_answer(
            201, await chat.messages.send(call.body.sender, to, call.body, by_device=False)
        )

    async def page(call: Request) -> Response:
        group = to_group(call.path["group"], "group")
        return json_answer(200, await chat.messages.history(group, call.query, None))

    return (
        Route(
            "POST",
            "/v1/groups/{group}/messages",
            "send_to_group",
            "Send a message to a group",
            send,
            {201: DocumentedResponse("It was taken.", Sent)},
            description="As `from`, whose role in the group counts.",
            scope="chat",
            body=Body(
                MessageBody,
                decoder_for(MessageBody),
                {"from": "anna", "data": {"text": "hello"}, "client_id": "7f3a"},
            ),
            path_texts=GROUP,
            problems=(*_REFUSALS, "muted", "too_large", "idempotency_mismatch"),
        ),
        Route(
            "GET",
            "/v1/groups/{group}/messages",
            "list_group_messages",
            "Read the history of a group",
            page,
            {200: DocumentedResponse("Messages, the earliest first.", HistoryPage)},
            description="All that are kept, whoever joined when.",
            scope="chat",
            query=RangeQuery,
            path_texts=GROUP,
            problems=("invalid", "unknown_group", "unavailable"),
        ),
    )

"""Groups and their members and messages. Without `by` the backend itself acts, above all roles."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from push.chat.conversation_id import to_group
from push.chat.service import ChatService
from push.chat.types import (
    Group,
    GroupChanges,
    MemberChange,
    MemberPage,
    MessagePage,
    Name,
    NewGroup,
    NewMessage,
    Results,
    Sent,
    Users,
    check_names,
)
from push.http.framework.request_reading import LIMIT_PARAMETER, read_cursor, read_limit
from push.http.framework.route import (
    NO_CONTENT,
    Body,
    DocumentedResponse,
    Parameter,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.http.routes.conversations import RANGE_PARAMETERS, range_of
from push.wire.errors import RequestError
from push.wire.reading import decoder_for

BY = Parameter(
    "by", "the user who acts; without it the backend itself, above all roles", kind="user"
)
CURSOR = Parameter("cursor", "of the page before")
GROUP = {"group": "the id of a group"}
BOTH = {**GROUP, "user": "the id of a user"}
ByName = Annotated[Name, Meta(description=BY.description)]
_REFUSALS = ("invalid", "unknown_group", "not_member", "not_allowed", "unavailable")


class CreateGroupBody(NewGroup, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new group and who owns it."""

    owner: Name

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("owner", self.owner)


class ChangedMember(MemberChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a member, within the changes of a group."""


class GroupPatch(GroupChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a group, and by whom."""

    member: ChangedMember | UnsetType = UNSET
    by: ByName | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("by", self.by)


class NewMembers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is added, and by whom."""

    users: Users
    by: ByName | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("users", *self.users)
        check_names("by", self.by)


class MemberPut(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a member."""

    role: Literal["admin", "member"] | UnsetType = UNSET
    muted: bool | UnsetType = UNSET


class GroupMessage(NewMessage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message and its sender, whose role in the group counts."""

    sender: Annotated[Name, Meta(description="who says it")] = field(name="from")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("from", self.sender)


def group_routes(chat: ChatService) -> tuple[Route, ...]:
    return (*_group_routes(chat), *_member_routes(chat), *_message_routes(chat))


def _group_of(call: Request) -> str:
    return call.path["group"]


def _by_of(call: Request) -> str | None:
    return call.query.get("by")


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
            {201: DocumentedResponse("The group.", Group)},
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
            {200: DocumentedResponse("The group.", Group)},
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
            {200: DocumentedResponse("The group as it is now.", Group)},
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
                204: DocumentedResponse("It is gone, with its history; its members are told."),
                200: REPLY_UNCONFIRMED,
            },
            scope="chat",
            query=(BY,),
            path_texts=GROUP,
            problems=_REFUSALS,
        ),
    )


def _member_routes(chat: ChatService) -> tuple[Route, ...]:
    groups = chat.groups

    async def page(call: Request) -> Response:
        members = await groups.members(
            _group_of(call), None, cursor=read_cursor(call.query), limit=read_limit(call.query)
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
            query=(CURSOR, LIMIT_PARAMETER),
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
            query=(BY,),
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
            description="With `by` the user himself, he leaves.",
            scope="chat",
            query=(BY,),
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
        return json_answer(200, await chat.messages.history(group, range_of(call.query), None))

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
                GroupMessage,
                decoder_for(GroupMessage),
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
            {200: DocumentedResponse("Messages, the earliest first.", MessagePage)},
            description="All that are kept, whoever joined when.",
            scope="chat",
            query=RANGE_PARAMETERS,
            path_texts=GROUP,
            problems=("invalid", "unknown_group", "unavailable"),
        ),
    )

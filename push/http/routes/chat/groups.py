"""Groups and their messages. Without `by` the backend itself acts, above all roles."""

from __future__ import annotations

from push.chat.conversation_id import to_group
from push.chat.service import ChatService
from push.http.checks import none_if_unset
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.conversations import HistoryPage, MessageBody, RangeQuery, Sent
from push.wire.api.groups import ActorQuery, CreateGroupBody, GroupInfo, GroupPatch

REFUSALS = ("invalid", "unknown_group", "not_member", "not_allowed", "unavailable")


class GroupRoutes:
    def __init__(self, chat: ChatService) -> None:
        self._groups = chat.groups
        self._messages = chat.messages

    @Route(
        "POST",
        "/v1/groups",
        "Create a group",
        {201: DocumentedResponse("The group.", GroupInfo)},
        description=(
            "Its id is made by the server. `type` `broadcast`: only the owner and admins write."
        ),
        scope="chat",
        body=Body(
            CreateGroupBody,
            {"owner": "anna", "name": "Friends", "members": ["bob", "carol"]},
        ),
        problems=("group_full", "unavailable"),
    )
    async def create_group(self, call: Request) -> Response:
        body: CreateGroupBody = call.body
        return json_answer(201, await self._groups.create(body.owner, body))

    @Route(
        "GET",
        "/v1/groups/{group}",
        "Look a group up",
        {200: DocumentedResponse("The group.", GroupInfo)},
        scope="chat",
        problems=("invalid", "unknown_group", "unavailable"),
    )
    async def get_group(self, call: Request) -> Response:
        return json_answer(200, await self._groups.get(call.path["group"], None))

    @Route(
        "PATCH",
        "/v1/groups/{group}",
        "Change a group",
        {200: DocumentedResponse("The group as it is now.", GroupInfo)},
        description="All that is given, or nothing.",
        scope="chat",
        body=Body(GroupPatch, {"announcement": "Tonight at eight."}),
        problems=(*REFUSALS, "not_found"),
    )
    async def change_group(self, call: Request) -> Response:
        body: GroupPatch = call.body
        by = none_if_unset(body.by)
        return json_answer(200, await self._groups.change(call.path["group"], body, by))

    @Route(
        "DELETE",
        "/v1/groups/{group}",
        "Dismiss a group",
        {
            204: DocumentedResponse("It is deleted with its history; its members are notified."),
            200: REPLY_UNCONFIRMED,
        },
        scope="chat",
        query=ActorQuery,
        problems=REFUSALS,
    )
    async def dismiss_group(self, call: Request) -> Response:
        by = none_if_unset(call.query.by)
        return in_effect(await self._groups.dismiss(call.path["group"], by, call.turns_of))

    @Route(
        "POST",
        "/v1/groups/{group}/messages",
        "Send a message to a group",
        {201: DocumentedResponse("It was taken.", Sent)},
        description="As `from`, whose role in the group counts.",
        scope="chat",
        body=Body(MessageBody, {"from": "anna", "data": {"text": "hello"}, "client_id": "7f3a"}),
        problems=(*REFUSALS, "muted", "too_large", "idempotency_mismatch"),
        audited=False,
    )
    async def send_to_group(self, call: Request) -> Response:
        body: MessageBody = call.body
        to = to_group(call.path["group"], "group")
        sent = await self._messages.send(body.sender, to, body, by_device=False)
        return json_answer(201, sent)

    @Route(
        "GET",
        "/v1/groups/{group}/messages",
        "Read the history of a group",
        {200: DocumentedResponse("Messages, the earliest first.", HistoryPage)},
        description="All that are kept, whenever a member joined.",
        scope="chat",
        query=RangeQuery,
        problems=("invalid", "unknown_group", "unavailable"),
    )
    async def list_group_messages(self, call: Request) -> Response:
        group = to_group(call.path["group"], "group")
        page = await self._messages.history(group, call.query, None, call.turns_of)
        return json_answer(200, page)

"""Conversations on behalf of a user, as the user sees them."""

from __future__ import annotations

from push.chat.conversation_id import ConversationId, conversation_of, to_user
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
from push.wire.api.common import MAX_SEQ
from push.wire.api.conversations import (
    ConversationPage,
    HistoryPage,
    MessageBody,
    Positions,
    PositionsPost,
    RangeQuery,
    RecallQuery,
    Sent,
)
from push.wire.api.paging import PageQuery
from push.wire.errors import RequestError

_REFUSALS = ("invalid", "unknown_group", "not_member", "unavailable")


class ConversationRoutes:
    def __init__(self, chat: ChatService) -> None:
        self._messages = chat.messages
        self._conversations = chat.conversations

    @Route(
        "POST",
        "/v1/users/{user}/messages",
        "Send a message to a user",
        {201: DocumentedResponse("It was taken.", Sent)},
        description="`conversation` in the answer is as `from` sees it.",
        scope="chat",
        body=Body(MessageBody, {"from": "anna", "data": {"text": "hello"}, "client_id": "8c1d"}),
        path_texts={"user": "the id of the user who receives it"},
        problems=("invalid", "too_large", "idempotency_mismatch", "unavailable"),
        audited=False,
    )
    async def send_to_user(self, call: Request) -> Response:
        body: MessageBody = call.body
        to = to_user(body.sender, call.path["user"], "user")
        sent = await self._messages.send(body.sender, to, body, by_device=False)
        return json_answer(201, sent)

    @Route(
        "GET",
        "/v1/users/{user}/conversations",
        "List a user's conversations",
        {200: DocumentedResponse("A page of conversations, the latest first.", ConversationPage)},
        scope="chat",
        query=PageQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_conversations(self, call: Request) -> Response:
        query: PageQuery = call.query
        page = await self._conversations.page(
            call.path["user"], cursor=query.cursor, limit=query.limit, turns_of=call.turns_of
        )
        return json_answer(200, page)

    @Route(
        "GET",
        "/v1/users/{user}/conversations/{conversation}/messages",
        "Read the history of a conversation",
        {200: DocumentedResponse("Messages, the earliest first.", HistoryPage)},
        description="As the user sees it: of a group since they joined.",
        scope="chat",
        query=RangeQuery,
        problems=_REFUSALS,
    )
    async def list_messages(self, call: Request) -> Response:
        page = await self._messages.history(
            _conversation(call), call.query, call.path["user"], call.turns_of
        )
        return json_answer(200, page)

    @Route(
        "POST",
        "/v1/users/{user}/conversations/{conversation}/positions",
        "Say how far a user is",
        {200: DocumentedResponse("Where the user is now.", Positions)},
        description="Positions never go back, and `read` raises `delivered`.",
        scope="chat",
        body=Body(PositionsPost, {"read": 0}),
        problems=_REFUSALS,
        audited=False,
    )
    async def move_positions(self, call: Request) -> Response:
        moved = await self._messages.move(_conversation(call), call.body, call.path["user"])
        return json_answer(200, moved)

    @Route(
        "DELETE",
        "/v1/users/{user}/conversations/{conversation}/messages/{seq}",
        "Recall a message",
        {
            204: DocumentedResponse(
                "Its content is deleted, and all in the conversation are notified."
            )
        },
        description=(
            "With the rights of the user: their own messages, or those of a group as its admin, "
            "for some time. With `force` the backend itself recalls it, at any time."
        ),
        scope="chat",
        query=RecallQuery,
        problems=(*_REFUSALS, "not_allowed", "recall_expired", "unknown_message"),
    )
    async def recall_message(self, call: Request) -> Response:
        by = None if call.query.force else call.path["user"]
        await self._messages.recall(_conversation(call), _seq(call.path["seq"]), by)
        return NO_CONTENT


def _conversation(call: Request) -> ConversationId:
    return conversation_of(call.path["user"], call.path["conversation"])


def _seq(text: str) -> int:
    if int(text) > MAX_SEQ:
        raise RequestError("invalid", "`seq`: expected a seq", field="seq")
    return int(text)

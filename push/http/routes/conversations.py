"""Conversations on behalf of a user."""

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
from push.wire.reading import decoder_for

USER = {"user": "the id of a user"}
CONVERSATION = {
    **USER,
    "conversation": "as the user sees it: `user:<the other>` or `group:<group>`",
}
_REFUSALS = ("invalid", "unknown_group", "not_member", "unavailable")


def _seq_of(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= MAX_SEQ):
        raise RequestError("invalid", f"`{name}`: expected a seq", field=name)
    return int(text)


def _user_of(call: Request) -> str:
    return call.path["user"]


def _conversation_of(call: Request) -> ConversationId:
    return conversation_of(_user_of(call), call.path["conversation"])


def conversation_routes(chat: ChatService) -> tuple[Route, ...]:
    return (_send_route(chat), _list_route(chat), *_routes_of_one(chat))


def _send_route(chat: ChatService) -> Route:
    async def send(call: Request) -> Response:
        to = to_user(call.body.sender, _user_of(call), "user")
        sent = await chat.messages.send(call.body.sender, to, call.body, by_device=False)
        return json_answer(201, sent)

    return Route(
        "POST",
        "/v1/users/{user}/messages",
        "send_to_user",
        "Send a message to a user",
        send,
        {201: DocumentedResponse("It was taken.", Sent)},
        description="`conversation` in the answer is as `from` sees it.",
        scope="chat",
        body=Body(
            MessageBody,
            decoder_for(MessageBody),
            {"from": "anna", "data": {"text": "hello"}, "client_id": "8c1d"},
        ),
        path_texts={"user": "the id of the user who receives it"},
        problems=("invalid", "too_large", "idempotency_mismatch", "unavailable"),
    )


def _list_route(chat: ChatService) -> Route:
    async def page(call: Request) -> Response:
        conversations = await chat.conversations.page(
            _user_of(call), cursor=call.query.cursor, limit=call.query.limit
        )
        return json_answer(200, conversations)

    return Route(
        "GET",
        "/v1/users/{user}/conversations",
        "list_conversations",
        "List a user's conversations",
        page,
        {200: DocumentedResponse("A page of conversations, the latest first.", ConversationPage)},
        scope="chat",
        query=PageQuery,
        path_texts=USER,
        problems=("invalid", "unavailable"),
    )


def _routes_of_one(chat: ChatService) -> tuple[Route, ...]:
    async def history(call: Request) -> Response:
        conversation = _conversation_of(call)
        page = await chat.messages.history(conversation, call.query, _user_of(call))
        return json_answer(200, page)

    async def move(call: Request) -> Response:
        moved = await chat.messages.move(_conversation_of(call), call.body, _user_of(call))
        return json_answer(200, moved)

    async def recall(call: Request) -> Response:
        by = None if call.query.force else _user_of(call)
        seq = _seq_of(call.path["seq"], "seq")
        await chat.messages.recall(_conversation_of(call), seq, by)
        return NO_CONTENT

    path = "/v1/users/{user}/conversations/{conversation}"
    return (
        Route(
            "GET",
            f"{path}/messages",
            "list_messages",
            "Read the history of a conversation",
            history,
            {200: DocumentedResponse("Messages, the earliest first.", HistoryPage)},
            description="As the user sees it: of a group since they joined.",
            scope="chat",
            query=RangeQuery,
            path_texts=CONVERSATION,
            problems=_REFUSALS,
        ),
        Route(
            "POST",
            f"{path}/positions",
            "move_positions",
            "Say how far a user is",
            move,
            {200: DocumentedResponse("Where the user is now.", Positions)},
            description="Positions never go back, and `read` raises `delivered`.",
            scope="chat",
            body=Body(PositionsPost, decoder_for(PositionsPost), {"read": 0}),
            path_texts=CONVERSATION,
            problems=_REFUSALS,
        ),
        Route(
            "DELETE",
            f"{path}/messages/{{seq}}",
            "recall_message",
            "Recall a message",
            recall,
            {
                204: DocumentedResponse(
                    "Its content is deleted, and all in the conversation are notified."
                )
            },
            description=(
                "As the user may: their own, or as an admin of a group, for some time. With "
                "`force` the backend itself recalls it, at any time."
            ),
            scope="chat",
            query=RecallQuery,
            path_texts={**CONVERSATION, "seq": "which message"},
            problems=(*_REFUSALS, "not_allowed", "recall_expired", "unknown_message"),
        ),
    )

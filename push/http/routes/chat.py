"""push-group: conversations of users and of groups, for a backend."""

from __future__ import annotations

from push.chat.service import ChatService
from push.http.framework.route import App
from push.http.routes.conversations import conversation_routes
from push.http.routes.groups import group_routes


def make_group(chat: ChatService) -> App:
    """The app push-group."""
    return App(
        "push-group",
        "Chat: groups, their members and messages; conversations on behalf of a user.",
        (*group_routes(chat), *conversation_routes(chat)),
    )

"""push-group: conversations of users and of groups, for a backend."""

from __future__ import annotations

from push.chat.service import Chat
from push.http.conversations import conversation_routes
from push.http.groups import group_routes
from push.http.routes import App


def make_group(chat: Chat) -> App:
    """The app push-group."""
    return App(
        "push-group",
        "Chat: groups, their members and messages; conversations on behalf of a user.",
        (*group_routes(chat), *conversation_routes(chat)),
    )

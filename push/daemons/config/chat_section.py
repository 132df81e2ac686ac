"""The settings of topics and of chat."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from push.daemons.config.section import Count, Section
from push.wire import defaults


class TopicsSection(Section, frozen=True):
    """Topics that devices subscribe to."""

    max_per_device: Annotated[
        int, Meta(ge=1, le=10_000, description="topics that a device follows at most")
    ] = defaults.TOPICS_PER_DEVICE


class ChatSection(Section, frozen=True):
    """Conversations of users and of groups."""

    presence: Annotated[
        Literal["contacts", "anyone", "off"],
        Meta(
            description="users that a user sees online; contacts: those who have written to them, "
            "or have created or written in a common group"
        ),
    ] = "contacts"
    direct: Annotated[
        Literal["anyone", "existing"],
        Meta(
            description="whether users may begin conversations with anyone and add anyone to a "
            "group; existing: a backend begins them, and users add those who share one with them"
        ),
    ] = "anyone"
    create_groups: Annotated[
        Literal["anyone", "backend"], Meta(description="who may create groups")
    ] = "anyone"
    messages_per_minute: Annotated[
        Count, Meta(description="messages a minute of one user's devices; 0 = no limit")
    ] = defaults.CHAT_MESSAGES_PER_MINUTE
    typing_per_minute: Annotated[
        Count, Meta(description="how often a minute they say that one is typing; 0 = no limit")
    ] = defaults.CHAT_TYPING_PER_MINUTE
    presence_per_minute: Annotated[
        Count, Meta(description="how often a minute they ask for presence; 0 = no limit")
    ] = defaults.CHAT_PRESENCE_PER_MINUTE
    groups_per_minute: Annotated[
        Count,
        Meta(description="how often a minute they create a group or add to one; 0 = no limit"),
    ] = defaults.CHAT_GROUPS_PER_MINUTE
    ttl: Annotated[
        int, Meta(ge=1, description="seconds that a message waits for devices that are offline")
    ] = defaults.CHAT_TTL_SECONDS
    history_days: Annotated[
        int, Meta(ge=0, le=36_500, description="days that messages can be read back; 0 = no limit")
    ] = defaults.HISTORY_DAYS
    history_count: Annotated[
        Count, Meta(description="messages of a conversation that can be read back; 0 = no limit")
    ] = 0
    history_before_join: Annotated[
        bool, Meta(description="true: members of a group read what came before they joined")
    ] = False
    recall_seconds: Annotated[
        Count, Meta(description="seconds for which a message can be recalled")
    ] = defaults.RECALL_SECONDS
    group_max_members: Annotated[
        int, Meta(ge=1, le=1_000_000, description="members that a group may have")
    ] = defaults.GROUP_MAX_MEMBERS
    groups_per_user: Annotated[
        Count,
        Meta(description="groups of a user; with so many devices cannot add to them; 0 = no limit"),
    ] = defaults.GROUPS_PER_USER

"""What conversations and groups may be, as the operator has set it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from push.wire import defaults

MAX_ASKED_FOR_PRESENCE = 100
RECEIPTS_UP_TO_MEMBERS = 200  # in larger groups a receipt is for the user's own devices only
CLIENT_ID_SECONDS = 7 * 86_400

Presence = Literal["contacts", "anyone", "off"]
Direct = Literal["anyone", "existing"]
CreateGroups = Literal["anyone", "backend"]


class UserRate(NamedTuple):
    """A `Rate` and whose it is: the "rate" of a request to a script, which counts it."""

    user: str
    kind: str
    per_minute: int
    what: str


class Rate(NamedTuple):
    """How often a minute the devices of a user may do something: acts are counted by their own
    scripts (rate.lua), on the server of the user. A backend is not limited.

    `kind` names the setting and the limit; `what` is for people, as "messages"."""

    kind: str
    per_minute: int
    what: str

    def of(self, user: str) -> UserRate | None:
        """None when there is no limit."""
        return UserRate(user, *self) if self.per_minute else None


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl_seconds`: how long messages wait in streams; `history_*`: how long they can be read back
    (0 = no limit). `presence`: whose presence a user may ask for; `direct`: the users that a device
    may begin a conversation with, and add to a group; `create_groups`: who may create them.
    `groups_per_user`: with so many, no device may put a user into one more. `*_per_minute`: of a
    user's devices. 0 = no limit."""

    ttl_seconds: int = defaults.CHAT_TTL_SECONDS
    history_days: int = defaults.HISTORY_DAYS
    history_count: int = 0
    history_before_join: bool = False
    recall_seconds: int = defaults.RECALL_SECONDS
    group_max_members: int = defaults.GROUP_MAX_MEMBERS
    groups_per_user: int = defaults.GROUPS_PER_USER
    messages_per_minute: int = defaults.CHAT_MESSAGES_PER_MINUTE
    typing_per_minute: int = defaults.CHAT_TYPING_PER_MINUTE
    presence_per_minute: int = defaults.CHAT_PRESENCE_PER_MINUTE
    groups_per_minute: int = defaults.CHAT_GROUPS_PER_MINUTE
    presence: Presence = "contacts"
    create_groups: CreateGroups = "anyone"
    direct: Direct = "anyone"
    max_payload_bytes: int = defaults.MAX_PAYLOAD_BYTES

    @property
    def messages(self) -> Rate:
        return Rate("messages_per_minute", self.messages_per_minute, "messages")

    @property
    def typing(self) -> Rate:
        return Rate("typing_per_minute", self.typing_per_minute, "notes that one is typing")

    @property
    def asking(self) -> Rate:
        return Rate("presence_per_minute", self.presence_per_minute, "questions about presence")

    @property
    def group_changes(self) -> Rate:
        return Rate("groups_per_minute", self.groups_per_minute, "new groups and additions")

"""What conversations and groups may be, as the operator has set it."""

from __future__ import annotations

from typing import Literal

import msgspec

from push.wire import defaults

MAX_ASKED_FOR_PRESENCE = 100
RECEIPTS_UP_TO_MEMBERS = 200  # in larger groups a receipt is for the user's own devices only
CLIENT_ID_SECONDS = 7 * 86_400

Presence = Literal["contacts", "anyone", "off"]
Direct = Literal["anyone", "existing"]


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl_seconds`: how long messages wait in streams; `history_*`: how long they can be read back
    (0 = no limit). `presence`: whose presence a user may ask for; `direct`: which users a user may
    begin a conversation."""

    ttl_seconds: int = defaults.CHAT_TTL_SECONDS
    history_days: int = defaults.HISTORY_DAYS
    history_count: int = 0
    history_before_join: bool = False
    recall_seconds: int = defaults.RECALL_SECONDS
    group_max_members: int = defaults.GROUP_MAX_MEMBERS
    messages_per_minute: int = defaults.CHAT_MESSAGES_PER_MINUTE
    presence: Presence = "contacts"
    direct: Direct = "anyone"
    max_payload_bytes: int = defaults.MAX_PAYLOAD_BYTES

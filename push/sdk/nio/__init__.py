"""The blocking client: `with PushClient(...) as client: for message in client: …`.

No event loop: one thread in the background keeps the connection. It loads neither asyncio nor an
HTTP client.
"""

from push.sdk.core.actions import ClientState
from push.sdk.credentials import Credentials
from push.sdk.nio.chat import BlockingChat as Chat
from push.sdk.nio.chat import BlockingGroup as Group
from push.sdk.nio.client import PushClient
from push.sdk.nio.message import ChatMessage, GroupChange, Message, Recall, Receipt, Typing

__all__ = [
    "Chat",
    "ChatMessage",
    "ClientState",
    "Credentials",
    "Group",
    "GroupChange",
    "Message",
    "PushClient",
    "Recall",
    "Receipt",
    "Typing",
]

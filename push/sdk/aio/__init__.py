"""The asyncio client: `async with PushClient(...) as client: async for message in client: …`."""

from push.sdk.aio.chat import AsyncioChat as Chat
from push.sdk.aio.chat import AsyncioGroup as Group
from push.sdk.aio.client import PushClient
from push.sdk.aio.message import ChatMessage, GroupChange, Message, Recall, Receipt, Typing
from push.sdk.core.actions import ClientState
from push.sdk.credentials import Credentials

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

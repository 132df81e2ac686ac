"""The asyncio client: `async with PushClient(...) as client: async for message in client: …`."""

from push.sdk.aio.client import ClientState, PushClient
from push.sdk.aio.message import Message
from push.sdk.credentials import Credentials

__all__ = ["ClientState", "Credentials", "Message", "PushClient"]

"""The asyncio client's message."""

from __future__ import annotations

from push.sdk.message import BaseMessage


class Message(BaseMessage):
    """See `BaseMessage`."""

    __slots__ = ()

    async def ack(self) -> None:
        """The message is done; the server need not send it again.

        Returns when the acknowledgement is queued. When the connection is down, the next copy is
        acknowledged instead. Doing it twice does nothing.
        """
        self._finish()

"""One message, written into its streams."""

from __future__ import annotations

from push.runtime.tasks import only
from push.streams.publisher import Published, Publisher, StreamMessage


async def publish(publisher: Publisher, message: StreamMessage) -> Published:
    return only(await publisher.publish_all([message]))

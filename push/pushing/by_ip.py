"""Pushing to an address or network: to the sessions that are online from there now.

There is no stream: connectors are asked to hand the message out. Its record in the ledger, and its
id under the idempotency key, are made first. So the same key again, after an answer that was not
known, asks with the same id, and a connector that has handed it out already does not do so again.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from push.devices.session_queries import Reached, SessionQueries
from push.pushing.content import PushContent, encoded
from push.redis import keyspace
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.streams.publisher import IdempotencyKey, IdempotencyMismatch

_reserve = load_script("devices", "reserve")
_finish = load_script("devices", "finish_ip_push")

_encode = msgspec.json.Encoder().encode
_decode_reached = msgspec.json.Decoder(Reached).decode


class Handed(NamedTuple):
    """Message `id` was handed out."""

    id: str
    reached: Reached


class PushByIp:
    """Hands messages to the sessions of addresses."""

    def __init__(self, shards: Shards, clients: SessionQueries) -> None:
        self._shards = shards
        self._clients = clients

    async def push(
        self,
        ip: str,
        id: str,
        content: PushContent,
        *,
        idempotency_key: IdempotencyKey | None,
    ) -> Handed:
        """`id`: if the key did not come with another. Raises `IdempotencyMismatch`;
        `StoreUnavailable`: then it may have happened."""
        server = self._shards.of(
            idempotency_key.answer_name if idempotency_key else f"{keyspace.MESSAGE}{id}"
        )
        key = (
            server.key(keyspace.CLOCK)
            if idempotency_key is None
            else server.key(idempotency_key.answer_name)
        )
        digest = "" if idempotency_key is None else idempotency_key.digest
        to = _encode({"ip": ip})
        reserved = await server.run(_reserve, [key], [id, digest, to], decode=_reservation_of)
        if reserved is None:
            raise IdempotencyMismatch
        id, before = reserved
        if before is not None:
            return Handed(id, before)
        reached = await self._clients.push(
            ip, id, encoded(id, content), acknowledged=content.qos > 0
        )
        answer = b"" if idempotency_key is None else _encode(reached)
        await server.run(_finish, [key], [id, reached.devices, answer])
        return Handed(id, reached)


def _reservation_of(reply: list[bytes]) -> tuple[str, Reached | None] | None:
    """The id of the message, and what an earlier request with the key reached; None: that was
    another request."""
    id, *kept = reply
    if not kept:
        return None
    return id.decode(), _decode_reached(kept[0]) if kept[0] else None

"""Messages of conversations: sent, read back, recalled; how far everyone has read; typing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable
from itertools import product
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from push.chat.actions import Acting
from push.chat.conversation_id import ConversationId
from push.chat.settings import (
    CLIENT_ID_SECONDS,
    RECEIPTS_UP_TO_MEMBERS,
    ChatSettings,
)
from push.redis.scripts import load_script
from push.wire.api.conversations import (
    HistoryMessage,
    HistoryPage,
    NewMessage,
    Positions,
    Range,
    ReadPositions,
    Sent,
)
from push.wire.errors import RequestError
from push.wire.idents import user_stream

MAX_PAGE_BYTES = 512 * 1024  # a page is an answer in one frame
CLAIMED_SECONDS = 60  # until it is known that the message was sent
MS_PER_DAY = 86_400_000

_send = load_script("chat", "send")
_claim = load_script("chat", "claim")
_history = load_script("chat", "history")
_recall = load_script("chat", "recall")
_positions = load_script("chat", "positions")
_typing = load_script("chat", "typing")
_encode = msgspec.json.Encoder().encode


class StoredMessage(HistoryMessage, frozen=True, omit_defaults=True, kw_only=True):
    """A message of the history as the server passes it on: `data` as its sender wrote it, and an
    empty list of mentions only if there was one."""

    data: msgspec.Raw | UnsetType = UNSET
    mentions: list[str] | UnsetType = UNSET  # type: ignore[assignment]  # UNSET is never decoded


_decode_message = msgspec.json.Decoder(StoredMessage).decode


class MessageService:
    """All messages. Raises `RequestError` for what is not allowed: the same codes by HTTP and from
    devices."""

    def __init__(self, acting: Acting, settings: ChatSettings) -> None:
        self._acting = acting
        self._settings = settings
        self._shards = acting.shards
        self._kept = kept_of(settings)
        # By "user" or "group", and "device" or "backend", since the start of the process.
        self.accepted = Counter(dict.fromkeys(product(("user", "group"), ("device", "backend")), 0))

    async def send(
        self, sender: str, to: ConversationId, said: NewMessage, *, by_device: bool
    ) -> Sent:
        """A message of `sender`. Messages of devices are limited in number, and in their receivers.

        The same `client_id` again is the same message; with another request `idempotency_mismatch`.
        """
        size = len(memoryview(said.data))
        if size > self._settings.max_payload_bytes:
            raise RequestError(
                "too_large",
                f"data is {size:,} bytes as JSON where at most "
                f"{self._settings.max_payload_bytes:,} are accepted",
                field="data",
            )
        client_id = "" if said.client_id is UNSET else said.client_id
        request = {
            "owner": to.owner,
            "from": sender,
            "id": self._acting.next_id(),
            "tail": _tail_of(said).decode(),
            "to": _encode(
                {"users": [sender, to.user]} if to.user else {"group": to.group}
            ).decode(),
            "client_id": client_id,
            "digest": _digest_of(said) if client_id else "",
            "client_id_seconds": CLIENT_ID_SECONDS,
            "may_begin": not by_device or self._settings.direct == "anyone",
            "rate": self._settings.messages.of(sender) if by_device else None,
            **self._kept,
        }
        if client_id and len(self._shards) > 1:
            values = await self._send_claimed(request)
        else:
            values = await self._acting.run(self._shards.of(to.owner), _send, request)
        id, conversation, seq, ts = (value.decode() for value in values)
        if id == request["id"]:  # not one that came before with its `client_id`
            self.accepted[
                "group" if to.user is None else "user", "device" if by_device else "backend"
            ] += 1
        return Sent(id, conversation, int(seq), int(ts))

    async def _send_claimed(self, request: dict[str, Any]) -> list[bytes]:
        """First the sender's server agrees to what the client id is for, then it is sent."""
        claim = {name: request[name] for name in ("from", "client_id", "owner", "id")}
        home = self._shards.of(user_stream(request["from"]))
        first = {**claim, "seconds": CLAIMED_SECONDS, "rate": request["rate"]}
        claim["id"], owner = (each.decode() for each in await self._acting.run(home, _claim, first))
        if owner != request["owner"]:
            raise RequestError(
                "idempotency_mismatch",
                "this client_id is of a message to another conversation",
                field="client_id",
            )
        request = {**request, "id": claim["id"], "rate": None}
        try:
            values = await self._acting.run(self._shards.of(request["owner"]), _send, request)
        except RequestError as refusal:
            if refusal.code != "idempotency_mismatch":
                release = {**claim, "release": True, "seconds": 1}
                await self._acting.run(home, _claim, release)
            raise
        kept = {**claim, "seconds": CLIENT_ID_SECONDS}
        await self._acting.run(home, _claim, kept)
        return values

    async def history(
        self,
        conversation: ConversationId,
        asked: Range,
        by: str | None,
        turns_of: Hashable = None,
    ) -> HistoryPage:
        """Messages behind or before a place. The backend (`by` None) sees all that are kept.
        `turns_of`: the owner of the turn that this waits for, if not `by`."""
        request: dict[str, Any] = {
            "owner": conversation.owner,
            "by": by or "",
            "limit": asked.limit,
            "max_bytes": MAX_PAGE_BYTES,
            "history_before_join": self._settings.history_before_join,
        }
        if asked.after is not UNSET:
            request["after"] = asked.after
        if asked.before is not UNSET:
            request["before"] = asked.before
        home = self._shards.of(conversation.owner)
        rows, more = await self._acting.run(
            home, _history, request, durable=False, turns_of=turns_of or by or ""
        )
        messages = [message_of(conversation.name, row) for row in rows]
        if asked.after is UNSET:
            messages.reverse()
        return HistoryPage(messages, bool(more))

    async def recall(self, conversation: ConversationId, seq: int, by: str | None) -> None:
        """The content is gone for all users who have not read it. A repetition changes nothing."""
        request = {
            "owner": conversation.owner,
            "by": by or "",
            "seq": seq,
            "recall_ms": self._settings.recall_seconds * 1000,
            "history_before_join": self._settings.history_before_join,
            "id": self._acting.next_id(),
        }
        await self._acting.run(self._shards.of(conversation.owner), _recall, request)

    async def move(self, conversation: ConversationId, said: ReadPositions, by: str) -> Positions:
        """How far `by` is, which never goes back."""
        request: dict[str, Any] = {
            "owner": conversation.owner,
            "by": by,
            "receipts_up_to": RECEIPTS_UP_TO_MEMBERS,
            "id": self._acting.next_id(),
        }
        for name in ("delivered", "read"):
            if getattr(said, name) is not UNSET:
                request[name] = getattr(said, name)
        home = self._shards.of(conversation.owner)
        return Positions(*map(int, await self._acting.run(home, _positions, request)))

    async def typing(self, conversation: ConversationId, by: str) -> None:
        """Users who are online see it; it is stored nowhere."""
        request = {
            "owner": conversation.owner,
            "by": by,
            "id": self._acting.next_id(),
            "may_begin": self._settings.direct == "anyone",
            "rate": self._settings.typing.of(by),
        }
        home = self._shards.of(conversation.owner)
        (told,) = await self._acting.run(home, _typing, request, durable=False)
        if not told:
            assert conversation.user is not None
            home = self._shards.of(user_stream(conversation.user))
            request |= {"told": True, "rate": None}
            await self._acting.run(home, _typing, request, durable=False)


def kept_of(settings: ChatSettings) -> dict[str, int]:
    """How much history is kept, as the scripts take it."""
    return {
        "history_ms": settings.history_days * MS_PER_DAY,
        "history_count": settings.history_count,
    }


def message_of(conversation: str, row: list[bytes]) -> HistoryMessage:
    """A message as the scripts give it (see history.lua)."""
    seq, sender = int(row[0]), row[1].decode()
    if len(row) == 2:
        return StoredMessage(conversation=conversation, seq=seq, sender=sender, recalled=True)
    id, ts, tail = row[2], row[3], row[4]
    head = f'{{"conversation":"{conversation}","from":"{sender}","seq":{seq}'.encode()
    return _decode_message(head + b',"id":"' + id + b'","ts":' + ts + tail)


def _tail_of(said: NewMessage) -> bytes:
    """The JSON of a message after its seq: the same for all receivers, and in the history."""
    members: dict[str, Any] = {"type": said.type}
    for name in ("mentions", "reply_to", "client_id"):
        if getattr(said, name) is not UNSET:
            members[name] = getattr(said, name)
    return b"," + _encode({**members, "data": said.data})[1:]


def _digest_of(said: NewMessage) -> str:
    """A digest of all that a `client_id` names beside the conversation; `data` by its bytes."""
    members = (
        said.type,
        [] if said.mentions is UNSET else said.mentions,
        None if said.reply_to is UNSET else said.reply_to,
        said.data,
    )
    return hashlib.sha256(_encode(members)).hexdigest()

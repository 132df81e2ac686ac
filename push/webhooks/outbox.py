"""The outbox of one Redis server: what is due for an endpoint, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.webhooks.events import OutboxEvent
from push.webhooks.settings import KEEP_SECONDS
from push.wire.api.operate.webhooks import WebhookAttempt

CHANNEL = "webhooks"  # something is due, or an endpoint has changed
REPLAYED_PER_CALL = 500
GONE_FIELD = "gone "  # in webhook-wanted, what the fields of deleted endpoints begin with

Ending = Literal["done", "again", "lost"]

_claim = load_script("webhooks", "claim")
_finish = load_script("webhooks", "finish")
_forget = load_script("webhooks", "forget")
_release = load_script("webhooks", "release")
_replay = load_script("webhooks", "replay")
_test = load_script("webhooks", "test")
_trim = load_script("webhooks", "trim")
_unpack_attempt = msgspec.msgpack.Decoder(tuple[str, str, str, str, str, str, str]).decode


class Claimed(NamedTuple):
    """What is due. `next_ms`: when something more is, None for never; `expired`: how many were
    given up by their age."""

    next_ms: int | None
    waiting: int
    expired: int
    events: list[OutboxEvent]


class AttemptOutcome(NamedTuple):
    """An attempt. `status` None: there was no answer, `error` says why. `due_ms`: when the next is
    made, if it is; `pause_ms`: for how long the endpoint wants none at all."""

    ending: Ending
    status: int | None
    error: str
    took_ms: int
    due_ms: int = 0
    pause_ms: int = 0


class StoredAttempt(NamedTuple):
    """An attempt in the log, by the offset at which it ended."""

    offset: int
    attempt: WebhookAttempt


class ServerOutbox:
    """Everything raises `StoreUnavailable`."""

    def __init__(self, server: RedisClient) -> None:
        self.server = server

    def now_ms(self) -> int:
        return self.server.clock.now_ms()

    async def claim(
        self, endpoint: str, boot: str, lease_ms: int, limit: int, max_age_seconds: int
    ) -> Claimed | None:
        """What is due for an endpoint; None: another process delivers for it."""
        arguments: list[Argument] = [
            endpoint,
            boot,
            lease_ms,
            limit,
            max_age_seconds * MICROSECONDS,
        ]
        return await self.server.run(_claim, [], arguments, decode=_claimed)

    async def finish(
        self, endpoint: str, event: OutboxEvent, outcome: AttemptOutcome
    ) -> tuple[str, bool]:
        """Store what became of an attempt. Returns how it ended, which may be `superseded`, and
        whether the event is due again because it was replayed during the attempt."""
        arguments: list[Argument] = [
            endpoint,
            event.id,
            event.since,
            outcome.ending,
            outcome.due_ms,
            outcome.pause_ms,
            event.type,
            "" if outcome.status is None else outcome.status,
            outcome.error,
            outcome.took_ms,
        ]
        return await self.server.run(_finish, [], arguments, decode=_finished)

    async def release(self, endpoint: str, boot: str) -> None:
        await self.server.run(_release, [], [endpoint, boot])

    async def put_test(self, endpoint: str, type: str, data: str) -> str:
        """Of the first server. Returns the id of the event."""
        at: bytes = await self.server.run(_test, [], [endpoint, type, data], durable=True)
        return f"evt_{at.decode()}_0"

    async def replay(
        self, endpoint: str, types: Iterable[str], since_us: int, until_us: int, *, failed: bool
    ) -> int:
        """How many events are due again."""
        after, total = b"%d" % max(since_us - 1, 0), 0
        while after:
            arguments: list[Argument] = [
                endpoint,
                " ".join(types),
                after,
                until_us,
                "1" if failed else "",
                REPLAYED_PER_CALL,
            ]
            after, count = await self.server.run(_replay, [], arguments, decode=_replayed)
            total += count
        return total

    async def waiting(self, endpoints: Sequence[str]) -> list[int]:
        key = self.server.key(keyspace.WEBHOOK_WAITING)
        return [int(await self.server.command("ZCARD", key + one)) for one in endpoints]

    async def lost(self, endpoints: Sequence[str]) -> list[int]:
        """How many events each has lost. (Events that were lost early count for several.)"""
        reply = await self.server.command("HGETALL", self.server.key(keyspace.WEBHOOK_LOST))
        counts: Counter[str] = Counter()
        for i in range(0, len(reply), 2):
            counts.update(dict.fromkeys(reply[i].decode().split(), int(reply[i + 1])))
        return [counts[one] for one in endpoints]

    async def in_inbox(self) -> int:
        """How many events were decided and are in no outbox yet: they grow if nobody delivers."""
        return int(await self.server.command("LLEN", self.server.key(keyspace.WEBHOOK_INBOX)))

    async def attempts(self, endpoint: str, before: int | None, limit: int) -> list[StoredAttempt]:
        """The newest, or those before an offset, the newest first."""
        key = self.server.key(keyspace.WEBHOOK_ATTEMPTS) + endpoint
        end = "+" if before is None else f"({before}-0"
        entries = await self.server.command("XREVRANGE", key, end, "-", "COUNT", limit)
        return [_attempt(id, fields[1]) for id, fields in entries]

    async def forget(self, endpoint: str) -> None:
        """All that is kept of an endpoint that was deleted."""
        more = 1
        while more:
            more = await self.server.run(_forget, [], [endpoint], decode=int)

    async def forget_gone(self) -> None:
        """Delete what is left of deleted endpoints: a process may have been stopped at that."""
        fields = await self.server.command("HKEYS", self.server.key(keyspace.WEBHOOK_WANTED))
        for field in fields:
            name = field.decode()
            if name.startswith(GONE_FIELD):
                await self.forget(name.removeprefix(GONE_FIELD))

    async def trim(self, endpoints: Iterable[str], max_age_seconds: int) -> None:
        """What was kept for a week goes, and what waits for longer than it may is given up."""
        arguments: list[Argument] = [
            KEEP_SECONDS * MICROSECONDS,
            max_age_seconds * MICROSECONDS,
            *endpoints,
        ]
        more = 1
        while more:
            more = await self.server.run(_trim, [], arguments, decode=int)


def _claimed(reply: list[Any]) -> Claimed | None:
    if not reply:
        return None
    next_ms, waiting, expired, *events = reply
    return Claimed(
        int(next_ms) if next_ms else None,
        waiting,
        expired,
        [
            OutboxEvent.unpack(events[i].decode(), *events[i + 1 : i + 4])
            for i in range(0, len(events), 4)
        ],
    )


def _finished(reply: list[Any]) -> tuple[str, bool]:
    ended, is_replayed = reply
    return ended.decode(), bool(is_replayed)


def _replayed(reply: list[Any]) -> tuple[bytes, int]:
    """After which offset a replay goes on (b"": it is done), and how many events it found."""
    after, count = reply
    return after, count


def _attempt(id: bytes, packed: bytes) -> StoredAttempt:
    event, type, ts, status, error, took_ms, next_ms = _unpack_attempt(packed)
    offset = int(id.partition(b"-")[0])
    attempt = WebhookAttempt(
        id=f"att_{offset}",
        event=event,
        type=type,
        ts=int(ts),
        status=int(status) if status else UNSET,
        error=error if error else UNSET,
        ms=int(took_ms),
        next=int(next_ms) if next_ms else None,
    )
    return StoredAttempt(offset, attempt)

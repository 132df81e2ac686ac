"""Every kind of key that a deployment has, and its owner: the one table.

A key of a kind that is not here stops a resharding before anything was changed, and a test walks
all keys of a deployment that has done everything. A new kind of key is a new line.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from push.redis import keyspace
from push.wire.idents import (
    TOKEN_CHARACTERS,
    device_stream,
    group_stream,
    topic_stream,
    user_stream,
)


class How(Enum):
    """How the keys of a kind go to other servers."""

    WHOLE = "the key goes with its owner"
    FIRST = "the key is on the first server"
    MEMBERS = "a sorted set on every server: each member goes with its owner"
    HIGHEST = "a hash of numbers: every server has the highest of all servers"
    RECORD = "a device's record, see devices.py"
    MESSAGE = "a message's record in the ledger, see messages.py"
    ONCE = "the answer that an idempotency key had, see messages.py"
    OUTBOX = "the outboxes of webhooks, see webhooks.py"
    EMPTIED = "what it holds is done before anything moves"
    OWN = "each server has its own"
    ENDS = "nothing of it is wanted when daemons start again"


class Kind(NamedTuple):
    """`name`: what the names of its keys begin with, if it ends with ":", else its only name.
    `owner`: of what comes after that (of a member of the set, for MEMBERS)."""

    name: str
    how: How
    owner: Callable[[str], str] | None = None

    def fits(self, key: str) -> bool:
        return key.startswith(self.name) if self.name.endswith(":") else key == self.name

    def owner_of(self, rest: str) -> str:
        assert self.owner is not None, f"{self.name} has no owner"
        return self.owner(rest)


def _stream(rest: str) -> str:
    return rest


def _behind_token(rest: str) -> str:
    return rest[TOKEN_CHARACTERS + 1 :]


def _user_before_comma(rest: str) -> str:
    return user_stream(rest.partition(",")[0])


def _device_behind_boot(rest: str) -> str:
    return device_stream(rest.partition(" ")[2])


def _before_space(rest: str) -> str:
    return rest.partition(" ")[0]


KINDS = (
    Kind(keyspace.LOG, How.WHOLE, _stream),
    Kind(keyspace.LOST, How.WHOLE, _stream),
    Kind(keyspace.COLLAPSE, How.WHOLE, _stream),
    Kind(keyspace.FOLLOWERS, How.WHOLE, _stream),
    Kind(keyspace.USER_DEVICES, How.WHOLE, user_stream),
    Kind(keyspace.USER_STREAMS, How.WHOLE, user_stream),
    Kind(keyspace.GONE, How.WHOLE, _behind_token),
    Kind(keyspace.CLAIM, How.WHOLE, lambda rest: f"{keyspace.CLAIM}{rest}"),
    Kind(keyspace.LIMIT, How.WHOLE, lambda rest: f"{keyspace.LIMIT}{rest}"),
    Kind(keyspace.CONVERSATION, How.WHOLE, _stream),
    Kind(keyspace.HISTORY, How.WHOLE, _stream),
    Kind(keyspace.RECALLED, How.WHOLE, _stream),
    Kind(keyspace.POSITIONS, How.WHOLE, _stream),
    Kind(keyspace.GROUP, How.WHOLE, group_stream),
    Kind(keyspace.MEMBERS, How.WHOLE, group_stream),
    Kind(keyspace.MEMBER_NAMES, How.WHOLE, group_stream),
    Kind(keyspace.CONVERSATIONS, How.WHOLE, user_stream),
    Kind(keyspace.COPIED, How.WHOLE, user_stream),
    Kind(keyspace.USER_STREAM_VERSIONS, How.WHOLE, user_stream),
    Kind(keyspace.RECALLED_COPY, How.WHOLE, _user_before_comma),
    Kind(keyspace.ENDED_COPY, How.WHOLE, _user_before_comma),
    Kind(keyspace.SENT, How.WHOLE, _before_space),
    Kind(keyspace.CLAIMED, How.WHOLE, _user_before_comma),
    Kind(keyspace.HISTORIES, How.MEMBERS, _stream),
    Kind(keyspace.DISMISSED, How.MEMBERS, group_stream),
    Kind(keyspace.ERASING, How.MEMBERS, user_stream),
    Kind(keyspace.ENDED_SEQS, How.HIGHEST),
    Kind(keyspace.CHAT_ERRANDS, How.EMPTIED),
    # Written by earlier versions only; such a key ends after a day.
    Kind(keyspace.TOPICS_CURSOR, How.WHOLE, lambda rest: f"{keyspace.TOPICS_CURSOR}{rest}"),
    Kind(keyspace.BANS, How.FIRST),
    Kind(keyspace.API_KEYS, How.FIRST),
    Kind(keyspace.KEY_USES, How.FIRST),
    Kind(keyspace.DEVICES, How.MEMBERS, device_stream),
    Kind(keyspace.TOPICS, How.MEMBERS, topic_stream),
    Kind(keyspace.EXPIRY, How.MEMBERS, _stream),
    Kind(keyspace.DEVICE, How.RECORD, device_stream),
    Kind(keyspace.MESSAGE, How.MESSAGE),
    Kind(keyspace.TIMELINE, How.WHOLE, device_stream),
    Kind(keyspace.TIMELINE_OWNERS, How.MEMBERS, device_stream),
    Kind(keyspace.TIMELINE_TOTAL, How.ENDS),  # it is counted again
    Kind(keyspace.RECENT, How.WHOLE, lambda rest: f"{keyspace.RECENT}{rest}"),
    Kind(keyspace.RECENT_OWNERS, How.MEMBERS, lambda rest: f"{keyspace.RECENT}{rest}"),
    Kind(keyspace.RECENT_TOTAL, How.ENDS),  # this too
    Kind(keyspace.AUDIT, How.FIRST),
    Kind(keyspace.IDEM, How.ONCE),
    Kind(keyspace.ERRANDS, How.EMPTIED),
    Kind(keyspace.WEBHOOK_ENDPOINTS, How.FIRST),
    Kind(keyspace.WEBHOOK_ONLINE, How.MEMBERS, _device_behind_boot),
    Kind(keyspace.WEBHOOK_OFFLINE, How.MEMBERS, device_stream),
    Kind(keyspace.WEBHOOK_WANTED, How.OUTBOX),
    Kind(keyspace.WEBHOOK_INBOX, How.EMPTIED),
    Kind(keyspace.WEBHOOK_EVENTS, How.OUTBOX),
    Kind(keyspace.WEBHOOK_LOG, How.OUTBOX),
    Kind(keyspace.WEBHOOK_LOST, How.OUTBOX),
    Kind(keyspace.WEBHOOK_WAITING, How.OUTBOX),
    Kind(keyspace.WEBHOOK_DUE, How.OUTBOX),
    Kind(keyspace.WEBHOOK_TRIES, How.OUTBOX),
    Kind(keyspace.WEBHOOK_STATES, How.OUTBOX),
    Kind(keyspace.WEBHOOK_FAILED, How.OUTBOX),
    Kind(keyspace.WEBHOOK_ATTEMPTS, How.OUTBOX),
    Kind(keyspace.WEBHOOK_LEASE, How.ENDS),
    Kind(keyspace.WEBHOOK_PAUSE, How.ENDS),
    Kind(keyspace.CLOCK, How.OWN),
    Kind(keyspace.SHARD, How.OWN),
    Kind(keyspace.ARRIVING, How.OWN),  # see staging.py
    Kind(keyspace.LEAVING, How.OWN),
    Kind(keyspace.ENDED, How.ENDS),
    Kind(keyspace.RATE, How.ENDS),
    Kind(keyspace.EVENT_POSITIONS, How.ENDS),
    Kind(keyspace.KICKS, How.ENDS),
    # In offsets of the server's clock: it gives new ones when bans are read first.
    Kind(keyspace.BAN_CHANGES, How.ENDS),
    Kind(keyspace.LIFTED_BANS, How.ENDS),
    Kind(keyspace.FORGOTTEN_LIFTS, How.ENDS),
    Kind(keyspace.CHECK, How.ENDS),
    Kind(keyspace.CHECK_OF, How.ENDS),
    Kind(keyspace.CONFIRMED, How.ENDS),
    Kind(keyspace.CLUSTER, How.ENDS),
)


class UnknownKind(LookupError):
    """The owner of this key is unknown."""


def kind_of(key: str) -> Kind:
    """The kind of `key` (without the prefix of all keys)."""
    for kind in KINDS:
        if kind.fits(key):
            return kind
    raise UnknownKind(key)

"""Every kind of key that a deployment has, and its owner: the one table.

A key of a kind that is not here stops a resharding before anything was changed, and a test walks
all keys of a deployment that has done everything. A new kind of key is a new line.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

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
    ONCE = "the answer that an idempotency key had, see once.py"
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


def _before_space(rest: str) -> str:
    return rest.partition(" ")[0]


KINDS = (
    Kind("log:", How.WHOLE, _stream),
    Kind("lost:", How.WHOLE, _stream),
    Kind("collapse:", How.WHOLE, _stream),
    Kind("followers:", How.WHOLE, _stream),
    Kind("user-devices:", How.WHOLE, user_stream),
    Kind("user-streams:", How.WHOLE, user_stream),
    Kind("gone:", How.WHOLE, _behind_token),
    Kind("claim:", How.WHOLE, lambda rest: f"claim:{rest}"),
    Kind("limit:", How.WHOLE, lambda rest: f"limit:{rest}"),
    Kind("conversation:", How.WHOLE, _stream),
    Kind("history:", How.WHOLE, _stream),
    Kind("recalled:", How.WHOLE, _stream),
    Kind("positions:", How.WHOLE, _stream),
    Kind("group:", How.WHOLE, group_stream),
    Kind("members:", How.WHOLE, group_stream),
    Kind("member-names:", How.WHOLE, group_stream),
    Kind("conversations:", How.WHOLE, user_stream),
    Kind("copied:", How.WHOLE, user_stream),
    Kind("user-stream-versions:", How.WHOLE, user_stream),
    Kind("recalled-copy:", How.WHOLE, _user_before_comma),
    Kind("ended-copy:", How.WHOLE, _user_before_comma),
    Kind("sent:", How.WHOLE, _before_space),
    Kind("claimed:", How.WHOLE, _user_before_comma),
    Kind("histories", How.MEMBERS, _stream),
    Kind("dismissed", How.MEMBERS, group_stream),
    Kind("erasing", How.MEMBERS, user_stream),
    Kind("ended-seqs", How.HIGHEST),
    Kind("chat-errands", How.EMPTIED),
    # Written by earlier versions only; such a key ends after a day.
    Kind("topics-cursor:", How.WHOLE, lambda rest: f"topics-cursor:{rest}"),
    Kind("bans", How.FIRST),
    Kind("devices", How.MEMBERS, device_stream),
    Kind("topics", How.MEMBERS, topic_stream),
    Kind("expiry", How.MEMBERS, _stream),
    Kind("device:", How.RECORD, device_stream),
    Kind("message:", How.MESSAGE),
    Kind("idem:", How.ONCE),
    Kind("errands", How.EMPTIED),
    Kind("clock", How.OWN),
    Kind("shard", How.OWN),
    Kind("arriving:", How.OWN),  # see staging.py
    Kind("leaving", How.OWN),
    Kind("check", How.ENDS),
    Kind("check:", How.ENDS),
    Kind("confirmed", How.ENDS),
    Kind("cluster:", How.ENDS),
)


class UnknownKind(LookupError):
    """The owner of this key is unknown."""


def kind_of(key: str) -> Kind:
    """The kind of `key` (without the prefix of all keys)."""
    for kind in KINDS:
        if kind.fits(key):
            return kind
    raise UnknownKind(key)

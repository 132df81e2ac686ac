"""What a process that serves HTTP asks connectors about their sessions, and what they answer."""

from __future__ import annotations

import msgspec

# Kinds of questions.
LIST, KICK, PUSH, APPLY = "sessions", "kick", "push", "apply"


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which sessions: those that fit all that is given.

    `users`: of one of them; `without_token`: of a user without a device; `ip`: an address or
    network as `normal_network` writes it; `topic`: that they follow; `node`: the name of their
    connector.
    """

    session: str | None = None
    token: str | None = None
    user: str | None = None
    users: tuple[str, ...] | None = None
    without_token: bool = False
    ip: str | None = None
    topic: str | None = None
    node: str | None = None


class ListSessions(msgspec.Struct, frozen=True):
    """At most `limit` sessions, by id, after the id `after`."""

    filter: Filter
    after: str
    limit: int


class KickSessions(msgspec.Struct, frozen=True):
    filter: Filter


class KeptKick(msgspec.Struct, frozen=True):
    """A kick that not all connectors confirmed: it ends the sessions that fit and were opened
    before `before_ms`, in milliseconds since 1970 UTC."""

    filter: Filter
    before_ms: int


class KickAnswer(msgspec.Struct, frozen=True):
    kicked: int


class PushToSessions(msgspec.Struct, frozen=True):
    """Hand message `id` to the sessions of `ip`. `content` is as streams keep it (message.py);
    `acknowledged`: for the ledger."""

    ip: str
    id: str
    content: msgspec.Raw
    acknowledged: bool


class PushAnswer(msgspec.Struct, frozen=True):
    """How many sessions it was for, and how many of them are of devices."""

    sessions: int
    devices: int


class ApplyAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """Read again, and answer when that is in effect: the records of the devices that `sessions`
    have, and the groups of `users`. The stream `dismissed` has no followers from now on."""

    sessions: list[str] = []
    users: list[str] = []
    dismissed: str = ""

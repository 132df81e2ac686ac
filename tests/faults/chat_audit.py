"""The audit of chat: what was said and answered, the histories, and what each device received.

A message has a name of its own, its `client_id`, which is also its text. How it ended is known by
that: answered (it is in the history once, and arrives), refused (it is nowhere), or neither (it may
be there).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from push.chat.conversation_id import conversation_of
from push.sdk.chat_types import HistoryMessage

FAILURES_SHOWN = 20


def owner_of(user: str, conversation: str) -> str:
    """A conversation by the name that it has for everybody."""
    return conversation_of(user, conversation).owner


class Answer(NamedTuple):
    id: str
    owner: str
    seq: int


@dataclass
class Said:
    """What was said, over one door or the other; threads may add to it."""

    said: dict[str, tuple[str, str]] = field(default_factory=dict)  # user and owner, by client_id
    answers: dict[str, set[Answer]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    unclear: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, user: str, client_id: str, conversation: str) -> None:
        with self.lock:
            self.said[client_id] = user, owner_of(user, conversation)

    def answered(self, client_id: str, id: str, conversation: str, seq: int) -> None:
        with self.lock:
            user, _ = self.said[client_id]
            answer = Answer(id, owner_of(user, conversation), seq)
            self.answers.setdefault(client_id, set()).add(answer)

    def refused(self, client_id: str, code: str) -> None:
        with self.lock:
            self.refusals[client_id] = code


class Arrived(NamedTuple):
    """A message as a device got it."""

    id: str
    stream: str
    offset: int
    owner: str
    seq: int
    sender: str
    client_id: str | None


class Event(NamedTuple):
    """What a device was told of a group, in the group's stream."""

    offset: int
    event: str
    users: tuple[str, ...]


class ChatRecord:
    """What one device of `user` received and said, read from the file that it writes."""

    def __init__(self, user: str, token: str, path: Path, said: Said) -> None:
        self.user = user
        self.token = token
        self.path = path
        self.arrived: list[Arrived] = []
        self.ids: set[str] = set()
        self.events: dict[str, dict[str, Event]] = {}  # by group's stream and id
        self.receipts: dict[tuple[str, str], int] = {}  # the latest read, by owner and user
        self.read: dict[str, int] = {}  # what this device said that it read, by owner
        self.lists: list[dict[str, list[int]]] = []
        self.states: list[tuple[str, str]] = []
        self.truncated: list[Any] = []
        self.times_read = 0
        self.quiet = False
        self._said = said
        self._read_bytes = 0

    def refresh(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            kind, *items = msgspec.json.decode(line)
            self._take(kind, items)

    def _take(self, kind: str, items: list[Any]) -> None:
        if kind == "state":
            self.states.append((items[0], items[1]))
        elif kind in ("chat", "group", "receipt", "truncated"):
            self._take_push(kind, *items)
        elif kind == "said":
            self._said.ask(self.user, *items)
        elif kind == "answered":
            self._said.answered(*items)
        elif kind == "refused":
            self._said.refused(*items)
        elif kind == "unclear":
            self._said.unclear += 1
        elif kind == "quiet":
            self.quiet = True
        elif kind == "read":
            self.read[owner_of(self.user, items[0])] = items[1]
        elif kind == "has read":
            self.times_read += 1
        elif kind == "list":
            rows = items[0].items()
            self.lists.append({owner_of(self.user, name): row for name, row in rows})

    def _take_push(
        self, kind: str, id: str, stream: str, offset: int, fields: dict[str, Any]
    ) -> None:
        if kind == "chat":
            owner = owner_of(self.user, fields["conversation"])
            place = id, stream, offset, owner, fields["seq"], fields["from"]
            self.arrived.append(Arrived(*place, fields.get("client_id")))
            self.ids.add(id)
        elif kind == "receipt":
            key = owner_of(self.user, fields["conversation"]), fields["user"]
            self.receipts[key] = max(self.receipts.get(key, 0), fields["read"])
        elif kind == "truncated":
            self.truncated.append(fields)
        elif stream.startswith("group:"):
            event = Event(offset, fields["event"], tuple(fields.get("users", ())))
            self.events.setdefault(stream, {})[id] = event

    @property
    def connections(self) -> int:
        return sum(1 for state, _ in self.states if state == "connected")


Interval = tuple[int, float]  # offsets of a group's stream, between which one was a member


def memberships(record: ChatRecord, stream: str, user: str, start: bool) -> list[Interval]:
    """When `user` was in a group, as somebody saw who was there all the time."""
    intervals: list[Interval] = []
    since: int | None = 0 if start else None
    for event in sorted(record.events.get(stream, {}).values()):
        if user not in event.users:
            continue
        if event.event == "added":
            since = event.offset
        elif event.event in ("removed", "left") and since is not None:
            intervals.append((since, event.offset))
            since = None
    if since is not None:
        intervals.append((since, float("inf")))
    return intervals


def check_histories(said: Said, histories: Mapping[str, list[HistoryMessage]]) -> list[str]:
    """Each history has each answered message once, under the seq that was answered, and no gap."""
    complaints = []
    places: dict[str, tuple[str, HistoryMessage]] = {}
    for owner, messages in histories.items():
        seqs = [message.seq for message in messages]
        if seqs != list(range(1, len(seqs) + 1)):
            complaints.append(f"{owner}: seqs {seqs[:5]} … {seqs[-5:]}, {len(seqs)} of them")
        ids = Counter(message.id for message in messages)
        complaints += [f"{owner}: {id} is there {n} times" for id, n in ids.items() if n > 1]
        for message in messages:
            name = str(message.client_id)
            if name in places:
                complaints.append(f"{name} is two messages, in {places[name][0]} and {owner}")
            places[name] = owner, message
            if said.said.get(name) != (message.sender, owner):
                complaints.append(f"{owner}: nobody said {message}")
            if name in said.refusals and name not in said.answers:
                complaints.append(f"{name} was refused ({said.refusals[name]}), and is {message}")
    for name, answers in said.answers.items():
        if len(answers) != 1:
            complaints.append(f"{name} was answered differently: {answers}")
        for answer in answers:
            found = places.get(name)
            if found is None:
                complaints.append(f"{name} was answered {answer} and is in no history")
            elif (found[1].id, found[0], found[1].seq) != answer:
                complaints.append(f"{name} was answered {answer} and is {found}")
    return complaints


def check_arrivals(
    record: ChatRecord, histories: Mapping[str, list[HistoryMessage]], owners: Iterable[str]
) -> list[str]:
    """First deliveries to a device: as the histories have it, and all that is in `owners`."""
    complaints = []
    seen: dict[str, list[Arrived]] = {}
    ids: set[str] = set()
    offsets: dict[str, int] = {}
    for arrived in record.arrived:
        if arrived.id in ids:
            continue
        ids.add(arrived.id)
        seen.setdefault(arrived.owner, []).append(arrived)
        if arrived.offset <= offsets.get(arrived.stream, 0):
            complaints.append(f"{record.user}: {arrived} came after a later one of its stream")
        offsets[arrived.stream] = max(arrived.offset, offsets.get(arrived.stream, 0))
    for owner, messages in seen.items():
        by_seq = {message.seq: message for message in histories.get(owner, [])}
        last = 0
        for arrived in messages:
            kept = by_seq.get(arrived.seq)
            if kept is None or (kept.id, kept.sender) != (arrived.id, arrived.sender):
                complaints.append(f"{record.user}: {arrived} came, the history has {kept}")
            if arrived.seq <= last:
                complaints.append(f"{record.user}: {arrived} came first after seq {last}")
            last = max(last, arrived.seq)
    for owner in owners:
        wanted = {message.seq for message in histories[owner]}
        missing = wanted - {arrived.seq for arrived in seen.get(owner, [])}
        if missing:
            complaints.append(f"{record.user} {record.token}: of {owner} lacks {sorted(missing)}")
    if record.truncated:
        complaints.append(f"{record.user}: {record.truncated}")
    return complaints


def check_member(
    record: ChatRecord, owner: str, intervals: list[Interval], offsets: Mapping[int, int]
) -> list[str]:
    """A device of somebody who comes and goes: of each time there without a gap from its beginning,
    of the last one that lasts all, and nothing else. `offsets` of the group's messages by seq."""
    complaints = []
    had = {arrived.seq for arrived in record.arrived if arrived.owner == owner}
    allowed: set[int] = set()
    for begin, end in intervals:
        wanted = sorted(seq for seq, offset in offsets.items() if begin < offset < end)
        got = [seq for seq in wanted if seq in had]
        allowed |= set(wanted)
        if got != wanted[: len(got)] or (end == float("inf") and got != wanted):
            missing = sorted(set(wanted) - had)
            complaints.append(
                f"{record.user} {record.token}: of {wanted[:1]} to {wanted[-1:]} lacks {missing}, "
                f"there from {begin} to {end}"
            )
    if had - allowed:
        complaints.append(
            f"{record.user} {record.token}: {sorted(had - allowed)} when not a member"
        )
    return complaints


def fail_if(complaints: list[str]) -> None:
    shown = "\n".join(complaints[:FAILURES_SHOWN])
    assert not complaints, f"{len(complaints)} complaints\n{shown}"

"""The audit: what was pushed and accepted against what each device received.

Every message has a number of its own, `n`, in its data, so that one whose push had no clear answer
is known when it arrives. Three kinds of outcome: accepted (202: must arrive), unknown (503, or the
connection was lost: may arrive), refused (must not arrive).
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

FAILURES_SHOWN = 20


@dataclass(frozen=True)
class Target:
    """`to` as the API takes it, and the tokens of the devices that this means now."""

    to: dict[str, Any]
    tokens: frozenset[str]


@dataclass(eq=False)
class Attempt:
    """One push. `status` None: no answer came. `lane`: pushes of a lane follow each other, each
    sent after the one before was answered. `may_expire`: it need not arrive."""

    n: int
    lane: str
    target: Target
    may_expire: bool = False
    status: int | None = None
    id: str | None = None
    retry_after: int | None = None

    @property
    def accepted(self) -> bool:
        return self.status == 202

    @property
    def unknown(self) -> bool:
        return self.status is None or self.status == 503


class Received(msgspec.Struct, array_like=True):
    """One message as a device had it, in the order of arrival, repeats included."""

    id: str
    stream: str
    offset: int
    n: int


class Said(msgspec.Struct, array_like=True):
    """A state of the SDK's client, and since when: monotonic seconds, the same for all
    processes of the machine."""

    state: str
    detail: str
    at_seconds: float


class Record:
    """What one device received. Kept in memory, or in a file that another process writes."""

    def __init__(self, token: str, path: Path | None = None) -> None:
        self.token = token
        self.received: list[Received] = []
        self.ids: set[str] = set()
        self.states: list[Said] = []
        self.path = path
        self._read_bytes = 0
        self._lock = threading.Lock()

    def add(self, received: Received) -> None:
        with self._lock:
            self.received.append(received)
            self.ids.add(received.id)

    def refresh(self) -> None:
        """Read what the file has more. Only whole lines: the writer may be in the middle of one."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            items = msgspec.json.decode(line)
            if items[0] == "m":
                self.add(Received(*items[1:]))
            else:
                self.states.append(Said(*items[1:]))

    def count(self, state: str) -> int:
        """How often the device was in `state`."""
        return sum(1 for said in self.states if said.state == state)

    @property
    def server(self) -> str | None:
        """The connector with which the device is in session, as far as was read."""
        said = self.states[-1] if self.states else None
        return said.detail if said is not None and said.state == "connected" else None


@dataclass
class Journal:
    """All pushes of a test. Lanes may push from threads of their own."""

    attempts: list[Attempt] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, lane: str, targets: Sequence[Target], *, may_expire: bool) -> list[Attempt]:
        """Note that these are about to be sent."""
        with self._lock:
            begun = [Attempt(next(self._numbers), lane, to, may_expire) for to in targets]
            self.attempts += begun
        return begun

    @property
    def accepted(self) -> list[Attempt]:
        return [attempt for attempt in list(self.attempts) if attempt.accepted]

    @property
    def unknown(self) -> list[Attempt]:
        return [attempt for attempt in list(self.attempts) if attempt.unknown]

    def expected(self) -> dict[str, set[str]]:
        """The ids that each device must have."""
        expected: dict[str, set[str]] = {}
        for attempt in self.accepted:
            if not attempt.may_expire:
                for token in attempt.target.tokens:
                    expected.setdefault(token, set()).add(attempt.id or "")
        return expected


def audit(
    journal: Journal, records: Iterable[Record], dropped_oldest: dict[str, int] | None = None
) -> tuple[int, int]:
    """Compare; messages and deliveries checked. Raises `AssertionError` that names what is wrong.

    `dropped_oldest`: how many messages, its oldest, a device did not get because its backlog was
    full.
    """
    records = list(records)
    for record in records:
        record.refresh()
    complaints: list[str] = []
    complaints += _ids_given_twice(journal)
    dropped_oldest = dropped_oldest or {}
    for record in records:
        complaints += _missing(journal, record, dropped_oldest.get(record.token, 0))
        complaints += _not_pushed(journal, record)
        complaints += _out_of_order(journal, record)
    complaints += _ids_that_differ(journal, records)
    if complaints:
        shown = complaints[:FAILURES_SHOWN]
        more = len(complaints) - len(shown)
        raise AssertionError("\n".join(["the audit failed:", *shown, f"and {more} more"]))
    accepted = journal.accepted
    return len(accepted), sum(len(attempt.target.tokens) for attempt in accepted)


def _ids_given_twice(journal: Journal) -> list[str]:
    counts = Counter(attempt.id for attempt in journal.accepted)
    return [f"the id {id} was given to {count} pushes" for id, count in counts.items() if count > 1]


def _missing(journal: Journal, record: Record, dropped: int) -> list[str]:
    due = [
        attempt
        for attempt in journal.accepted
        if record.token in attempt.target.tokens and not attempt.may_expire
    ]
    missing = [attempt for attempt in due if attempt.id not in record.ids]
    if missing == due[:dropped] and len(missing) == dropped:
        return []
    if dropped:
        return [f"{record.token}: lacks {len(missing)} messages, not its {dropped} oldest"]
    return [
        f"{record.token} never received n={attempt.n} id={attempt.id} to {_short(attempt.target)}"
        for attempt in missing
    ]


def _short(target: Target) -> str:
    text = str(target.to)
    return text if len(text) < 80 else f"{text[:80]}…"


def _not_pushed(journal: Journal, record: Record) -> list[str]:
    by_number = {attempt.n: attempt for attempt in journal.attempts}
    complaints = []
    for received in record.received:
        attempt = by_number.get(received.n)
        said = f"{record.token} received n={received.n} id={received.id} on {received.stream}"
        if attempt is None:
            complaints.append(f"{said}, which nobody pushed")
        elif record.token not in attempt.target.tokens:
            complaints.append(f"{said}, which was for {_short(attempt.target)}")
        elif attempt.accepted and attempt.id != received.id:
            complaints.append(f"{said}, whose id by the API is {attempt.id}")
        elif not attempt.accepted and not attempt.unknown:
            complaints.append(f"{said}, which was refused with {attempt.status}")
    return complaints


def _out_of_order(journal: Journal, record: Record) -> list[str]:
    """First deliveries of a stream: by offset, and by number within each lane.

    What is unknown has no place in its lane: it may have been published late.
    """
    by_number = {attempt.n: attempt for attempt in journal.attempts}
    complaints = []
    seen: set[str] = set()
    last_offset: dict[str, int] = {}
    last_number: dict[tuple[str, str], int] = {}
    for received in record.received:
        if received.id in seen:
            continue
        seen.add(received.id)
        stream = received.stream
        if received.offset <= last_offset.get(stream, 0):
            complaints.append(
                f"{record.token}: {stream} offset {received.offset} (n={received.n}) was first "
                f"delivered after offset {last_offset[stream]}"
            )
        last_offset[stream] = max(received.offset, last_offset.get(stream, 0))
        attempt = by_number.get(received.n)
        if attempt is None or not attempt.accepted:
            continue
        place = (stream, attempt.lane)
        if received.n < last_number.get(place, 0):
            complaints.append(
                f"{record.token}: {stream} n={received.n} was first delivered after "
                f"n={last_number[place]} of the same lane {attempt.lane}"
            )
        last_number[place] = max(received.n, last_number.get(place, 0))
    return complaints


def _ids_that_differ(journal: Journal, records: Iterable[Record]) -> list[str]:
    """A push is one message, also when its answer is not known."""
    ids: dict[int, set[str]] = {}
    for record in records:
        for received in record.received:
            ids.setdefault(received.n, set()).add(received.id)
    return [f"n={n} arrived as {sorted(found)}" for n, found in ids.items() if len(found) > 1]

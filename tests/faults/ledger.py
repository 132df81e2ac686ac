"""The ledger's figures against the test's own record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.faults.audit import Attempt, Record
from tests.faults.processes import Daemon
from tests.waiting import wait_for

# A question a message: of a hundred thousand messages some are asked for, evenly spread.
MESSAGES_ASKED_FOR = 500
DEVICES_ASKED_FOR = 20


def check_ledger(
    api: Daemon, key: str, accepted: list[Attempt], records: Mapping[str, Record]
) -> None:
    """Every addressed device is accounted for, and those that acknowledged are those we know of.

    Acknowledgements are counted when cursors are stored, a moment after they came: it is waited
    for.
    """
    for place, attempt in enumerate(_spread(accepted, MESSAGES_ASKED_FOR)):
        path = f"/v1/messages/{attempt.id}"
        said: list[str] = []

        def right(path: str = path, attempt: Attempt = attempt, said: list[str] = said) -> bool:
            status, shown = api.get(path, key)
            said[:] = [f"{path}: {status} {shown}"]
            said += _wrong(attempt, shown, records) if status == 200 else ["no answer"]
            return len(said) == 1

        wait_for(right, lambda said=said: f"the ledger is right: {said}")
        if place % (MESSAGES_ASKED_FOR // DEVICES_ASKED_FOR) == 0:
            _check_devices(api, key, attempt, records)


def _spread(accepted: list[Attempt], most: int) -> list[Attempt]:
    if len(accepted) <= most:
        return accepted
    step = (len(accepted) - 1) / (most - 1)
    return [accepted[round(place * step)] for place in range(most)]


def _who_has(attempt: Attempt, records: Mapping[str, Record]) -> set[str]:
    return {
        token
        for token in attempt.target.tokens
        if token in records and attempt.id in records[token].ids
    }


def _wrong(attempt: Attempt, shown: Mapping[str, Any], records: Mapping[str, Record]) -> list[str]:
    addressed, written = shown["addressed"], shown["written"]
    acknowledged, dropped = shown["acknowledged"], shown["dropped"]
    accounted = acknowledged + shown["expired"] + shown["cancelled"] + sum(dropped.values())
    wrong = []
    if addressed != len(attempt.target.tokens):
        wrong.append(f"addressed {addressed}, pushed to {len(attempt.target.tokens)}")
    if addressed != accounted:
        wrong.append(f"addressed {addressed}, accounted for {accounted}")
    if acknowledged != len(_who_has(attempt, records)):
        wrong.append(f"acknowledged {acknowledged}, we have {len(_who_has(attempt, records))}")
    if not acknowledged <= written <= addressed:
        wrong.append(f"not acknowledged {acknowledged} <= written {written} <= {addressed}")
    return wrong


def _check_devices(api: Daemon, key: str, attempt: Attempt, records: Mapping[str, Record]) -> None:
    """The list by device agrees with what each device has."""
    if "all" in attempt.target.to:
        return  # only counts are kept of a message to everyone
    rows: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        query = f"?cursor={cursor}" if cursor else ""
        status, page = api.get(f"/v1/messages/{attempt.id}/devices{query}", key)
        assert status == 200, page
        rows += page["devices"]
        cursor = page["cursor"]
    states = {row["token"]: row["state"] for row in rows}
    assert set(states) == attempt.target.tokens, f"n={attempt.n}: the ledger names {sorted(states)}"
    acknowledged = {token for token, state in states.items() if state == "acknowledged"}
    assert acknowledged == _who_has(attempt, records), f"n={attempt.n}: {rows}"

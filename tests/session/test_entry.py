"""Entries that go out together: their batches, and what each user gets of them."""

from __future__ import annotations

from push.session.entry import PART_BYTES, Entry, batches_of
from push.wire.codecs.binary import BINARY


def stored(offset: int, size_bytes: int = 1, control: dict[str, str] | None = None) -> Entry:
    body = b"x" * size_bytes
    return Entry(f"m{offset}", offset - 1, offset, body, message_id=offset, control=control)


def typing(user: str, body: bytes = b"") -> Entry:
    return Entry(f"t-{user}", 0, 0, body or user.encode(), exclude_user=user)


def bodies(entries: list[Entry]) -> list[list[bytes]]:
    return [[entry.body for entry in batch.entries] for batch in batches_of(entries)]


def test_what_is_for_everybody_is_one_batch_of_about_so_many_bytes() -> None:
    [one] = batches_of([stored(1), stored(2)])
    assert one.uniform
    assert not one.excluded

    parts = batches_of([stored(n, PART_BYTES // 2) for n in range(1, 5)])
    assert [[entry.offset for entry in part.entries] for part in parts] == [[1, 2], [3, 4]]


def test_of_one_user_who_types_the_last_is_enough() -> None:
    entries = [typing("anna", b"1"), typing("bob", b"2"), typing("anna", b"3")]

    assert bodies(entries) == [[b"3", b"2"]]


def test_who_is_typing_is_by_itself_before_the_messages() -> None:
    notes, messages = batches_of([stored(1), typing("anna"), stored(2)])

    assert notes.excluded == {"anna"}
    assert not notes.stored
    assert [entry.offset for entry in messages.entries] == [1, 2]
    assert messages.uniform


def test_who_is_typing_comes_after_what_may_end_a_sessions_following() -> None:
    removal = stored(1, control={"op": "removed", "stream": "group:g", "users": "bob"})

    *_, last = batches_of([typing("anna"), removal, stored(2)])

    assert last.excluded == {"anna"}


def test_an_excluded_user_gets_what_others_type() -> None:
    [batch] = batches_of([typing("anna"), typing("bob"), typing("carol")])
    anna, bob, carol = batch.entries

    assert batch.encoded(BINARY) == b"".join(BINARY.push(each, 0) for each in (anna, bob, carol))
    assert batch.encoded_without(BINARY, "bob") == BINARY.push(anna, 0) + BINARY.push(carol, 0)
    assert [batch.count_without(user) for user in ("bob", "dave")] == [2, 3]
    [alone] = batches_of([typing("anna")])
    assert alone.encoded_without(BINARY, "anna") == b""

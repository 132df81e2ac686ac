"""Tokens, ids and names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.wire.idents import (
    NAME_PATTERN,
    OPAQUE_PATTERN,
    TOKEN_CHARACTERS,
    TOKEN_PATTERN,
    Snowflake,
    device_stream,
    encode_crockford,
    is_conversation,
    is_name,
    is_opaque,
    is_token,
    user_stream,
)

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EPOCH_MS = 1_735_689_600_000
numbers = st.integers(0, 2**63 - 1)


def number_of(token: str) -> int:
    number = 0
    for digit in token[:-1]:
        number = number * 32 + DIGITS.index(digit)
    return number


class Clock:
    def __init__(self, now_ms: int = EPOCH_MS + 1000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def test_known_tokens():
    """Worked by hand: 36 % 37 is the check character U, 37 % 37 is 0."""
    assert encode_crockford(0) == "00000000000000"
    assert encode_crockford(32) == "0000000000010*"
    assert encode_crockford(36) == "0000000000014U"
    assert encode_crockford(37) == "00000000000150"
    assert encode_crockford(2**65 - 1)[:-1] == "Z" * 13


@given(numbers)
def test_a_token_is_13_digits_that_spell_its_number_and_a_check_character(number: int):
    token = encode_crockford(number)
    assert len(token) == TOKEN_CHARACTERS == 14
    assert number_of(token) == number
    assert is_token(token)


@given(numbers, st.integers(0, 13), st.sampled_from(DIGITS + "*~$=U"))
def test_one_wrong_character_is_found(number: int, place: int, character: str):
    token = encode_crockford(number)
    wrong = token[:place] + character + token[place + 1 :]
    assert is_token(wrong) == (wrong == token)


@given(numbers, st.integers(0, 11))
def test_two_neighbours_that_were_swapped_are_found(number: int, place: int):
    token = encode_crockford(number)
    swapped = token[:place] + token[place + 1] + token[place] + token[place + 2 :]
    assert is_token(swapped) == (swapped == token)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0" * 13, "0" * 15, "O" + "0" * 13, "000000000001g0", "0" * 13 + "u", "٠" * 14],
)
def test_what_has_not_the_form_is_no_token(text: str):
    assert not is_token(text)


@given(st.text(max_size=16))
def test_any_text_is_a_token_or_not(text: str):
    assert is_token(text) in (True, False)


# --- Snowflake -----------------------------------------------------------------------------------


def test_an_id_holds_the_time_the_process_and_a_sequence():
    clock = Clock(EPOCH_MS + 5)
    maker = Snowflake(clock, 3)
    first, second = number_of(maker.next_id()), number_of(maker.next_id())
    assert first >> 22 == second >> 22 == 5
    assert (first >> 12) & 0x3FF == (second >> 12) & 0x3FF == 3
    assert second - first == 1


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=40), st.integers(1, 6))
def test_ids_ascend_and_never_repeat_even_when_the_clock_is_set_back(
    steps: list[int], ids_per_step: int
):
    clock = Clock()
    maker = Snowflake(clock, 1)
    made = []
    for step in steps:
        clock.now_ms += step
        made += [number_of(maker.next_id()) for _ in range(ids_per_step)]
    assert made == sorted(set(made))


def test_more_ids_than_a_millisecond_holds_run_into_the_next_one():
    clock = Clock()
    maker = Snowflake(clock, 1)
    made = [maker.next_id() for _ in range(3 * 4096)]
    assert len(set(made)) == len(made)
    assert made == sorted(made, key=number_of)
    assert number_of(made[-1]) >> 22 == 1002


def test_makers_of_different_processes_never_make_the_same_id():
    clock = Clock()
    made = {Snowflake(clock, process).next_id() for process in range(1024)}
    assert len(made) == 1024


def test_a_clock_before_2025_still_gives_valid_ids():
    maker = Snowflake(Clock(0), 1023)
    assert all(is_token(maker.next_id()) for _ in range(10))


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A-Z_0.9@:+=-", "x" * 128, "...", ".a", "a.", "..a"])
def test_names_that_may_be_used(name: str):
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".\n", "x" * 129, "a b", "a\n", "é", "a/b", "{}", "a\x00", "٣"]
)
def test_names_that_may_not(name: str):
    assert not is_name(name)


def test_streams_are_named_by_kind():
    assert device_stream("T") == "dev:T"
    assert user_stream("u:1") == "user:u:1"


def test_ids_of_the_server_and_conversations():
    assert all(map(is_opaque, ["a", "03DMV9EK31WTE=", "0*~$U", "x" * 64, "..."]))
    assert not any(map(is_opaque, ["", ".", "..", "a/b", "a b", "a%", "a\n", "é", "x" * 65]))
    assert all(map(is_conversation, ["user:a", "group:a:b", "user:" + "x" * 128]))
    assert not any(
        map(
            is_conversation,
            ["", "user:", "user:.", "group:..", "a", "User:a", "user:a\n", "user:é"],
        )
    )


@given(st.text(max_size=16))
def test_the_patterns_for_documents_say_the_same_as_the_checks(text: str):
    """As JSON Schema reads them: `$` is the end of the text, so Python's line end is left out."""
    if text.endswith("\n"):
        return
    assert is_name(text) == (re.search(NAME_PATTERN, text) is not None)
    assert is_opaque(text) == (re.search(OPAQUE_PATTERN, text) is not None)
    if is_token(text):
        assert re.search(TOKEN_PATTERN, text)


@given(numbers)
def test_the_pattern_of_tokens_takes_every_token(number: int):
    assert re.search(TOKEN_PATTERN, encode_crockford(number))

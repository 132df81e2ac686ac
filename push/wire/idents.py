"""The names in the protocol: ids of users, topics and groups, device tokens, offsets, streams.

This is the one definition of what an id is, for both interfaces, the SDK and the configuration.
`.` and `..` are no ids anywhere: URL libraries remove such segments from a path, so that a request
about a topic called `..` would arrive as a request about something else.

A token is a 63-bit Snowflake id (41 bits of milliseconds, 10 of the process, 12 of a sequence) as
13 digits of Crockford's base32 and its modulo-37 check character. It names, it never authorises.
Source of the alphabet: Douglas Crockford, "Base 32", https://www.crockford.com/base32.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHECK = _DIGITS + "*~$=U"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_PAIRS = tuple(first + second for first in _DIGITS for second in _DIGITS)
TOKEN_CHARACTERS = 14
_EPOCH_MS = 1_735_689_600_000  # 2025-01-01: 41 bits of milliseconds last until 2094

# As JSON Schema has it. Python's `$` also matches before a line end, so the checks use `fullmatch`.
_NOT_DOTS = r"(?!\.{1,2}$)"
_NAME_BODY = _NOT_DOTS + r"[A-Za-z0-9_.@:+=-]{1,128}"
NAME_PATTERN = f"^{_NAME_BODY}$"
NAME_RULE = "1 to 128 characters of A-Z a-z 0-9 _ . @ : + = -, and neither . nor .."
TOKEN_PATTERN = r"^[0-9A-HJKMNP-TV-Z]{13}[0-9A-HJKMNP-TV-Z*~$=U]$"
OPAQUE_PATTERN = rf"^{_NOT_DOTS}[A-Za-z0-9_.@:+=~*$-]{{1,64}}$"
CONVERSATION_PATTERN = f"^(?:user|group):{_NAME_BODY}$"
_NAME = re.compile(NAME_PATTERN)
_OPAQUE = re.compile(OPAQUE_PATTERN)
_CONVERSATION = re.compile(CONVERSATION_PATTERN)
_OFFSET = re.compile(r"[0-9]{1,16}")

STREAM_ALL = "all"
USER_PREFIX = "user:"
TOPIC_PREFIX = "topic:"
GROUP_PREFIX = "group:"
STREAM_KINDS = (STREAM_ALL, "dev", "user", "topic", "group")  # the part before a colon


def encode_crockford(number: int) -> str:
    """13 digits and a check character for 0 <= `number` < 2**65."""
    first = f"{_DIGITS[number >> 60]}{_PAIRS[number >> 50 & 1023]}{_PAIRS[number >> 40 & 1023]}"
    middle = f"{_PAIRS[number >> 30 & 1023]}{_PAIRS[number >> 20 & 1023]}"
    last = f"{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}{_CHECK[number % 37]}"
    return first + middle + last


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token, its check character included."""
    if len(text) != TOKEN_CHARACTERS:
        return False
    number = 0
    for digit in text[:-1]:
        value = _VALUE.get(digit)
        if value is None:
            return False
        number = number << 5 | value
    return text[-1] == _CHECK[number % 37]


def is_offset(text: str) -> bool:
    """Whether `text` has the form of an offset."""
    return _OFFSET.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether `text` may be a user, topic or group id, `client_id` or `collapse`."""
    return _NAME.fullmatch(text) is not None


def is_opaque(text: str) -> bool:
    """Whether `text` has the form of ids that only the server makes: of messages and sessions."""
    return _OPAQUE.fullmatch(text) is not None


def is_conversation(text: str) -> bool:
    """Whether `text` may name a conversation: `user:` or `group:` and an id."""
    return _CONVERSATION.fullmatch(text) is not None


class Snowflake:
    """Makes ids that ascend with time: `now_ms()` gives the time, `process` tells makers apart.

    Within one maker no id comes twice, also when its clock is set back.
    """

    def __init__(self, now_ms: Callable[[], int], process: int) -> None:
        self._now_ms = now_ms
        self._process = process & 0x3FF
        self._last = 0

    def next_id(self) -> str:
        ticks = self._now_ms() - _EPOCH_MS << 12
        self._last = last = ticks if ticks > self._last else self._last + 1
        milliseconds, sequence = last >> 12, last & 0xFFF
        return encode_crockford((milliseconds << 22 | self._process << 12 | sequence) & (2**63 - 1))


def device_stream(token: str) -> str:
    return f"dev:{token}"


def user_stream(user: str) -> str:
    return USER_PREFIX + user


def topic_stream(topic: str) -> str:
    return TOPIC_PREFIX + topic


def group_stream(group: str) -> str:
    return GROUP_PREFIX + group

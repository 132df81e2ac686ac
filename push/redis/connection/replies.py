"""The types of arguments for Redis and of its replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Argument = bytes | str | int
Answer = TypeVar("Answer")
# Makes an answer of a reply, which is what Redis says: None, int, bytes, or a list of such.
Decode = Callable[[Any], Answer]


def as_it_is(reply: Any) -> Any:
    return reply

"""The types of arguments for Redis and of its replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgpack

Argument = bytes | str | int
Answer = TypeVar("Answer")
# Makes an answer of a reply, which is what Redis says: None, int, bytes, or a list of such.
Decode = Callable[[Any], Answer]


def as_it_is(reply: Any) -> Any:  # Any: it is decoded by the caller
    return reply


def unpacked(reply: bytes) -> Any:  # Any: it is decoded by the caller
    """What a script has packed (push/lua/lib/packed.lua): texts come as bytes, as in any reply."""
    return msgpack.unpackb(reply, raw=True)


def parsed_info(answer: bytes) -> dict[str, str]:
    """What `INFO` says: the value of each field, as text."""
    lines = answer.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))

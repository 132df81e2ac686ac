"""Names that the demo makes up."""

from __future__ import annotations

import secrets
from collections.abc import Callable

_QUALITIES = (
    "amber", "bold", "brave", "bright", "calm", "clear", "copper", "eager", "gentle", "golden",
    "happy", "keen", "kind", "lucky", "merry", "misty", "nimble", "noble", "quick", "quiet",
    "silver", "sunny", "swift", "warm", "wise",
)  # fmt: skip
_ANIMALS = (
    "badger", "beaver", "crane", "falcon", "finch", "fox", "heron", "ibis", "koala", "lark",
    "lynx", "marten", "otter", "owl", "panda", "puffin", "raven", "robin", "seal", "stork",
    "swan", "tapir", "tern", "wren", "yak",
)  # fmt: skip


def made_up_name(is_taken: Callable[[str], bool]) -> str:
    """As `quiet-otter`, with a number after it where that is taken."""
    name = f"{secrets.choice(_QUALITIES)}-{secrets.choice(_ANIMALS)}"
    found, number = name, 2
    while is_taken(found):
        found, number = f"{name}-{number}", number + 1
    return found

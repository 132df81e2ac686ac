"""What a key may do."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class KeyOwner(Struct, frozen=True):
    """The key that a request came with."""

    name: Annotated[str, Meta(description="as the audit and the list of keys call it")]
    scopes: Annotated[list[str], Meta(description="what it may do, in alphabetical order")]

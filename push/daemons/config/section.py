"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

# A field's help is the `description` of its Meta.
Count = Annotated[int, Meta(ge=0)]
PositiveSeconds = Annotated[int, Meta(ge=1, le=86_400)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the configuration."""

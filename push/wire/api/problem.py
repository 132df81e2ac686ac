"""What a request is answered with that did not succeed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType


# All members but the last three are always written. The defaults are for a reader: a proxy before
# the API may answer with less.
class Problem(Struct, frozen=True):
    """RFC 9457. `code` is stable and for programs, `detail` for people."""

    type: Annotated[str, Meta(description="the path of a page about the code")] = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    field: (
        Annotated[str, Meta(description="the field that is wrong, as `to.token`")] | UnsetType
    ) = UNSET
    violated_policies: (
        Annotated[list[str], Meta(description="of `rate_limited`: the limits that were reached")]
        | UnsetType
    ) = msgspec.field(name="violated-policies", default=UNSET)
    reasons: Annotated[list[str], Meta(description="of `/readyz`: all of them")] | UnsetType = UNSET

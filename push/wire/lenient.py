"""JSON whose numbers are larger than any float: read as infinity instead of refused.

The data of a message is its publisher's, and a server hands it on as it came. A client that took
`1e400` for a broken frame would get the message again on each connection and end it, again and
again.
"""

from __future__ import annotations

import json
from typing import Any

_MAX_DIGITS = 4300  # of an integer that Python converts


def decode_leniently(raw: bytes) -> Any:
    """The value of `raw`. Raises `ValueError` and `RecursionError` for a text that is not JSON."""
    value = json.loads(raw, parse_int=_parse_int)
    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    return value


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)

"""The answer to a write that is in effect when it is answered (docs/delivery.md)."""

from __future__ import annotations

from collections.abc import Sequence

from push.http.framework.route import NO_CONTENT, DocumentedResponse, Response, json_answer
from push.wire.api.common import InEffect

REPLY_UNCONFIRMED = DocumentedResponse("As 204, but some nodes did not confirm it yet.", InEffect)


def in_effect(silent: Sequence[str]) -> Response:
    """204; or 200, where nodes did not confirm."""
    return json_answer(200, InEffect(list(silent))) if silent else NO_CONTENT

"""The answer to a write that is in effect when it is answered (delivery.md, "Writes in effect")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from push.http.framework.route import NO_CONTENT, DocumentedResponse, Response, json_answer

Unconfirmed = Annotated[
    list[str],
    Meta(
        description=(
            "nodes that did not confirm within two seconds: they find out before they next admit "
            "or authorise anybody"
        )
    ),
]


class InEffect(Struct):
    """It is done, and in effect everywhere but on the nodes that are named."""

    silent: Unconfirmed


REPLY_UNCONFIRMED = DocumentedResponse("As 204, but some nodes did not confirm it yet.", InEffect)


def in_effect(silent: Sequence[str]) -> Response:
    """204; or 200, where nodes did not confirm."""
    return json_answer(200, InEffect(list(silent))) if silent else NO_CONTENT

"""Figures over time."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.common import Name, SilentNodes, check_names

SeriesName = Literal[
    "connections",
    "pushes",
    "deliveries",
    "acknowledgements",
    "ack_p50_ms",
    "ack_p99_ms",
    "drops",
    "refusals",
    "backlog",
    "redis_ms",
]
# How many values there are, by the step in seconds.
SLOTS_OF_STEP = {1: 300, 10: 720, 60: 1440}


class SeriesQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which figure, of which node (absent: of the whole cluster), how far apart."""

    name: Annotated[SeriesName, Meta(description="which figure")]
    node: Annotated[Name, Meta(description="one node")] | UnsetType = UNSET
    step: Annotated[
        int,
        Meta(
            description="seconds of a value: 1 (for 5 minutes), 10 (2 hours) or 60 (24 hours)",
            extra_json_schema={"enum": list(SLOTS_OF_STEP)},
        ),
    ] = 1

    def __post_init__(self) -> None:
        check_names("node", self.node)
        if self.step not in SLOTS_OF_STEP:
            raise ValueError("`step` expected 1, 10 or 60")


class Series(Struct, frozen=True):
    """The value of each `step` seconds from `start` on, which is in milliseconds since 1970 UTC."""

    name: SeriesName
    step: int
    start: int
    values: Annotated[
        list[float | int | None], Meta(description="null: nobody was there, or nothing to measure")
    ]
    silent: SilentNodes

"""The daemons of a deployment, their statistics and health."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.defaults import MAX_DRAIN_RATE_PER_SECOND


class NodeEntry(Struct, frozen=True):
    """A daemon that is registered. `started`: in milliseconds since 1970 UTC."""

    service: str
    instance: Annotated[str, Meta(description="the name of its node")]
    addresses: Annotated[dict[str, str], Meta(description="where devices connect, by carrier")]
    sessions: int
    capacity: Annotated[int, Meta(description="sessions it can hold, 0 = no limit")]
    version: str
    draining: bool
    weight: int
    zone: str
    started: int


class NodeList(Struct, frozen=True):
    """All daemons, by service and name."""

    nodes: list[NodeEntry]


class NodeStats(Struct, frozen=True):
    """A daemon of the cluster. `counters` count since it was started."""

    service: str
    instance: str
    sessions: int
    capacity: Annotated[int, Meta(description="sessions it can hold, 0 = no limit")]
    version: str
    draining: bool
    counters: dict[str, int]


class Stats(Struct, frozen=True):
    """The whole cluster: the sums, and the daemons they come from."""

    sessions: int
    counters: dict[str, int]
    nodes: list[NodeStats]


class DrainBody(Struct, forbid_unknown_fields=True, frozen=True):
    """How a connector is drained."""

    rate: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_DRAIN_RATE_PER_SECOND,
                description="sessions a second; the connector's own if absent",
            ),
        ]
        | None
    ) = None


class Draining(Struct, frozen=True):
    """A connector was asked to drain."""

    node: str
    draining: bool = True


class Health(Struct, frozen=True):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(Struct, frozen=True):
    """The daemon can work."""

    status: Literal["ok"] = "ok"
    notes: list[str] | UnsetType = UNSET

"""What became of a message, as counts and device by device, and cancelling it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

DELIVERY_STATES = ("stored", "written", "acknowledged", "expired", "cancelled", "dropped")


class MessageLedger(Struct, frozen=True):
    """What became of a message. Counts are devices; times are milliseconds since 1970 UTC.

    `addressed` is for how many it was meant, `stored` for how many it was kept, `written` to how
    many it was sent. `acknowledged`, `expired`, `cancelled` and `dropped` are its ends.
    """

    id: str
    ts: int
    to: Annotated[Any, Meta(description="as it was pushed")]
    expires: int | None = None
    addressed: int = 0
    stored: int = 0
    written: int = 0
    acknowledged: int = 0
    expired: int = 0
    cancelled: int = 0
    dropped: Annotated[dict[str, int], Meta(description="how many, by reason")] = {}

    @property
    def dropped_devices(self) -> int:
        return sum(self.dropped.values())


class DeviceDelivery(Struct, frozen=True, omit_defaults=True):
    """What became of a message for one device. `ts` is since when."""

    token: str
    state: Annotated[str, Meta(extra_json_schema={"enum": list(DELIVERY_STATES)})]
    reason: Annotated[str, Meta(description="why it was dropped")] | None = None
    ts: int | None = None
    user: (
        Annotated[str, Meta(description="the user that it was addressed to, if not the device")]
        | None
    ) = None


class DeliveryPage(Struct, frozen=True):
    """A page of devices. `cursor` asks for the next one; null: this is the last."""

    devices: list[DeviceDelivery]
    cursor: str | None = None


class Cancelled(Struct, frozen=True):
    """For how many devices a message was cancelled."""

    cancelled: int

"""Who a push may address: the one table for the HTTP body, its document and the command line."""

from __future__ import annotations

from typing import NamedTuple


class PushTarget(NamedTuple):
    """A member of `to`. `several`: it is a list, of what the member `singular` names one of."""

    name: str
    description: str
    singular: str | None = None

    @property
    def several(self) -> bool:
        return self.singular is not None


PUSH_TARGETS = (
    PushTarget("token", "one device"),
    PushTarget("tokens", "several devices", "token"),
    PushTarget("user", "all devices of a user"),
    PushTarget("users", "all devices of several users", "user"),
    PushTarget("topic", "all devices that follow a topic"),
    PushTarget("group", "the members of a group"),
    PushTarget(
        "ip",
        "sessions that are online now from an address, or a network such as `10.0.0.0/8`",
    ),
    PushTarget("all", "every device"),
)
DESCRIPTION_OF_TARGET = {target.name: target.description for target in PUSH_TARGETS}
PLURAL_OF_TARGET = {
    target.singular: target.name for target in PUSH_TARGETS if target.singular is not None
}

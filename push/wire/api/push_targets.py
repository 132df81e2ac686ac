"""What a push may address: the one table for the HTTP body, its document, the publishing service
and the command line."""

from __future__ import annotations

from typing import Literal, NamedTuple

ValueKind = Literal["token", "name", "network", "everyone"]


class PushTarget(NamedTuple):
    """A member of `to`. `several`: it is a list, of what the member `singular` names one of.

    `value`: what the member holds, or what each item of its list is. `counted`: the ledger keeps
    counts alone, no line for each device.
    """

    name: str
    description: str
    value: ValueKind
    singular: str | None = None
    counted: bool = False

    @property
    def several(self) -> bool:
        return self.singular is not None


PUSH_TARGETS = (
    PushTarget("token", "one device", "token"),
    PushTarget("tokens", "several devices", "token", "token"),
    PushTarget("user", "all devices of a user", "name"),
    PushTarget("users", "all devices of several users", "name", "user"),
    PushTarget("topic", "all devices that follow a topic", "name", counted=True),
    PushTarget("group", "the members of a group", "name", counted=True),
    PushTarget(
        "ip",
        "sessions that are online now from an address, or a network such as `10.0.0.0/8`",
        "network",
        counted=True,
    ),
    PushTarget("all", "every device", "everyone", counted=True),
)
TARGET_OF_NAME = {target.name: target for target in PUSH_TARGETS}
DESCRIPTION_OF_TARGET = {target.name: target.description for target in PUSH_TARGETS}
PLURAL_OF_TARGET = {
    target.singular: target.name for target in PUSH_TARGETS if target.singular is not None
}

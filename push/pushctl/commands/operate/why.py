"""Why did a message not arrive at a device? From what the server knows to one reason.

The rules are those of the console (push/web/console/lib/why.js), and the sentences are its English
texts, so that both say the same; tests compare them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from push.sdk.backend import Ban, DeviceDelivery, MessageLedger

DROPPED = (
    "backlog",
    "retention",
    "collapsed",
    "too_large",
    "unacknowledged",
    "unbound",
    "unsubscribed",
    "forgotten",
    "erased",
    "congested",
)
# Targets whose ledger has counts alone.
COUNTED = ("topic", "group", "ip", "all")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a message and a device.

    `device`: as `GET /v1/devices/{token}` has it; None: there is none. `delivery`: its line in the
    ledger; None: it has none; `has_lines` tells whether lines are kept. `waits`, `is_member`: None
    where that is not known. `now`: ms since 1970 UTC.
    """

    message: MessageLedger
    token: str
    device: Mapping[str, Any] | None
    delivery: DeviceDelivery | None
    has_lines: bool
    waits: bool | None = None
    is_member: bool | None = None
    bans: list[Ban] = []
    now: int

    @property
    def target(self) -> str:
        """The name of the one member of `to`."""
        return next(iter(self.message.to or {}), "")

    @property
    def is_over(self) -> bool:
        return self.message.expires is not None and self.message.expires <= self.now

    @property
    def ban(self) -> Ban | None:
        """What keeps the device out: a ban of it, or of its user."""
        user = self.device["user"] if self.device is not None else None
        for ban in self.bans:
            holds = ban.until is None or ban.until > self.now
            if holds and (ban.token == self.token or (user is not None and ban.user == user)):
                return ban
        return None


def reason_of(facts: Facts) -> str:
    """The code of the reason, which `sentences` puts into words."""
    delivery = facts.delivery
    if delivery is not None:
        ended = _end_of(facts, delivery)
        if ended:
            return ended
    if facts.device is None:
        return "unknown_device"
    if delivery is not None or facts.waits:
        return _waiting(facts, facts.device)
    return _not_addressed(facts, facts.device) if facts.has_lines else _counted(facts, facts.device)


def _end_of(facts: Facts, delivery: DeviceDelivery) -> str:
    """What has an end: acknowledged, cancelled, expired, dropped."""
    if delivery.state in ("acknowledged", "cancelled"):
        return delivery.state
    if delivery.state == "dropped":
        return f"dropped_{delivery.reason}" if delivery.reason in DROPPED else "dropped_other"
    if delivery.state == "expired" or facts.is_over:
        if facts.ban is not None:
            return "expired_banned"
        return _expired_while(facts.device, facts.message)
    return ""


def _expired_while(device: Mapping[str, Any] | None, message: MessageLedger) -> str:
    """Whether the device was seen while the message lived."""
    if device is None or device["online"]:
        return "expired"
    if device["seen"] is None:
        return "expired_never_connected"
    return "expired_offline" if device["seen"] < message.ts else "expired"


def _waiting(facts: Facts, device: Mapping[str, Any]) -> str:
    """It is kept for the device, and the device has not acknowledged it."""
    is_sent = facts.delivery is not None and facts.delivery.state == "written"
    if facts.ban is not None:
        return "banned"
    if device["online"]:
        return "unanswered" if is_sent else "waits_online"
    if is_sent:
        return "unanswered_offline"
    return "never_connected" if device["seen"] is None else "offline"


def _not_addressed(facts: Facts, device: Mapping[str, Any]) -> str:
    """The ledger keeps a line for each device that was addressed, and this one has none."""
    message, to = facts.message, facts.message.to
    if device["created"] > message.ts:
        return "registered_later"
    users = {"user": [to.get("user")], "users": to.get("users")}.get(facts.target)
    if users is not None and device["user"] not in users:
        return "not_bound"
    if message.stored == 0 and users is not None:
        return "online_only"
    return "not_addressed"


def _counted(facts: Facts, device: Mapping[str, Any]) -> str:
    """A topic, a group, a network, all: counts are kept, and no line for each device."""
    message = facts.message
    if device["created"] > message.ts:
        return "registered_later"
    if facts.target == "topic" and message.to["topic"] not in device["topics"]:
        return "not_subscribed"
    if facts.target == "group" and facts.is_member is False:
        return "not_member"
    if facts.target == "ip":
        return "by_ip"
    if message.stored == 0:
        return "online_only"
    if 0 < message.addressed <= message.acknowledged:
        return "counted_all"
    if facts.ban is not None:
        return "banned"
    return "counted_gone" if facts.waits is False or facts.is_over else "counted_open"


def outcome_of(message: MessageLedger, now: int) -> str:
    """Reading of the whole message, without a device."""
    if message.addressed == 0:
        return "nobody"
    if message.acknowledged >= message.addressed:
        return "all"
    if message.stored == 0:
        return "unstored"
    ends = message.acknowledged + message.expired + message.cancelled + message.dropped_devices
    is_open = message.expires is None or message.expires > now
    return "open" if message.addressed > ends and is_open else "ended"


def sentences(reason: str, values: Mapping[str, str]) -> Iterator[str]:
    """The reason in words, and what to do, if there is something. `values` are put into them."""
    for key in (f"why.{reason}", f"why.{reason}.do"):
        if key in _texts():
            yield filled(key, values)


def filled(key: str, values: Mapping[str, str]) -> str:
    """A text of the console with `values` for the names in braces."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "-"), _texts()[key])


@cache
def _texts() -> dict[str, str]:
    text = files("push").joinpath("web", "console", "en.json").read_text("utf-8")
    texts: dict[str, str] = json.loads(text)
    return texts

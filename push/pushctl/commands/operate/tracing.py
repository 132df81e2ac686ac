"""What `pushctl trace` asks the server, and how it puts the answer into words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from push.pushctl.commands.operate.why import (
    COUNTED,
    Facts,
    filled,
    outcome_of,
    reason_of,
    sentences,
)
from push.pushctl.terminal import output
from push.sdk.backend import Ban, DeviceDelivery, MessageLedger, PushAPI
from push.sdk.errors import PushAPIError
from push.wire.api.common import MAX_PAGE

T = TypeVar("T")

# Of each list so many are looked through at most: what was not found then is not known.
MOST_ROWS = 5000
_MAY_BE_MISSING = ("not_found", "unknown_token", "unknown_message", "unknown_group")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def now_ms() -> int:
    return int(time.time() * 1000)


def or_none(ask: Callable[[], T], *codes: str) -> T | None:
    """The answer; None for a refusal with one of these codes."""
    try:
        return ask()
    except PushAPIError as error:
        if error.code not in codes:
            raise
        return None


def message_of(api: PushAPI, id: str) -> MessageLedger | None:
    return or_none(lambda: api.message(id), "unknown_message", "invalid")


def device_of(api: PushAPI, token: str) -> dict[str, Any] | None:
    return or_none(lambda: api.device(token), "unknown_token", "invalid")


def facts_of(api: PushAPI, message: MessageLedger, token: str) -> Facts:
    """All that tells why the message is not at the device. Without the scope `admin` bans are not
    known, without `chat` not who is in a group."""
    device = device_of(api, token)
    target = next(iter(message.to or {}), "")
    has_lines = target not in COUNTED
    delivery = None
    if has_lines:
        lines = or_none(lambda: _look_for_line(api, message.id, token), *_MAY_BE_MISSING)
        has_lines = lines is not None
        delivery = lines[0] if lines else None
    return Facts(
        message=message,
        token=token,
        device=device,
        delivery=delivery,
        has_lines=has_lines,
        waits=_waits(api, message.id, token) if device is not None else None,
        is_member=_is_member(api, message, device) if device is not None else None,
        bans=bans_of(api, token, device),
        now=now_ms(),
    )


def _look_for_line(api: PushAPI, id: str, token: str) -> list[DeviceDelivery]:
    lines = islice(api.each_message_device(id), MOST_ROWS)
    return list(islice((line for line in lines if line.token == token), 1))


def _waits(api: PushAPI, id: str, token: str) -> bool | None:
    """Whether it is among what waits for the device; None: there is more than is looked through."""
    cursor: str | None = None
    for _ in range(MOST_ROWS // MAX_PAGE):
        page = api.waiting_messages(token, cursor=cursor, limit=MAX_PAGE)
        if any(each.id == id for each in page.messages):
            return True
        cursor = page.cursor
        if cursor is None:
            return False
    return None


def _is_member(api: PushAPI, message: MessageLedger, device: dict[str, Any]) -> bool | None:
    group, user = message.to.get("group"), device.get("user")
    if group is None:
        return None
    if user is None:
        return False
    members = islice(api.each_member(group), MOST_ROWS)
    return or_none(
        lambda: any(member.user == user for member in members), "forbidden", *_MAY_BE_MISSING
    )


def bans_of(api: PushAPI, token: str, device: dict[str, Any] | None) -> list[Ban]:
    """Of the device and its user."""
    user = device.get("user") if device is not None else None
    bans = islice(api.each_ban(), MOST_ROWS)

    def found() -> list[Ban]:
        return [ban for ban in bans if ban.token == token or (user and ban.user == user)]

    return or_none(found, "forbidden") or []


# --- Words --------------------------------------------------------------------------------------


def why(facts: Facts) -> tuple[str, list[str]]:
    """The code of the reason, and what it means in sentences."""
    device, delivery, message, ban = facts.device or {}, facts.delivery, facts.message, facts.ban
    values = {
        "token": facts.token,
        "device": facts.token,
        "user": str(device.get("user") or "no user"),
        "node": str(device.get("node") or "-"),
        "backlog": output.counted(int(device.get("backlog") or 0), "message") + " waiting",
        "seen": moment(device.get("seen"), facts.now),
        "created": moment(device.get("created"), facts.now),
        "ts": moment(message.ts, facts.now),
        "expires": moment(message.expires, facts.now),
        "since": moment(delivery.ts if delivery is not None else None, facts.now),
        "to": target_of(message.to),
        "until": "until it is lifted",
        "banned": "",
        "reason": (delivery.reason if delivery is not None else None) or "no reason is known",
        "addressed": f"{message.addressed:,}",
        "acknowledged": f"{message.acknowledged:,}",
    }
    if ban is not None:
        values["banned"] = ban.token or ban.user or ""
        if ban.until is not None:
            values["until"] = f"until {moment(ban.until, facts.now)}"
    reason = reason_of(facts)
    return reason, list(sentences(reason, values))


def outcome(message: MessageLedger) -> tuple[str, str]:
    """The code of what became of the whole message, and a sentence."""
    now = now_ms()
    ends = {
        "expired": message.expired,
        "cancelled": message.cancelled,
        "dropped": message.dropped_devices,
    }
    acknowledged = message.acknowledged
    is_open = max(0, message.addressed - acknowledged - sum(ends.values()))
    counts = {"acknowledged": acknowledged, "open": is_open, **ends}
    code = outcome_of(message, now)
    values = {
        "to": target_of(message.to),
        "n": _devices(message.addressed),
        "list": ", ".join(_counted(f"became.{name}", n) for name, n in counts.items() if n > 0),
        "expires": moment(message.expires, now),
    }
    return code, filled(f"became-all.{code}", values)


def _devices(count: int) -> str:
    return _counted("became.devices", count)


def _counted(key: str, count: int) -> str:
    return filled(f"{key}.{'one' if count == 1 else 'other'}", {"n": f"{count:,}"})


def moment(ms: int | None, now: int) -> str:
    """`2027-01-15T08:00:00Z (3 h ago)`."""
    if ms is None:
        return "an unknown time"
    passed = abs(now - ms) // 1000
    shown = next((f"{passed // size} {unit}" for size, unit in _UNITS if passed >= size), "0 s")
    return f"{output.utc_time(ms)} ({f'{shown} ago' if ms <= now else f'in {shown}'})"


def target_of(to: dict[str, Any]) -> str:
    """`user ada`, `3 tokens`, `all`."""
    return ", ".join(map(_one_target, to.items())) or "nobody"


def _one_target(item: tuple[str, Any]) -> str:
    name, value = item
    if value is True:
        return name
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"{len(list(value))} {name}"
    return f"{name} {value}"

"""`pushctl trace`: the story of a message or a device, and why something did not arrive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
import msgspec

from push.pushctl.commands.messages import ledger_rows
from push.pushctl.commands.operate.tracing import (
    bans_of,
    device_of,
    facts_of,
    message_of,
    moment,
    now_ms,
    or_none,
    outcome,
    why,
)
from push.pushctl.terminal import output
from push.pushctl.terminal.errors import Failure
from push.pushctl.terminal.options import Common, common_options
from push.sdk.backend import Ban, DeviceDelivery, MessageLedger, PushAPI
from push.wire.api.operate.events import DeviceEvent
from push.wire.api.operate.messages import WaitingMessage

MOST_DEVICES = 10
MOST_WAITING = 5


@click.command("trace")
@click.argument("subject", metavar="MESSAGE|TOKEN")
@click.option("--device", metavar="TOKEN", help="Why MESSAGE did not arrive at this device.")
@click.option(
    "--events",
    "events_wanted",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="How much of a device's timeline is shown.",
)
@common_options
@click.pass_obj
def trace(common: Common, subject: str, device: str | None, events_wanted: int) -> None:
    """Tell the story of a message or of a device, and why something did not arrive.

    Of a message: what became of it, and for each device that has not acknowledged it (up to 10)
    why. Of a device: what is known of it, its timeline, and what waits for it. A key with the scope
    `admin` sees bans, too, and one with `chat` who is in a group.

    \b
    Examples:
      pushctl trace 03DMV9EK31WTE=
      pushctl trace 03DMV9EK31WTE= --device 03DMV9F0J4AQ8Z
      pushctl trace 03DMV9EK31WTE= --json | jq -r '.devices[].why'
    """
    with common.api() as api:
        message = message_of(api, subject)
        if message is not None:
            _trace_message(common, api, message, device)
            return
        if device is not None:
            raise Failure(f"{subject}: no message of this id is known", "unknown_message")
        found = device_of(api, subject)
        if found is None:
            raise Failure(f"{subject}: no message and no device is known by it", "not_found")
        _trace_device(common, api, subject, found, events_wanted)


def _trace_message(
    common: Common, api: PushAPI, message: MessageLedger, device: str | None
) -> None:
    code, text = outcome(message)
    tokens = [device] if device is not None else _not_acknowledged(api, message)
    lines = [_line(api, message, token) for token in tokens[:MOST_DEVICES]]
    more = len(tokens) > MOST_DEVICES
    if common.json:
        story = {"message": message, "outcome": code, "text": text, "devices": lines, "more": more}
        output.print_json(story)
        return
    output.print_fields(ledger_rows(message))
    output.say("")
    output.say(text)
    for line in lines:
        output.say("")
        output.say(f"{line['token']}: {line['text']}")
    if more:
        output.say("")
        output.say(f"There are more such devices: `pushctl message {message.id} --devices`.")


def _not_acknowledged(api: PushAPI, message: MessageLedger) -> list[str]:
    """The devices that have a line and have not acknowledged it, one more than are shown."""

    def found() -> list[str]:
        lines = (line for line in api.each_message_device(message.id) if _is_not_there(line))
        return [line.token for line in islice(lines, MOST_DEVICES + 1)]

    return or_none(found, "not_found", "unknown_message") or []


def _is_not_there(line: DeviceDelivery) -> bool:
    return line.state != "acknowledged"


def _line(api: PushAPI, message: MessageLedger, token: str) -> dict[str, Any]:
    facts = facts_of(api, message, token)
    reason, said = why(facts)
    state = facts.delivery.state if facts.delivery is not None else None
    return {"token": token, "state": state, "why": reason, "text": " ".join(said)}


# --- A device -----------------------------------------------------------------------------------


def _trace_device(
    common: Common, api: PushAPI, token: str, device: dict[str, Any], wanted: int
) -> None:
    timeline = api.device_events(token, limit=wanted)
    waiting = api.waiting_messages(token, limit=MOST_WAITING)
    bans = bans_of(api, token, device)
    stuck = _first_that_waits(api, waiting.messages, token)
    if common.json:
        story = {
            "device": device,
            "bans": bans,
            "events": timeline.events,
            "waiting": waiting.messages,
            "more": waiting.cursor is not None,
            "stuck": stuck,
        }
        output.print_json(story)
    else:
        output.print_fields(_device_rows(device, bans))
        _print_timeline(timeline.events)
        _print_waiting(waiting.messages, more=waiting.cursor is not None)
        if stuck is not None:
            output.say("")
            output.say(f"{stuck['message']}: {stuck['text']}")
    common.fail_if_silent(timeline.silent)


def _first_that_waits(
    api: PushAPI, waiting: list[WaitingMessage], token: str
) -> dict[str, Any] | None:
    """Why the first message that waits has not arrived: those after it wait for it."""
    for each in waiting:
        message = message_of(api, each.id)
        if message is not None:
            return {"message": each.id, **_line(api, message, token)}
    return None


def _device_rows(device: dict[str, Any], bans: list[Ban]) -> Iterator[tuple[str, str | None]]:
    now = now_ms()
    yield "token", str(device["token"])
    yield "user", device.get("user")
    yield "app", f"{device.get('app')} on {device.get('platform')}"
    yield "registered", moment(device.get("created"), now)
    if device.get("online"):
        yield "online", f"at {device.get('node')}, session {device.get('session')}"
    elif device.get("seen") is None:
        yield "offline", "it has never connected"
    else:
        yield "offline", f"last seen {moment(device['seen'], now)}"
    yield "topics", ", ".join(map(str, device.get("topics") or ())) or None
    yield "waiting", output.counted(int(device.get("backlog") or 0), "message")
    for ban in bans:
        end = "until it is lifted" if ban.until is None else f"until {moment(ban.until, now)}"
        yield "banned", f"{'the device' if ban.token else f'user {ban.user}'}, {end}"


def _print_timeline(events: list[DeviceEvent]) -> None:
    output.say("")
    headings = ("time", "event", "node", "session", "what")
    rows = (
        (output.utc_time(each.ts), each.event, each.node, each.session, _what(each))
        for each in reversed(events)
    )
    output.print_table(headings, rows, "nothing has happened to it in the last days")


def _what(event: DeviceEvent) -> str | None:
    parts = [part for part in (event.code, event.reason) if part]
    if event.n is not None:
        parts.append(output.counted(event.n, "message" if event.event != "repaired" else "session"))
    return ", ".join(parts) or None


def _print_waiting(waiting: list[WaitingMessage], *, more: bool) -> None:
    if not waiting:
        return
    output.say("")
    rows = (
        (
            each.id,
            each.stream,
            output.utc_time(each.ts),
            output.utc_time(each.expires),
            _short(msgspec.to_builtins(each.data)),
        )
        for each in waiting
    )
    output.print_table(("waiting", "stream", "pushed", "expires", "data"), rows, "nothing waits")
    if more:
        output.say("and more")


def _short(data: object) -> str:
    text = output.one_line(data)
    return text if len(text) <= 40 else f"{text[:40]}…"

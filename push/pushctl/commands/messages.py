"""`pushctl message` and `pushctl cancel`: what became of a message, and cancelling it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.options import Common, common_options
from push.sdk.backend import DeviceDelivery, MessageLedger

MAX_NAMED_TARGETS = 3


@click.command("message")
@click.argument("message_id", metavar="ID")
@click.option("--devices", is_flag=True, help="One line for each device instead of the counts.")
@common_options
@click.pass_obj
def message(common: Common, message_id: str, devices: bool) -> None:
    """Show what became of the message ID, as `push` printed it.

    Counts are devices, with their share of those addressed. With --devices each device, its state
    (stored, written, acknowledged, expired, cancelled, dropped), since when, and why.

    \b
    Examples:
      pushctl message 03DMV9EK31WTE=
      pushctl message 03DMV9EK31WTE= --json | jq .acknowledged
      pushctl message 03DMV9EK31WTE= --devices | grep dropped
    """
    with common.api() as api:
        if devices:
            deliveries = api.each_message_device(message_id)
            headings = ("device", "state", "since", "reason")
            common.print_list(deliveries, headings, _device_cells, "no devices")
        else:
            ledger = api.message(message_id)
            common.print_one(ledger, ledger_rows(ledger))


@click.command("cancel")
@click.argument("message_id", metavar="ID")
@common_options
@click.pass_obj
def cancel(common: Common, message_id: str) -> None:
    """Cancel the message ID where it was not delivered yet.

    \b
    Examples:
      pushctl cancel 03DMV9EK31WTE=
      pushctl cancel 03DMV9EK31WTE= --json | jq .cancelled
    """
    with common.api() as api:
        cancelled = api.cancel(message_id)
    devices = output.counted(cancelled, "device")
    common.print_done(f"{message_id}: cancelled for {devices}", {"cancelled": cancelled})


def ledger_rows(ledger: MessageLedger) -> Iterator[tuple[str, str]]:
    """The message, then its counts from `addressed` down; each reason for a drop by itself."""
    yield "id", ledger.id
    yield "to", _target(ledger.to)
    yield "pushed", output.utc_time(ledger.ts)
    if ledger.expires is not None:
        yield "expires", output.utc_time(ledger.expires)
    counts = {
        "addressed": ledger.addressed,
        "stored": ledger.stored,
        "written": ledger.written,
        "acknowledged": ledger.acknowledged,
        "expired": ledger.expired,
        "cancelled": ledger.cancelled,
        "dropped": ledger.dropped_devices,
    }
    width = max(len(str(count)) for count in counts.values())
    for name, count in counts.items():
        # Rounded down, so that 100% means all.
        share = f"  {count * 100 // ledger.addressed:>3}%" if count and ledger.addressed else ""
        yield name, f"{count:>{width}}{share}"
    for reason, count in sorted(ledger.dropped.items()):
        yield "", f"{count:>{width}}  {reason}"


def _target(to: dict[str, Any]) -> str:
    """`user ada`, `tokens T, U`, `1000 tokens`, `all`."""
    shown = []
    for name, value in to.items():
        if value is True:
            shown.append(name)
        elif isinstance(value, list) and len(value) > MAX_NAMED_TARGETS:
            shown.append(f"{len(value)} {name}")
        elif isinstance(value, list):
            shown.append(f"{name} {', '.join(map(str, value))}")
        else:
            shown.append(f"{name} {value}")
    return ", ".join(shown)


def _device_cells(delivery: DeviceDelivery) -> tuple[str | None, ...]:
    since = output.utc_time(delivery.ts)
    return delivery.token, delivery.state, since, delivery.reason

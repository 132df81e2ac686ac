"""`pushctl message` and `pushctl cancel`: what became of a message, and no more of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from push.pushctl.options import Common, common_options, print_json
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
        if not devices:
            _print_ledger(api.message(message_id), common)
            return
        for delivery in api.each_message_device(message_id):
            if common.json:
                print_json(delivery)
            else:
                click.echo(_device_line(delivery))


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
    if common.json:
        print_json({"cancelled": cancelled})
    else:
        click.echo(f"{message_id}: cancelled for {_counted(cancelled, 'device')}")


def _print_ledger(ledger: MessageLedger, common: Common) -> None:
    if common.json:
        print_json(ledger)
        return
    for name, value in _rows(ledger):
        click.echo(f"{name:<12}  {value}")


def _rows(ledger: MessageLedger) -> Iterator[tuple[str, str]]:
    """The message, then the way down from who was addressed; each reason for a drop by itself."""
    yield "id", ledger.id
    yield "to", _target(ledger.to)
    yield "pushed", _local_time(ledger.ts)
    if ledger.expires is not None:
        yield "expires", _local_time(ledger.expires)
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
        # Rounded down: 100% are really all.
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


def _device_line(delivery: DeviceDelivery) -> str:
    since = "-" if delivery.ts is None else _local_time(delivery.ts)
    return f"{delivery.token}  {delivery.state:<12}  {since}  {delivery.reason or ''}".rstrip()


def _local_time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M:%S")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

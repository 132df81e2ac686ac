"""`pushctl audit`, `series` and `config`: who changed what, figures over time, settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import click

from push.pushctl.terminal import output
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.periods import Period, ms_before_now
from push.sdk.backend import PushAPI
from push.wire.api.common import MAX_PAGE
from push.wire.api.operate.audit import AuditEntry
from push.wire.api.operate.config import Configuration, SettingOrigin
from push.wire.api.operate.series import SLOTS_OF_STEP, SeriesName


@click.command("audit")
@click.option(
    "--since", type=Period(), metavar="PERIOD", help="Only the last PERIOD, as 30m, 12h or 7d."
)
@click.option("--key-name", metavar="NAME", help="Only what was done with this API key.")
@click.option(
    "--count", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@common_options
@click.pass_obj
def audit(common: Common, since: int | None, key_name: str | None, count: int) -> None:
    """List who changed what, and whose credentials were refused, the latest first.

    \b
    Examples:
      pushctl audit
      pushctl audit --since 12h --key-name billing
      pushctl audit --count 1000 --json | jq 'select(.status == 401) | .ip'
    """
    with common.api() as api:
        entries = _entries(api, ms_before_now(since), key_name, count)
        headings = ("time", "key", "address", "status", "what", "target")
        common.print_list(entries, headings, _audit_cells, "nothing was changed")


def _entries(
    api: PushAPI, since: int | None, key_name: str | None, count: int
) -> Iterator[AuditEntry]:
    """At most `count`. A page may have few entries although there are more."""
    cursor: str | None = None
    while count > 0:
        page = api.audit(since=since, key=key_name, cursor=cursor, limit=min(count, MAX_PAGE))
        yield from page.audit[:count]
        count -= len(page.audit)
        cursor = page.cursor
        if cursor is None:
            return


def _audit_cells(entry: AuditEntry) -> tuple[str | None, ...]:
    return (
        output.utc_time(entry.ts),
        entry.key,
        entry.ip,
        str(entry.status),
        entry.route,
        entry.target,
    )


@click.command("series")
@click.argument("name", metavar="NAME", type=click.Choice(get_args(SeriesName)))
@click.option("--node", metavar="NODE", help="Of one node; else of the cluster.")
@click.option(
    "--step",
    type=click.Choice([str(step) for step in SLOTS_OF_STEP]),
    default="10",
    show_default=True,
    help="Seconds of a value: 1 (5 minutes), 10 (2 hours) or 60 (24 hours).",
)
@click.option(
    "--count", type=click.IntRange(min=1), default=30, show_default=True, help="The latest so many."
)
@common_options
@click.pass_obj
def series(common: Common, name: str, node: str | None, step: str, count: int) -> None:
    """Print a figure over time: connections, pushes, deliveries, acknowledgements, ack_p50_ms,
    ack_p99_ms, drops, refusals, backlog or redis_ms.

    \b
    Examples:
      pushctl series pushes
      pushctl series connections --node gate-1 --step 60 --count 60
      pushctl series ack_p99_ms --json | jq .value
    """
    with common.api() as api:
        found = api.series(name, node=node, step=int(step))
    first = max(0, len(found.values) - count)
    rows = [
        {"ts": found.start + place * found.step * 1000, "value": value}
        for place, value in enumerate(found.values)
        if place >= first
    ]
    common.print_list(rows, ("time", name), _value_cells, "no values")
    common.fail_if_silent(found.silent)


def _value_cells(row: dict[str, float | int | None]) -> tuple[str | None, ...]:
    value, ts = row["value"], row["ts"]
    assert ts is not None
    return output.utc_time(int(ts)), None if value is None else f"{value:,.6g}"


@click.command("config")
@click.argument("section", metavar="SECTION", required=False)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@common_options
@click.pass_obj
def config(common: Common, section: str | None, changed: bool) -> None:
    """List the settings of the daemon that answers, and where each is from. Secrets are left out.

    \b
    Examples:
      pushctl config --changed
      pushctl config limits
      pushctl config --json | jq 'select(.key == "listen") | .value'
    """
    with common.api() as api:
        found = api.configuration()
    if section is not None and section not in found.settings:
        known = ", ".join(found.settings)
        raise click.UsageError(f"SECTION {section!r}: expected one of {known}")
    rows = [
        (name, key, origin)
        for name, key, origin in _settings(found)
        if section in (None, name) and not (changed and origin.source == "default")
    ]
    if common.json:
        for name, key, origin in rows:
            fields = {"node": found.node, "section": name, "key": key}
            output.print_json({**fields, "value": origin.value, "source": origin.source})
        return
    cells = (
        (f"{name}.{key}", output.one_line(origin.value), origin.source)
        for name, key, origin in rows
    )
    output.print_table(("setting", "value", "source"), cells, "no settings")


def _settings(found: Configuration) -> Iterator[tuple[str, str, SettingOrigin]]:
    for name, keys in found.settings.items():
        for key, origin in keys.items():
            yield name, key, origin

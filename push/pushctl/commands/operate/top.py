"""`pushctl top`: what the cluster does now, drawn again every few seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import click
import msgspec

from push.pushctl.terminal import output
from push.pushctl.terminal.errors import explain
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.screen import draw, is_terminal, screen, sparkline
from push.sdk.backend import PushAPI
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from push.wire.api.operate.series import Series, SeriesName

TREND = 30  # values, of a second each
NAMES: tuple[str, ...] = get_args(SeriesName)
_LABELS = {
    "connections": "connections",
    "pushes": "pushes/s",
    "deliveries": "deliveries/s",
    "acknowledgements": "acks/s",
    "ack_p50_ms": "ack p50, ms",
    "ack_p99_ms": "ack p99, ms",
    "drops": "drops/s",
    "refusals": "refusals/s",
    "backlog": "backlog",
    "redis_ms": "redis, ms",
}


class _Snapshot(msgspec.Struct):
    """What was seen at a time, in ms since 1970 UTC."""

    ts: int
    figures: dict[str, float | int | None]
    nodes: list[dict[str, Any]]
    silent: list[str]


@click.command("top")
@click.option(
    "--every",
    type=click.IntRange(1, 3600),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How often it is drawn.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N times.")
@click.option("--node", metavar="NODE", help="The figures of one node; else of the cluster.")
@common_options
@click.pass_obj
def top(common: Common, every: int, count: int | None, node: str | None) -> None:
    """Show what the cluster does, again and again, until Ctrl-C: connections, rates, latencies,
    backlog, and each node.

    On a terminal it is drawn in place. Elsewhere the same follows as lines, and with --json one
    object each time.

    \b
    Examples:
      pushctl top
      pushctl top --every 5 --node gate-1
      pushctl top --count 1
      pushctl top --json | jq .figures.pushes
    """
    with common.api() as api:
        if common.json or not is_terminal():
            _print(common, api, node, every, count)
        else:
            _draw(common, api, node, every, count)


def _draw(common: Common, api: PushAPI, node: str | None, every: int, count: int | None) -> None:
    """What fails later than the first time is shown, and asked for again."""
    seen, series = _look(api, node)
    trouble = ""
    with screen():
        for turn in _turns(every, count):
            if turn:
                try:
                    seen, series = _look(api, node)
                    trouble = ""
                except (PushAPIError, PushAPIUnreachable) as error:
                    trouble = f"no answer: {explain(error)}"
            draw([*_lines(common, seen, series, every), "", trouble])


def _print(common: Common, api: PushAPI, node: str | None, every: int, count: int | None) -> None:
    for turn in _turns(every, count):
        try:
            seen, series = _look(api, node)
        except (PushAPIError, PushAPIUnreachable) as error:
            if not turn:
                raise
            common.notice(f"no answer: {explain(error)}")
            continue
        if common.json:
            output.print_json(seen)
        else:
            for line in [*_lines(common, seen, series, every), ""]:
                output.say(line)


def _turns(every: int, count: int | None) -> Iterator[int]:
    """0, 1, 2, … each so many seconds after the one before was begun."""
    turn = 0
    while True:
        begun = time.monotonic()
        yield turn
        turn += 1
        if turn == count:
            return
        time.sleep(max(0.0, begun + every - time.monotonic()))


def _look(api: PushAPI, node: str | None) -> tuple[_Snapshot, dict[str, Series]]:
    series = {name: api.series(name, node=node, step=1) for name in NAMES}
    nodes = api.nodes()
    silent = sorted({each for found in series.values() for each in found.silent})
    figures = {name: _latest(found) for name, found in series.items()}
    return _Snapshot(int(time.time() * 1000), figures, nodes, silent), series


def _latest(found: Series) -> float | int | None:
    """Of the last second that is over; what is not measured in each second: of the last ones."""
    recent = [value for value in found.values[-5:] if value is not None]
    return recent[-1] if recent else None


def _lines(common: Common, seen: _Snapshot, series: dict[str, Series], every: int) -> Iterator[str]:
    yield f"push {common.url}  {output.utc_time(seen.ts)}  every {every} s"
    yield ""
    yield f"{'':<14}{'NOW':>10}{'1 MIN':>10}{'5 MIN MAX':>11}   {'LAST 30 S'}"
    for name, found in series.items():
        known = [value for value in found.values if value is not None]
        minute = [value for value in found.values[-60:] if value is not None]
        mean = sum(minute) / len(minute) if minute else None
        cells = (_latest(found), mean, max(known, default=None))
        now, average, highest = map(_figure, cells)
        trend = sparkline(found.values, TREND)
        yield f"{_LABELS[name]:<14}{now:>10}{average:>10}{highest:>11}   {trend}"
    yield ""
    yield from _node_lines(seen.nodes)
    if seen.silent:
        yield ""
        yield f"no answer from {', '.join(seen.silent)}: what they have is missing"


def _node_lines(nodes: Sequence[dict[str, Any]]) -> Iterator[str]:
    width = max((len(str(node.get("instance"))) for node in nodes), default=4)
    width = min(max(width, 4), 30)
    yield f"{'NODE':<{width}}  {'SERVICE':<15}{'STATE':<10}{'SESSIONS':>9}{'UP':>8}"
    now = time.time() * 1000
    for node in nodes:
        started = node.get("started")
        up = _lasting((now - started) / 1000) if isinstance(started, int | float) else "-"
        state = "draining" if node.get("draining") else "up"
        sessions = node.get("sessions")
        shown = f"{sessions:,}" if isinstance(sessions, int) else "-"
        name, service = str(node.get("instance")), str(node.get("service"))
        yield f"{name:<{width}}  {service:<15}{state:<10}{shown:>9}{up:>8}"


def _figure(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def _lasting(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"

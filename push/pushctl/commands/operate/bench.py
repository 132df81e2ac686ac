"""`pushctl bench`: how fast a deployment is, with real devices and pushes through the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from push.pushctl.commands.operate.benching import Bench, Measured, Plan
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.errors import Failure
from push.pushctl.terminal.options import Common, common_options, is_this_host
from push.pushctl.terminal.screen import ProgressBar
from push.sdk.aio import PushClient
from push.sdk.credentials import Credentials

F = TypeVar("F", bound=Callable[..., Any])

QUANTILES = (50, 90, 99)


_OPTIONS = (
    click.option(
        "--devices", type=click.IntRange(1, 5000), default=5, show_default=True, help="That listen."
    ),
    click.option(
        "--messages",
        type=click.IntRange(1, 10_000_000),
        default=1000,
        show_default=True,
        help="Pushes.",
    ),
    click.option(
        "--size",
        type=click.IntRange(80, 200_000),
        default=200,
        show_default=True,
        help="Bytes of data.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        help="Pushes a request.",
    ),
    click.option(
        "--at-once",
        type=click.IntRange(1, 256),
        default=16,
        show_default=True,
        help="Requests that are under way.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="Pushes a second; else as many as can be.",
    ),
    click.option(
        "--fan-out", "is_fan_out", is_flag=True, help="Each push is for all devices (a topic)."
    ),
    click.option(
        "--qos", type=click.IntRange(0, 1), default=1, show_default=True, help="Of the pushes."
    ),
)


def _plan_options(command: F) -> F:
    """An option for each member of a `Plan`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("bench")
@_plan_options
@yes_option
@common_options
@click.pass_obj
def bench(common: Common, /, yes: bool, **plan_options: Any) -> None:
    """Measure a deployment: register devices, connect them, push to them, and forget them.

    This process is client and device, and takes a share of the machine that it runs on: the server
    can do more than one such process shows. A server lets an address register 10 devices a minute;
    for more set [limits] registrations_per_minute there. Needs a key with the scopes register, push
    and admin. On another machine it asks first.

    \b
    Examples:
      pushctl bench
      pushctl bench --messages 20000 --batch 100
      pushctl bench --fan-out --messages 200 --rate 50 --json | jq .delivery_ms
    """
    plan = Plan(**plan_options)
    if not is_this_host(urlsplit(common.url).hostname):
        ask_first(
            yes,
            f"This registers {plan.devices} devices at {common.url}, pushes {plan.messages:,} "
            "messages to them, and forgets them.",
        )
    progress = ProgressBar()
    try:
        measured = asyncio.run(_run(common, plan, progress))
    finally:
        progress.end()
    report = _report(plan, measured)
    common.print_one(report, _rows(report))
    if measured.refused:
        raise Failure(f"{measured.refused} pushes were refused: {measured.first_refusal}")
    if report["lost"]:
        raise Failure(f"{report['lost']} deliveries did not come")


async def _run(common: Common, plan: Plan, progress: ProgressBar) -> Measured:
    servers = common.device_servers([])

    def make_client(pair: Credentials) -> PushClient:
        return PushClient(
            servers,
            token=pair.token,
            secret=pair.secret,
            ca_file=common.ca_file,
            fingerprint=common.fingerprint(servers),
            platform="bench",
            app="pushctl",
        )

    async with common.async_api() as api:
        return await Bench(api, plan, make_client, progress.show).run()


def _report(plan: Plan, measured: Measured) -> dict[str, Any]:
    """Rates are a second; times are in milliseconds, by quantile."""
    refused = measured.refused * (plan.devices if plan.is_fan_out else 1)
    return {
        "devices": plan.devices,
        "pushes": measured.pushed - measured.refused,
        "refused": measured.refused,
        "pushes_per_second": _rate(measured.pushed - measured.refused, measured.pushed_in),
        "push_ms": _quantiles(measured.push_ms),
        "deliveries": measured.delivered,
        "lost": max(0, plan.deliveries - refused - measured.delivered),
        "deliveries_per_second": _rate(measured.delivered, measured.delivered_in),
        "delivery_ms": _quantiles(measured.delivery_ms),
    }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    found = {f"p{share}": ordered[round(last * share / 100)] for share in QUANTILES}
    return {name: round(value, 3) for name, value in {**found, "max": ordered[-1]}.items()}


def _rows(report: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [
        ("devices", f"{report['devices']:,}"),
        ("pushes", f"{report['pushes']:,}, {report['pushes_per_second']:,.1f} a second"),
        ("request", _in_words(report["push_ms"])),
        ("deliveries", _deliveries(report)),
        ("arrival", _in_words(report["delivery_ms"])),
    ]


def _deliveries(report: dict[str, Any]) -> str:
    text = f"{report['deliveries']:,}, {report['deliveries_per_second']:,.1f} a second"
    return f"{text}; {report['lost']:,} did not come" if report["lost"] else text


def _in_words(quantiles: dict[str, float]) -> str | None:
    return ", ".join(f"{name} {value:,.1f} ms" for name, value in quantiles.items()) or None

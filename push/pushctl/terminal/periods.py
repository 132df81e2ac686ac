"""Periods as they are typed: `90s`, `10m`, `12h` or `30d`."""

from __future__ import annotations

import re
import time

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Period(click.ParamType[int]):
    """Seconds."""

    name = "period"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = re.fullmatch(r"(\d{1,6})([smhd])", str(value), re.ASCII)
        if not found or int(found[1]) == 0:
            self.fail(f"{value!r}: expected a number and s, m, h or d, as 30d", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


def ms_from_now(seconds: int | None) -> int | None:
    """The time in so many seconds, in ms since 1970 UTC; None for None."""
    return None if seconds is None else int((time.time() + seconds) * 1000)


def ms_before_now(seconds: int | None) -> int | None:
    """The time so many seconds ago, in ms since 1970 UTC; None for None."""
    return None if seconds is None else int((time.time() - seconds) * 1000)

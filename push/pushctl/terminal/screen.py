"""A screen that is drawn again and again, and a bar that grows: on a terminal only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from push.pushctl.terminal import output

_OTHER_SCREEN, _FORMER_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_BLOCKS, _ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_FULL, _ASCII_FULL = "█", "#"


def is_terminal() -> bool:
    return sys.stdout.isatty()


@contextmanager
def screen() -> Iterator[None]:
    """The terminal's other screen, without a cursor; at the end what was there before is there."""
    output.draw(_OTHER_SCREEN + _HIDE_CURSOR)
    try:
        yield
    finally:
        output.draw(_SHOW_CURSOR + _FORMER_SCREEN)


def draw(lines: Sequence[str]) -> None:
    """These lines in place of those before, cut to the size of the terminal."""
    columns, rows = shutil.get_terminal_size()
    shown = [output.cut(line, columns) + _CLEAR_LINE for line in lines[: rows - 1]]
    output.draw(_HOME + "\r\n".join(shown) + "\r\n" + _CLEAR_BELOW)


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The latest `width` values as a row of blocks; a gap where there is none."""
    blocks = _BLOCKS if output.shows_unicode(sys.stdout) else _ASCII_BLOCKS
    latest = list(values)[-width:]
    highest = max((value for value in latest if value is not None), default=0) or 1
    # What is not zero is seen.
    steps = (0 if not value else max(1, round(value / highest * 8)) for value in latest)
    return "".join(blocks[step] for step in steps).rjust(width)


class ProgressBar:
    """A bar on standard error, for as long as something lasts; nothing where that is no terminal.

    `text`: what is done now. Nothing is left of it in the end.
    """

    WIDTH = 30

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._last = ""

    def show(self, text: str, done: int, total: int) -> None:
        if not self._is_shown:
            return
        share = min(done / total, 1.0) if total else 1.0
        full = _FULL if output.shows_unicode(sys.stderr) else _ASCII_FULL
        bar = (full * int(share * self.WIDTH)).ljust(self.WIDTH)
        line = f"{text:<12} [{bar}] {share:>4.0%}  {done:,} of {total:,}"
        if line != self._last:
            self._last = line
            columns = shutil.get_terminal_size().columns
            output.draw(f"\r{output.cut(line, columns - 1)}{_CLEAR_LINE}", error=True)

    def end(self) -> None:
        if self._last:
            self._last = ""
            output.draw(f"\r{_CLEAR_LINE}", error=True)

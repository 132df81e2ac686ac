"""Everything that pushctl writes. Text from servers and devices cannot control the terminal.

Results go to standard output: for people as lines and tables, with --json one object a line.
Notices and errors go to standard error: a line each, with --json an object each. No other module
of pushctl writes.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, TextIO

import click
import msgspec

from push.wire.text import visible, visible_json

MEASURED_ROWS = (
    200  # of a table, whose columns are as wide as in these; the rest is printed as it comes
)


def write_whatever_the_encoding() -> None:
    """Where standard output is not UTF-8, what it cannot show is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """One line of a result."""
    click.echo(visible(text))


def print_script(text: str) -> None:
    """What a shell evaluates, of our own making: as it is."""
    click.echo(text)


def draw(text: str, *, error: bool = False) -> None:
    """What a terminal acts on, of our own making: at once, and without a line end. Text of others
    in it went through `cut`."""
    click.echo(text, nl=False, err=error)


def cut(line: str, columns: int) -> str:
    """As much of a line as fits, with nothing in it that a terminal acts on."""
    shown = visible(line)
    if _width(shown) <= columns:
        return shown
    while _width(shown) > columns:
        shown = shown[: max(0, len(shown) - max(1, (_width(shown) - columns) // 2))]
    return shown


def print_json(value: object, *, error: bool = False) -> None:
    """One object, one line."""
    stream = sys.stderr if error else sys.stdout
    text = msgspec.json.encode(value).decode()
    click.echo(visible_json(text, ascii_only=not shows_unicode(stream)), err=error)


def notice(text: str, *, json: bool, **members: object) -> None:
    """One line on standard error about what happens; `members` are for programs."""
    if json:
        print_json({"notice": {"detail": text, **members}}, error=True)
    else:
        click.echo(visible(f"pushctl: {text}"), err=True)


def print_error(detail: str, code: str, *, json: bool, hint: str = "", **members: object) -> None:
    """One line on standard error about why it failed. `hint` is for people only."""
    if json:
        print_json({"error": {"code": code, "detail": detail, **members}}, error=True)
    else:
        click.echo(visible(f"pushctl: {detail}{hint}"), err=True)


def print_fields(rows: Iterable[tuple[str, str | None]]) -> None:
    """One thing, a line for each of its fields; "-" for none."""
    listed = [(name, "-" if value is None else value) for name, value in rows]
    width = max((len(visible(name)) for name, _ in listed), default=0)
    for name, value in listed:
        say(f"{_padded(visible(name), width)}  {value}".rstrip())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str | None]], empty: str) -> None:
    """Rows under their headings, "-" for none; without rows `empty` says so."""
    remaining = (_cells(row) for row in rows)
    measured = list(islice(remaining, MEASURED_ROWS))
    if not measured:
        say(empty)
        return
    table = [[heading.upper() for heading in headings], *measured]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    for cells in chain(table, remaining):
        padded = map(_padded, cells, widths)
        say("  ".join(padded).rstrip())


def utc_time(milliseconds: int | None) -> str:
    """Milliseconds since 1970 UTC as `2027-01-15T08:00:00Z`, "-" for None; a number that is no
    time as it is."""
    if milliseconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)


def one_line(data: object) -> str:
    """A JSON value for people: text as it is, everything else as JSON."""
    return data if isinstance(data, str) else msgspec.json.encode(data).decode()


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def flattened(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON as rows `a.b value`; objects in a list are numbered from 0."""
    inner: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        inner = [(str(number), item) for number, item in enumerate(value)]
    for key, item in inner:
        yield from flattened(item, f"{name}.{key}" if name else key)
    if not inner:
        yield name, one_line(value)


def _cells(row: Sequence[str | None]) -> list[str]:
    """Escaped before they are measured; an empty cell would look like a missing one."""
    return [visible(cell) if cell else "-" for cell in row]


def _width(text: str) -> int:
    """Columns of a terminal: two for wide characters, none for marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def shows_unicode(stream: TextIO) -> bool:
    """Whether its encoding has all characters."""
    try:
        return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False

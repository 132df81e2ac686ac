"""Events of the log: as text that cannot deceive, or as JSON for programs that collect lines.

    {"ts": "2026-11-29T21:00:00.123Z", "level": "info", "event": "redis.connected",
     "logger": "push.redis.connection.availability", "text": "Redis at …: connected", "server": …}

`event` names the kind of event and does not change when its text does; docs/logs.md has them all.
The values that a text is made of are members of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import IO, Any, cast

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogBeginner,
    LogEvent,
    formatEvent,
)
from twisted.python.failure import Failure
from twisted.python.log import FileLogObserver as LegacyFileLogObserver
from zope.interface import implementer

from push.wire.text import visible

# What an observer needs of an event beside its text.
_KEPT = ("log_time", "log_level", "log_namespace", "time")
# Of events of the older `twisted.python.log`, and what the members of every line are made of.
_NO_FIELDS = frozenset(
    ("time", "isError", "failure", "why", "message", "system", "format", "event")
)
_OWN_MEMBERS = frozenset(("ts", "level", "event", "logger", "text", "traceback"))
UNNAMED = "other"  # of Twisted, and of libraries that know no names of events


def text_and_traceback(event: LogEvent) -> tuple[str, str]:
    """As they are: others may have written parts of them. The traceback is "" for most events."""
    failure = event.get("log_failure")
    if failure is not None:
        return formatEvent(event), _traceback_of(failure)
    if event.get("isError") and isinstance(event.get("failure"), Failure):
        # Of `twisted.python.log.err`, whose text would have the traceback in it.
        return str(event.get("why") or "Unhandled Error"), _traceback_of(event["failure"])
    return formatEvent(event), ""


def _traceback_of(failure: Failure) -> str:
    try:
        return failure.getTraceback()
    except Exception as error:  # an exception whose own methods fail
        return f"(no traceback can be had: {type(error).__name__})"


@implementer(ILogObserver)
class VisibleText:
    """Hands events on to `observer` as text in which nothing controls a terminal or forges a line.

    Much of what is logged was sent by somebody else: a reason, an address, a part of a frame. So an
    event is one line, and only its traceback has more of them, which the observer indents.
    """

    def __init__(self, observer: Callable[[LogEvent], None]) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        shown = {name: event[name] for name in _KEPT if name in event}
        for name in ("log_system", "system"):
            if event.get(name) is not None:
                shown[name] = visible(str(event[name]))
        shown["log_text"] = _visible_text(event)
        shown["log_format"] = "{log_text}"
        self._observer(shown)


def _visible_text(event: LogEvent) -> str:
    text, traceback = text_and_traceback(event)
    return f"{visible(text)}\n{visible(traceback, multiline=True)}" if traceback else visible(text)


def line_of(event: LogEvent) -> str:
    """The JSON of one event, without a line end in it."""
    text, traceback = text_and_traceback(event)
    level = event.get("log_level")
    moment = datetime.fromtimestamp(event.get("log_time") or event.get("time") or 0.0, UTC)
    members: dict[str, Any] = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name if level is not None else "info",
        "event": visible(str(event.get("event", UNNAMED))),
        "logger": visible(str(event.get("log_namespace", "-"))),
        "text": visible(text),
    }
    for name, value in event.items():
        is_field = not name.startswith("log_") and name not in _NO_FIELDS
        if is_field and value is not None:
            members[f"{name}_" if name in _OWN_MEMBERS else name] = _plain(value)
    if traceback:
        members["traceback"] = visible(traceback, multiline=True)
    return json.dumps(members, ensure_ascii=False)


def _plain(value: object) -> str | int | float | bool:
    if isinstance(value, bool | int | float):
        # JSON has no infinity, and StrEnum and IntEnum are what they stand for.
        return value if value == value and abs(value) != float("inf") else str(value)
    try:
        return visible(str(value))
    except Exception as error:  # a value whose own methods fail
        return f"(not shown: {type(error).__name__})"


@implementer(ILogObserver)
class JsonText:
    """For an observer that writes lines of its own, as that of --syslog: JSON is their text."""

    def __init__(self, observer: Callable[[LogEvent], None]) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        shown: LogEvent = {
            name: event[name] for name in ("log_time", "log_level", "time") if name in event
        }
        shown["log_namespace"] = "push"
        shown["log_format"], shown["log_text"] = "{log_text}", line_of(event)
        self._observer(shown)


class JsonLines(FileLogObserver):
    """Writes to a file that twistd has opened and may rotate."""

    def __init__(self, out_file: IO[str]) -> None:
        super().__init__(out_file, lambda event: line_of(event) + "\n")


def as_json_lines(observer: Callable[[LogEvent], None]) -> JsonLines | JsonText:
    """What logs lines of JSON to where `observer` logs, one of those that twistd makes."""
    if isinstance(observer, JsonLines | JsonText):
        return observer
    file = getattr(observer, "_outFile", None)
    if file is None and isinstance(observer, LegacyLogObserverWrapper):
        legacy = getattr(observer.legacyObserver, "__self__", None)
        if isinstance(legacy, LegacyFileLogObserver):
            file = getattr(legacy.write, "__self__", None)
    return JsonText(observer) if file is None else JsonLines(file)


def begin_with_json(beginner: LogBeginner) -> None:
    """Log JSON from the first line on: when twistd begins to log it repeats earlier events,
    and it offers no place for our own observer."""
    begin = beginner.beginLoggingTo

    def begin_to(observers: Iterable[ILogObserver], *options: bool, **named: bool) -> None:
        shaped = [cast(ILogObserver, as_json_lines(observer)) for observer in observers]
        begin(shaped, *options, **named)

    beginner.beginLoggingTo = begin_to  # type: ignore[method-assign]  # twistd calls it

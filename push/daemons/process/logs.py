"""Logging beside what twistd does: the level of `[server] log`, text that cannot deceive, and start
problems in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
)
from zope.interface import implementer

from push.daemons.config.errors import StartError
from push.daemons.process.log_lines import as_json_lines
from push.daemons.process.log_text import text_and_traceback
from push.runtime.log_detail import detail
from push.wire.text import visible

_log = Logger()

_SEVERITY = list(LogLevel.iterconstants())
# What an observer needs of an event beside its text.
_KEPT = ("log_time", "log_level", "log_namespace", "time")


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


def apply_level(publisher: LogPublisher, level_name: str, form: str = "text") -> None:
    """Let only events of `level_name` and above pass to the observers that `publisher` has now, as
    visible text or, with `form` "json", as lines of JSON.

    twistd makes its observer from --logfile, --syslog and --nodaemon and offers no place for a
    level; so its observer is wrapped where it was added. Reading `_observers` is the price: the
    public way would be to make all of those observers here again.
    """
    level = LogLevel.lookupByName(level_name)
    detail.debug = level is LogLevel.debug
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    # It logs every attempt to reach a Redis server; `push.redis.connection` logs it once.
    quiet = max(level, LogLevel.warn, key=_SEVERITY.index)
    predicate.setLogLevelForNamespace("twisted.application._client_service", quiet)
    for observer in list(publisher._observers):
        publisher.removeObserver(observer)
        # mypy does not see that a class implements one of zope's interfaces.
        shaped = as_json_lines(observer) if form == "json" else VisibleText(observer)
        shown = cast(ILogObserver, shaped)
        filtered = FilteringLogObserver(shown, [predicate])  # type: ignore[list-item]
        publisher.addObserver(filtered)  # type: ignore[arg-type]


def check_file_of_twistd(option: str, path: str | None) -> None:
    """Raise a StartError for a file that twistd could not write: it would end with a traceback.

    `option`: "logfile" or "pidfile".
    """
    if not path or path == "-":
        return
    folder = os.path.dirname(os.path.abspath(path))
    problem = None
    if os.path.isdir(path):
        problem = "it is a folder"
    elif not os.path.isdir(folder):
        problem = f"there is no folder {folder}"
    elif not os.access(path if os.path.exists(path) else folder, os.W_OK):
        problem = "it cannot be written"
    if problem:
        raise StartError(f"--{option} {path}: {problem}; give another one before the daemon's name")


def exit_with_problem(tap: str, problem: str) -> NoReturn:
    """One line on standard error, and exit status 1.

    Not by `SystemExit(line)`: twistd has made a log of `sys.stderr` by the time services start. As
    a background process it has no standard error at all; then the line goes into the log. It goes
    on as a StartError, since twistd tells the command that waits in the foreground of an Exception
    only, and that would wait forever. (No traceback: the line says everything.)
    """
    line = visible(f"twistd {tap}: {problem}")
    stderr = sys.__stderr__
    if stderr is None or _is_nowhere(stderr.fileno()):
        _log.critical("{line}", line=line, event="server.start_problem")
        sys.excepthook = lambda *_: None
        raise StartError(problem)
    print(line, file=stderr, flush=True)
    raise SystemExit(1)


def _is_nowhere(descriptor: int) -> bool:
    try:
        return os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
    except OSError:  # closed
        return True

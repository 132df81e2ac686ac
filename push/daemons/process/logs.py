"""Logging beside what twistd does: the level of `[server] log`, log files that somebody else has
renamed (logrotate), and start problems in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
)
from twisted.python.logfile import BaseLogFile

from push.daemons.config.errors import StartError
from push.daemons.process.log_lines import VisibleText, as_json_lines
from push.runtime.log_detail import detail
from push.wire.text import visible

_log = Logger()

_SEVERITY = list(LogLevel.iterconstants())


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


def reopen_log_files(publisher: LogPublisher) -> str | None:
    """Open again the files that `publisher`'s observers write to; what they are, for people.

    None when nothing is logged to a file. After a StartError the log goes on where it did.
    """
    paths = []
    for file in _log_files(publisher):
        try:
            # LogFile.reopen closes first, and would be left without a file.
            with open(file.path, "ab"):
                pass
            file.reopen()
        except OSError as error:
            raise StartError(f"the log file {file.path}: {error.strerror}") from None
        paths.append(file.path)
    return f"log file {', '.join(paths)}" if paths else None


def _log_files(publisher: LogPublisher) -> Iterator[Any]:
    """twistd makes its observer by itself and keeps the file inside it; there is no public way."""
    for observer in publisher._observers:
        inner: object = observer
        while hasattr(inner, "_observer"):  # those that filter or change events
            inner = inner._observer
        file = getattr(inner, "_outFile", None)
        if isinstance(file, BaseLogFile):
            yield file


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

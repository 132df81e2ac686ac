"""Logging beside what twistd does: the level of `[server] log`, and start problems in one line."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
)

from push.daemons.config.errors import StartError

_log = Logger()

_SEVERITY = list(LogLevel.iterconstants())


def apply_level(publisher: LogPublisher, level_name: str) -> None:
    """Let only events of `level_name` and above pass to the observers that `publisher` has now.

    twistd makes its observer from --logfile, --syslog and --nodaemon and offers no place for a
    level; so its observer is wrapped where it was added. Reading `_observers` is the price: the
    public way would be to make all of those observers here again.
    """
    level = LogLevel.lookupByName(level_name)
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    # It logs every attempt to reach a Redis that is away; `push.redis.supervised` says it once.
    quiet = max(level, LogLevel.warn, key=_SEVERITY.index)
    predicate.setLogLevelForNamespace("twisted.application._client_service", quiet)
    for observer in list(publisher._observers):
        publisher.removeObserver(observer)
        # zope's interfaces say nothing to mypy.
        filtered = FilteringLogObserver(observer, [predicate])  # type: ignore[list-item]
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
    only, and that would wait for ever. (No traceback: all is said.)
    """
    line = f"twistd {tap}: {problem}"
    stderr = sys.__stderr__
    if stderr is None or _is_nowhere(stderr.fileno()):
        _log.critical("{line}", line=line)
        sys.excepthook = lambda *_: None
        raise StartError(problem)
    print(line, file=stderr, flush=True)
    raise SystemExit(1)


def _is_nowhere(descriptor: int) -> bool:
    try:
        return os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
    except OSError:  # closed
        return True

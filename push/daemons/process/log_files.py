"""The log file, opened again after somebody else renamed it (logrotate)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.logger import LogPublisher
from twisted.python.logfile import BaseLogFile

from push.daemons.config.errors import StartError


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

"""The text of an event of the log, and its traceback."""

from __future__ import annotations

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure


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

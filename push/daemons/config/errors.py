"""The one kind of failure that ends a start: said in one line, without a traceback."""

from __future__ import annotations


class StartError(Exception):
    """A daemon cannot start, and its user can mend it. The message is one line that says how."""


class SettingsError(StartError):
    """A setting is unknown or wrong; the message is one line that names it and its source."""

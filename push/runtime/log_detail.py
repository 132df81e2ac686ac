"""Whether events of the level debug are logged.

An event that nobody takes costs as much as ten acknowledgements; where one would be made for each
message or request, it is asked here first.
"""

from __future__ import annotations


class LogDetail:
    """One of a process, as the log is."""

    __slots__ = ("debug",)

    def __init__(self) -> None:
        self.debug = False


detail = LogDetail()

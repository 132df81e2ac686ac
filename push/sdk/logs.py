"""The SDK's logger: `logging.getLogger("push.sdk")`."""

from __future__ import annotations

import logging

from push.wire.text import visible


class VisibleArguments(logging.Filter):
    """Escapes what could control a terminal or forge a line: reasons come from the server."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_shown, record.args))
        return True


def _shown(argument: object) -> object:
    return argument if isinstance(argument, int | float) else visible(str(argument))


log = logging.getLogger("push.sdk")
log.addFilter(VisibleArguments())

"""What twistd runs: a daemon that logs as configured; a problem at its start is one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogPublisher, globalLogBeginner, globalLogPublisher

from push.daemons.compose import make_service
from push.daemons.config.errors import StartError
from push.daemons.config.options import DaemonOptions
from push.daemons.config.settings import LogFormatName, LogLevelName
from push.daemons.process.log_lines import begin_with_json
from push.daemons.process.logs import apply_level, check_file_of_twistd, exit_with_problem
from push.daemons.services.ordered_services import OrderedServices


class Daemon(OrderedServices):
    """The top of a daemon: sets the log level, and turns a StartError into one line and an exit."""

    def __init__(
        self,
        tap: str,
        level_name: LogLevelName,
        log_format: LogFormatName = "text",
        publisher: LogPublisher = globalLogPublisher,
    ) -> None:
        super().__init__()
        self._tap = tap
        self._level_name = level_name
        self._log_format = log_format
        self._publisher = publisher

    def privilegedStartService(self) -> None:
        with start_problems_end(self._tap):
            super().privilegedStartService()

    def startService(self) -> None:
        # Not earlier: twistd's observer is in place only now.
        apply_level(self._publisher, self._level_name, self._log_format)
        with start_problems_end(self._tap):
            super().startService()


@contextmanager
def start_problems_end(tap: str) -> Iterator[None]:
    """A StartError inside ends the process, with its one line and without a traceback."""
    try:
        yield
    except StartError as error:
        exit_with_problem(tap, str(error))


def make_daemon(options: DaemonOptions, roles: Set[str]) -> Daemon:
    """The daemon `options.tap`, with `roles` among "connector", "api", "sub", "group" and
    "webhooks"."""
    server = options.settings.server
    daemon = Daemon(options.tap, server.log, server.log_format)
    if server.log_format == "json":
        begin_with_json(globalLogBeginner)
    with start_problems_end(options.tap):
        of_twistd: Mapping[str, Any] = options.parent or {}
        for name in ("logfile", "pidfile"):
            check_file_of_twistd(name, of_twistd.get(name))
        service = make_service(options.settings, roles, options.read_settings)
        service.setServiceParent(daemon)
    return daemon

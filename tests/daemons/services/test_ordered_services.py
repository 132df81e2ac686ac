"""What twistd runs: the order of stops, the log level, and problems that end a start."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogPublisher, textFileLogObserver

from push.daemons.config.errors import StartError
from push.daemons.daemon import Daemon, start_problems_end
from push.daemons.process.logs import apply_level
from push.daemons.services.ordered_services import OrderedServices


class Child(Service):
    """Notes its stop in `log` and ends it when `stopped` fires."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.stopped: Deferred[None] = Deferred()
        self._log = log

    def startService(self) -> None:
        super().startService()
        self._log.append(f"{self.name} starts")

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._log.append(f"{self.name} stops")
        return self.stopped


@pytest_twisted.ensureDeferred
async def test_children_start_in_order_and_each_stops_after_those_that_came_later() -> None:
    log: list[str] = []
    services = OrderedServices()
    redis, connector = Child("redis", log), Child("connector", log)
    redis.setServiceParent(services)
    connector.setServiceParent(services)
    services.startService()
    done = services.stopService()
    assert log == ["redis starts", "connector starts", "connector stops"]
    connector.stopped.callback(None)
    assert log[-1] == "redis stops"
    assert not done.called
    redis.stopped.callback(None)
    await done


@pytest_twisted.ensureDeferred
async def test_a_child_that_fails_to_stop_does_not_keep_the_others(
    flush_logged_errors: object,
) -> None:
    log: list[str] = []
    services = OrderedServices()
    redis, connector = Child("redis", log), Child("connector", log)
    redis.setServiceParent(services)
    connector.setServiceParent(services)
    services.startService()
    done = services.stopService()
    connector.stopped.errback(ValueError("stuck"))
    redis.stopped.callback(None)
    await done
    assert log[-1] == "redis stops"
    assert len(flush_logged_errors(ValueError)) == 1  # type: ignore[operator]


class Refusing(Service):
    def startService(self) -> None:
        raise StartError("the folder is in use")


def test_a_start_error_ends_the_process_with_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon("push", "info", LogPublisher())
    Refusing().setServiceParent(daemon)
    with pytest.raises(SystemExit) as caught:
        daemon.startService()
    assert caught.value.code == 1
    assert capfd.readouterr().err == "twistd push: the folder is in use\n"


def test_in_the_background_twistd_is_told_and_the_line_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, flush_logged_errors: Any
) -> None:
    """twistd hands on an Exception to the command that waits in the foreground, nothing else."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "__stderr__", nowhere)
        with pytest.raises(StartError, match="the folder is in use"), start_problems_end("push"):
            raise StartError("the folder is in use")
    (event,) = flush_logged_errors()
    assert event["line"] == "twistd push: the folder is in use"


def test_other_exceptions_are_not_hidden() -> None:
    with pytest.raises(KeyError), start_problems_end("push"):
        raise KeyError("a mistake of ours")


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("debug", ["one", "two", "three", "four"]),
        ("info", ["two", "three", "four"]),
        ("warn", ["three", "four"]),
        ("critical", ["four"]),
    ],
)
def test_the_level_holds_for_the_observer_that_twistd_has_made(
    level: str, lines: list[str]
) -> None:
    output = io.StringIO()
    publisher = LogPublisher(textFileLogObserver(output))
    apply_level(publisher, level)
    log = Logger(observer=publisher)
    log.debug("one")
    log.info("two")
    log.warn("three")
    log.critical("four")
    assert [line.split("]", 1)[1].strip() for line in output.getvalue().splitlines()] == lines

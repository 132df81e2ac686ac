"""The log: what a peer sent neither controls a terminal nor forges a line."""

from __future__ import annotations

import io
import unicodedata
from typing import Any

import pytest
from twisted.logger import (
    LegacyLogObserverWrapper,
    Logger,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure

from push.daemons.process.logs import apply_level

NASTY = "\x1b[2Jgone\r\n2026-01-01T00:00:00+0000 [forged#info] ready\x85\u2028\u202e\x9b\ud800"


def as_twistd(output: io.StringIO) -> Any:
    """The observer that twistd makes for a file or standard output."""
    return LegacyLogObserverWrapper(legacy.FileLogObserver(output).emit)


@pytest.fixture(params=[textFileLogObserver, as_twistd])
def logged(request: pytest.FixtureRequest) -> Any:
    """A logger, and what it has written."""
    output = io.StringIO()
    publisher = LogPublisher(request.param(output))
    apply_level(publisher, "debug")
    return Logger(namespace="test", observer=publisher), output, publisher


def check(output: io.StringIO, lines: int) -> str:
    """So many lines that are no continuation, and nothing that controls a terminal."""
    text = output.getvalue()
    assert {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Cs")} <= {
        "\n",
        "\t",
    }
    beginning = [line for line in text.splitlines() if line and not line.startswith("\t")]
    assert len(beginning) == lines, text
    assert not any("[forged#info]" in line.split("] ", 1)[0] for line in beginning)
    return text


@pytest.mark.parametrize("template", ["{it}", "{it!r}", "{it.name}", "{it.said()}", "a {it} b"])
def test_an_interpolated_value_stays_in_its_line(logged: Any, template: str) -> None:
    class It:
        name = NASTY

        def said(self) -> str:
            return NASTY

        def __str__(self) -> str:
            return NASTY

        __repr__ = __str__

    log, output, _ = logged
    log.info(template, it=It())
    assert "\\x1b[2Jgone\\r\\n2026" in check(output, 1)


def test_a_traceback_is_kept_and_made_harmless(logged: Any) -> None:
    log, output, _ = logged
    try:
        raise ValueError(NASTY)
    except ValueError:
        log.failure("failed at {where}", where=NASTY)
    text = check(output, 1)
    assert "Traceback" in text
    assert "builtins.ValueError: \\x1b[2Jgone\\r" in text


def publish_as_before(publisher: LogPublisher, event: dict[str, Any]) -> None:
    """What `twisted.python.log.msg` does with the global publisher."""
    legacy._publishNew(publisher, {"time": 1.0, **event}, legacy.textFromEventDict)


def test_the_old_interface_of_twisted_too(logged: Any) -> None:
    _, output, publisher = logged
    publish_as_before(publisher, {"isError": 0, "message": (NASTY,)})
    publish_as_before(publisher, {"isError": 0, "message": (), "format": "%(a)s", "a": NASTY})
    failure = Failure(ValueError(NASTY))
    publish_as_before(publisher, {"isError": 1, "message": (), "failure": failure, "why": NASTY})
    check(output, 3)


def test_what_cannot_be_formatted_is_harmless_too(logged: Any) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError(NASTY)

    log, output, _ = logged
    log.info("{nothing} {it}", it=NASTY)
    log.failure("{it}", failure=Failure(Broken()), it=Broken())
    log.info("{log_system}", log_system=NASTY)
    check(output, 3)


def test_an_event_is_not_changed_for_other_observers() -> None:
    events: list[dict[str, Any]] = []
    publisher = LogPublisher(textFileLogObserver(io.StringIO()))
    apply_level(publisher, "info")
    publisher.addObserver(events.append)
    Logger(observer=publisher).info("{it}", it=NASTY)
    assert events[0]["it"] == NASTY

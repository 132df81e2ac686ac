"""The log as lines of JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from twisted.logger import (
    LegacyLogObserverWrapper,
    Logger,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python import log as legacy

from push.daemons.process.logs import apply_level

NASTY = '\x1b[2J"}\r\n{"event": "forged"}\u202e\ud800'


def as_twistd(output: io.StringIO) -> Any:
    """The observer that twistd makes for a file or standard output."""
    return LegacyLogObserverWrapper(legacy.FileLogObserver(output).emit)


class Logged:
    """A logger, and the lines that it has written."""

    def __init__(self, make_observer: Any, level: str = "debug") -> None:
        self._output = io.StringIO()
        self.publisher = LogPublisher(make_observer(self._output))
        apply_level(self.publisher, level, "json")
        self.log = Logger(namespace="push.test", observer=self.publisher)

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = self._output.getvalue()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(params=[textFileLogObserver, as_twistd])
def logged(request: pytest.FixtureRequest) -> Logged:
    return Logged(request.param)


def test_an_event_is_an_object_with_its_name_and_fields(logged: Logged) -> None:
    logged.log.info("{ip} ended: {code}", ip="192.0.2.1", code=7, event="connection.ended")
    (line,) = logged.lines
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "event": "connection.ended",
        "logger": "push.test",
        "text": "192.0.2.1 ended: 7",
        "ip": "192.0.2.1",
        "code": 7,
    }


def test_what_is_not_known_is_left_out(logged: Logged) -> None:
    logged.log.info("ended", token=None, event="connection.ended")
    assert "token" not in logged.lines[0]


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error", "critical"])
def test_the_level_is_told(logged: Logged, level: str) -> None:
    getattr(logged.log, level)("it")
    assert logged.lines[0]["level"] == level


def test_less_than_the_level_is_not_logged() -> None:
    logged = Logged(textFileLogObserver, "warn")
    logged.log.info("not this", event="a.b")
    logged.log.warn("this", event="a.c")
    assert [line["event"] for line in logged.lines] == ["a.c"]


def test_a_value_neither_forges_a_line_nor_controls_a_terminal(logged: Logged) -> None:
    logged.log.info("{it} said", it=NASTY, event="a.b")
    (line,) = logged.lines
    assert line["event"] == "a.b"
    assert line["it"] == '\\x1b[2J"}\\r\\n{"event": "forged"}\\u202e\\ud800'
    assert line["text"] == f"{line['it']} said"


def test_a_failure_has_its_traceback_in_the_same_line(logged: Logged) -> None:
    try:
        raise ValueError(NASTY)
    except ValueError:
        logged.log.failure("failed at {where}", where="home", event="a.failed")
    (line,) = logged.lines
    assert (line["level"], line["text"], line["where"]) == ("critical", "failed at home", "home")
    assert line["traceback"].startswith("Traceback")
    assert "ValueError: \\x1b[2J" in line["traceback"]


def test_events_of_the_older_log_and_of_twisted_have_no_name(logged: Logged) -> None:
    logged.log.info("Site starting on {port}", port=8080)
    before = {"message": ("old", "style"), "isError": 0, "time": 0.0, "system": "-"}
    legacy._publishNew(logged.publisher, before, legacy.textFromEventDict)
    first, second = logged.lines
    assert (first["event"], first["port"]) == ("other", 8080)
    assert (second["event"], second["text"]) == ("other", "old style")


def test_a_field_takes_no_member_of_the_line(logged: Logged) -> None:
    logged.log.info("{text}", text="mine", ts=1, event="a.b")
    (line,) = logged.lines
    assert (line["text"], line["text_"], line["ts_"]) == ("mine", "mine", 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", [1], {"a": 1}])
def test_every_value_is_json(logged: Logged, value: object) -> None:
    logged.log.info("it", value=value, event="a.b")
    assert logged.lines[0]["value"] == str(value)


def test_a_value_that_cannot_be_shown_spoils_nothing(logged: Logged) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    logged.log.info("it", value=Broken(), event="a.b")
    assert logged.lines[0]["value"] == "(not shown: RuntimeError)"


def test_an_observer_with_lines_of_its_own_gets_the_object_as_text() -> None:
    """That of --syslog."""
    seen: list[dict[str, Any]] = []
    publisher = LogPublisher(LegacyLogObserverWrapper(seen.append))  # type: ignore[arg-type]
    apply_level(publisher, "info", "json")
    Logger(namespace="push.test", observer=publisher).info("it", event="a.b", n=1)
    text = legacy.textFromEventDict(seen[0])
    assert text is not None
    line = json.loads(text)
    assert (line["event"], line["n"], line["logger"]) == ("a.b", 1, "push.test")

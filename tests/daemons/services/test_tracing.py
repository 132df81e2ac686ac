"""Whether spans are made, and with what."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from twisted.internet.task import Clock

from push.daemons.config.errors import StartError
from push.daemons.config.otel_section import ENDPOINT_VARIABLES, OtelSection
from push.daemons.services.tracing import TroubleLog, make_tracer

NODE = "node-1"
URL = "http://127.0.0.1:4318"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)


def test_without_an_endpoint_there_is_none() -> None:
    assert make_tracer(Clock(), OtelSection(), NODE) is None


def test_the_setting_makes_one() -> None:
    assert make_tracer(Clock(), OtelSection(endpoint=URL), NODE) is not None


@pytest.mark.parametrize("name", ENDPOINT_VARIABLES)
def test_a_standard_variable_makes_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, URL)
    assert make_tracer(Clock(), OtelSection(), NODE) is not None


def test_the_setting_without_the_packages_is_a_problem_of_the_start(not_installed: None) -> None:
    with pytest.raises(StartError, match="otel"):
        make_tracer(Clock(), OtelSection(endpoint=URL), NODE)


def test_a_variable_without_the_packages_is_not(
    not_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLES[0], URL)
    assert make_tracer(Clock(), OtelSection(), NODE) is None


class Direct(Clock):
    """A reactor that runs at once what other threads ask for."""

    def callFromThread(self, work: Any, *arguments: Any) -> None:
        work(*arguments)


@pytest.mark.parametrize(
    "said",
    [
        "HTTPConnectionPool(host='c', port=1): Max retries exceeded with url: /hush?hush (Caused…)",
        "Invalid URL 'http://me:hush@c:4318/hush?hush=1'",
    ],
)
def test_what_the_sdk_says_is_logged_without_what_may_be_a_secret(
    said: str, log_lines: list[str]
) -> None:
    TroubleLog(Direct()).emit(logging.makeLogRecord({"msg": said}))  # type: ignore[arg-type]
    (line,) = [line for line in log_lines if "spans could not be sent" in line]
    assert "hush" not in line
    assert "redacted" in line

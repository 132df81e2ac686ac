"""Whether spans are made, and with what."""

from __future__ import annotations

import sys

import pytest
from twisted.internet.task import Clock

from push.daemons.config.errors import StartError
from push.daemons.config.otel_section import ENDPOINT_VARIABLES, OtelSection
from push.daemons.services.tracing import make_tracer

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

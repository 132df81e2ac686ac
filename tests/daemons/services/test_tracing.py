"""Whether spans are made, and with what."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import pytest
import pytest_twisted
from opentelemetry.sdk.trace import TracerProvider
from twisted.internet.task import Clock

from push.daemons.config.errors import StartError
from push.daemons.config.otel_section import ENDPOINT_VARIABLES, OtelSection
from push.daemons.services.tracing import OtelTracer, TroubleLog, make_tracer
from push.pushing.content import PushContent
from push.pushing.service import Push, PushService
from push.pushing.targets import Target
from push.redis.keyspace import LEDGER_TRACE, message_name
from push.redis.shards import Shards
from push.streams.publisher import Publisher
from push.wire.idents import Snowflake

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


@pytest_twisted.ensureDeferred
async def test_a_message_keeps_the_trace_of_its_publishing_if_that_is_sampled(
    connect: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def provider(*of: Any) -> TracerProvider:
        return TracerProvider()  # it sends nothing

    monkeypatch.setattr("push.daemons.services.tracing.make_provider", provider)
    tracer = OtelTracer(Clock(), OtelSection(), NODE)
    tracer.startService()
    store = await connect(redis_url)
    shards = Shards([store])
    pushing = PushService(shards, Publisher(shards), Snowflake(lambda: 1, 1), tracer=tracer)
    kept = []
    for flags in ("01", "00"):
        trace = f"00-{'1' * 32}-{'2' * 16}-{flags}"
        content = PushContent(data=msgspec.Raw(b"1"))
        sent = await pushing.push(Push(Target("user", ("anna",)), content, trace=trace))
        key = store.key(message_name(sent.id))
        kept.append(await store.command("HGET", key, LEDGER_TRACE))
    await tracer.stopService()
    sampled, unsampled = kept
    assert sampled.decode().startswith(f"00-{'1' * 32}-")
    assert unsampled is None

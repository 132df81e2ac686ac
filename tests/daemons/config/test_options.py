"""The options of the daemons, in this process and as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from twisted.python import usage

from push import __version__
from push.daemons.config.loading import KEYS
from push.daemons.config.options import DaemonOptions
from push.daemons.twistd import all_in_one, api, connector, sub
from tests import warm
from tests.waiting import DEADLINE_SECONDS

ROOT = Path(__file__).parents[3]


def parse(options: type[DaemonOptions], *words: str) -> DaemonOptions:
    parsed = options()
    parsed.parseOptions(words)
    return parsed


def twistd(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [str(Path(sys.executable).parent / "twistd"), *words],
        cwd=ROOT,
        env={**os.environ, **variables},
        timeout=DEADLINE_SECONDS,
    )


def test_an_option_sets_what_the_file_sets() -> None:
    options = parse(all_in_one.Options, "--connector-window", "7", "--http-listen=[::1]:0")
    assert options.settings.connector.window == 7
    assert options.settings.http.listen == "[::1]:0"


@pytest.mark.parametrize(
    "options", [all_in_one.Options, connector.Options, api.Options, sub.Options]
)
def test_reuse_port_has_a_short_spelling_on_every_daemon(options: type[DaemonOptions]) -> None:
    assert not parse(options).settings.server.reuse_port
    assert parse(options, "--reuse-port").settings.server.reuse_port
    assert parse(options, "--server-reuse-port", "true").settings.server.reuse_port
    assert "--reuse-port" in options().getUsage()


def test_underscores_of_a_key_may_be_written_as_they_are() -> None:
    options = parse(all_in_one.Options, "--connector-max_frame", "9000", "--server-node=a_b")
    assert options.settings.connector.max_frame == 9000
    assert options.settings.server.node == "a_b"


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_SERVER_DATA", "/var/lib/push")
    assert parse(api.Options).settings.server.data_folder == Path("/var/lib/push")


@pytest.mark.parametrize(
    ("options", "redis_url", "listen"),
    [
        (all_in_one.Options, "embedded", "127.0.0.1:8080"),
        (connector.Options, "redis://127.0.0.1:6379", "127.0.0.1:8080"),
        (api.Options, "redis://127.0.0.1:6379", "127.0.0.1:8080"),
        (sub.Options, "redis://127.0.0.1:6379", "127.0.0.1:8082"),
    ],
)
def test_the_defaults_of_each_daemon(
    options: type[DaemonOptions], redis_url: str, listen: str
) -> None:
    settings = parse(options).settings
    assert (settings.redis.url, settings.http.listen) == (redis_url, listen)


@pytest.mark.parametrize(
    ("options", "has", "has_not"),
    [
        (connector.Options, "connector-tls", "http-listen"),
        (api.Options, "limits-max-payload", "connector-tls"),
        (sub.Options, "limits-registrations-per-minute", "connector-window"),
    ],
)
def test_a_daemon_has_the_options_that_matter_to_it(
    options: type[DaemonOptions], has: str, has_not: str
) -> None:
    names = options()
    assert has in names
    assert has_not not in names


@pytest.mark.parametrize(
    "words",
    [["--connector-windw", "1"], ["--connector-window", "x"], ["something"], ["--config", "/no"]],
)
def test_a_mistake_is_a_usage_error(words: Sequence[str]) -> None:
    with pytest.raises(usage.UsageError):
        parse(all_in_one.Options, *words)


def test_help_explains_every_option_with_its_default_and_examples() -> None:
    text = " ".join(twistd("push", "--help").stdout.split())
    for key in KEYS.values():
        assert f"--{key.option}=" in text
        assert " ".join(key.help.split()) in text
    assert '(default "127.0.0.1:6789")' in text
    assert "(default 64, a whole number 1 … 4096)" in text
    assert "twistd -n push --server-data /var/lib/push" in text


def test_twistd_lists_the_daemons() -> None:
    text = twistd("--help").stdout
    for name in ("push", "push-connector", "push-api", "push-group", "push-sub"):
        assert f"\n    {name} " in text


def test_twistd_says_a_mistake_in_one_line_and_fails() -> None:
    ran = twistd("-n", "--pidfile=", "push", PUSH_CONNECTOR_WINDW="1")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("twistd push: environment: PUSH_CONNECTOR_WINDW is not a setting")
    assert ran.stderr.count("\n") == 1


def test_an_unknown_option_is_one_line_too() -> None:
    ran = twistd("-n", "--pidfile=", "push-api", "--htp-listen", "x")
    assert ran.returncode == 1
    assert ran.stderr.startswith("twistd push-api: option --htp-listen not recognized")
    assert ran.stderr.count("\n") == 1


def test_version_is_ours() -> None:
    assert twistd("push", "--version").stdout == f"push {__version__}\n"

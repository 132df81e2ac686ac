"""The nets of conftest.py catch what they are for: tried on a small run of pytest of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[1]

SAMPLE = """
import pytest, pytest_twisted
from twisted.internet.defer import fail
from twisted.logger import Logger
from twisted.python.failure import Failure

@pytest_twisted.ensureDeferred
async def test_good(wait_until, redis_url, redis_server):
    redis_server.kill()
    redis_server.start()
    assert await wait_until(lambda: 3) == 3

@pytest_twisted.ensureDeferred
async def test_leaves_a_call():
    from twisted.internet import reactor
    reactor.callLater(600, print)

@pytest_twisted.ensureDeferred
async def test_logs_a_failure():
    Logger().failure("oh", Failure(ValueError("deep")))

@pytest_twisted.ensureDeferred
async def test_drops_a_failed_deferred():
    fail(KeyError("nobody looked"))

@pytest_twisted.ensureDeferred
async def test_drops_a_failed_deferred_in_a_circle():
    failed = fail(IndexError("nobody looked here either"))
    failed.itself = failed

def test_expected_errors(flush_logged_errors):
    Logger().failure("oh", Failure(ValueError("deep")))
    Logger().critical("bad")
    assert len(flush_logged_errors(ValueError)) == 1
    assert len(flush_logged_errors()) == 1

@pytest_twisted.ensureDeferred
async def test_waits_for_what_does_not_come(wait_until):
    have = {"n1"}
    await wait_until(
        lambda: have == {"n1", "n2"} and 3, deadline_seconds=0.02
    )
"""
PORT_TAKER = """
import sys
from tests import ports
ports.PORTS = [int(sys.argv[1])]
ports.free_port()
"""
SKIPPING = """
import pytest

def test_good():
    pass

def test_needs_something():
    pytest.skip("there is no zookeeper")
"""


def run_pytest(
    folder: Path, text: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_sample.py").write_text(text)
    options_always = "-ra -p no:cacheprovider -p no:schemathesis"  # as in pyproject.toml
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = {options_always}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PUSH_TEST_NO_SKIP": "", **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


PROCESSES = pytest.mark.parametrize(
    "options", [(), ("-n", "2")], ids=["one process", "two processes"]
)


@PROCESSES
def test_what_a_test_leaves_behind_fails_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    ran = run_pytest(tmp_path, SAMPLE, *options)
    bad = dict(re.findall(r"(?m)^(?:FAILED|ERROR) test_sample.py::(\w+) - (.*)$", ran.stdout))
    assert set(bad) == {
        "test_leaves_a_call",
        "test_logs_a_failure",
        "test_drops_a_failed_deferred",
        "test_drops_a_failed_deferred_in_a_circle",
        "test_waits_for_what_does_not_come",
    }
    assert "delayed calls left in the reactor" in ran.stdout
    assert "ValueError: deep" in ran.stdout
    assert "KeyError: 'nobody looked'" in ran.stdout
    assert "IndexError: nobody looked here either" in ran.stdout
    assert 'not within 0.02 s: have == {"n1", "n2"} and 3' in ran.stdout
    assert "  have = {'n1'}" in ran.stdout
    assert ran.returncode == 1


@PROCESSES
@pytest.mark.parametrize(("no_skip", "status"), [("", 0), ("1", 1)])
def test_a_skip_fails_the_run_only_when_asked_for(
    tmp_path: Path, no_skip: str, status: int, options: tuple[str, ...]
) -> None:
    ran = run_pytest(tmp_path, SKIPPING, *options, PUSH_TEST_NO_SKIP=no_skip)
    assert ran.returncode == status
    assert "there is no zookeeper" in ran.stdout
    assert re.search(r"(?m)^1 passed, 1 skipped in ", ran.stdout)
    assert ("1 skipped, so the run fails" in ran.stdout) == bool(no_skip)


def test_a_port_that_was_given_away_is_given_to_no_other_process() -> None:
    """Also while nobody listens on it: a killed daemon is started on it again."""
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    ran = subprocess.run(
        [sys.executable, "-c", PORT_TAKER, str(ports[0])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no free port" in ran.stderr


def test_a_wait_that_fails_shows_the_parts_of_its_condition() -> None:
    names, found = {"n1"}, {"sessions": 3}

    def condition() -> bool:
        return len(names) > 1

    conditions = [
        lambda: len(names) >= 2 and found,
        lambda: found["sessions"] == 4 or not names,
        lambda: found["capacity"] == 4 if not names else False,
        condition,
    ]
    shown = []
    for each in conditions:
        with pytest.raises(AssertionError) as raised:
            wait_for(each, "two of them", deadline_seconds=0)
        shown.append(str(raised.value).splitlines())
    assert shown[0] == [
        "not within 0 s: two of them",
        "  the last value was False",
        "  names = {'n1'}",
        "  found = {'sessions': 3}",
    ]
    assert shown[1][2:] == ["  found['sessions'] = 3", "  names = {'n1'}"]
    assert shown[3][2:] == ["  names = {'n1'}"]


def test_a_condition_that_raises_ends_the_wait_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0)

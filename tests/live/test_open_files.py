"""The least number of open files with which a daemon starts is one with which it works."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from push.daemons.config.loading import load
from push.daemons.process.open_files import files_needed
from tests.live.test_first_words import TAPS, Speaking
from tests.live.test_start_problems import start, the_line
from tests.waiting import wait_for

# As shells have it for themselves: over a limit that was lowered after it was opened.
HIGH_DESCRIPTOR = 351
ROLES = {"push": ("api", "connector", "group", "sub")}


def least_files(tap: str, redis_url: str) -> int:
    roles = ROLES.get(tap, (tap.removeprefix("push-"),))
    return files_needed(load(options={"redis-url": redis_url}), frozenset(roles))


@pytest.fixture
def inherited_descriptor() -> Iterator[None]:
    """A descriptor that every child process has, until the test ends."""
    with open(os.devnull) as file:
        high = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, HIGH_DESCRIPTOR)
    os.set_inheritable(high, True)
    yield
    os.close(high)


class Inheriting(Speaking):
    inherits = True


@pytest.mark.parametrize("tap", TAPS)
def test_with_the_least_number_of_open_files_a_daemon_serves(
    tap: str, tmp_path: Path, redis_url: str, inherited_descriptor: None
) -> None:
    url = "embedded" if tap == "push" else redis_url
    least = least_files(tap, url)
    assert least < HIGH_DESCRIPTOR
    line = the_line(start(tmp_path, tap=tap, files=least - 1, redis_url=url))
    assert f"may have {least - 1} files open and needs at least {least}" in line
    daemon = Inheriting(tap, tmp_path, {"redis_url": url}, least)
    try:
        daemon.begin()
        wait_for(daemon.ready, f"{tap} with {least} files")
        assert "Traceback" not in daemon.log_text()
    finally:
        daemon.stop()

"""What makes a run of ten thousand tests cheaper and leaves nothing out."""

from __future__ import annotations

import gc
from functools import cache
from typing import ClassVar
from weakref import WeakSet

import _pytest.unittest
import pytest
from _pytest.runner import runtestprotocol
from twisted.internet import defer

from push.http import static_files
from tests import compiled_routes

# Objects of a test mostly live until its end, and then are collected (`logged_errors`): with
# Python's usual 700 they are looked at many times before.
YOUNG_OBJECTS = 20_000


class _DebugInfo(defer.DebugInfo):
    """What a Deferred has once it failed; says so when it is collected and nobody looked."""

    all: ClassVar[WeakSet[_DebugInfo]] = WeakSet()

    def __init__(self) -> None:
        self.all.add(self)


def set_up() -> None:
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
    # mypy takes no class for another one.
    defer.DebugInfo = _DebugInfo  # type: ignore[misc]
    # Two thousand tests make a site, each with all files of the console.
    static_files._etag = cache(static_files._etag)
    compiled_routes.set_up()
    # At each test pytest looks, in 1.5 ms, which Twisted its trial is of. No test here is of trial.
    _pytest.unittest._get_twisted_version = lambda: _pytest.unittest.TwistedVersion.NotInstalled


def collect_failures() -> None:
    """Find Deferreds that failed and were dropped, if there may be any: those that nothing refers
    to have said so already, others are in circles. Else nobody looks for garbage, in 1 to 4 ms."""
    if any(each.failResult is not None for each in _DebugInfo.all):
        gc.collect(1)


def run_and_tell(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """As `_pytest.runner.pytest_runtest_protocol`, for a process of xdist: of a test that passed
    only one report is sent, instead of three and two that it begins and ends."""
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def tells_little(config: pytest.Config) -> bool:
    """A process of xdist, and nobody has asked for what passed reports of fixtures say."""
    option = config.option
    return hasattr(config, "workerinput") and option.durations is None and not option.xmlpath

"""Makes `device_server` importable for the tests of clients, and runs tests with each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import both


@pytest.fixture(params=sorted(both.FLAVOURS))
def each_client(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once with each device client; `both.PushClient` makes it."""
    both.use(request.param)
    yield request.param
    both.use("aio")

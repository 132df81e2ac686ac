"""The pytest plugin: the fixture `push_server`, a real server for the whole session.

Nothing of the package is imported until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest


@pytest.fixture(scope="session")
def push_server_settings() -> Mapping[str, object]:
    """Settings of `push_server`, as `{"chat.presence": "off"}`: define your own in conftest.py."""
    return {}


@pytest.fixture(scope="session")
def push_server(
    tmp_path_factory: pytest.TempPathFactory, push_server_settings: Mapping[str, object]
) -> Iterator[object]:
    """A `push.testing.server.PushServer`: `twistd push` on free ports, for the whole session.

    Its data folder is one of pytest's temporary folders, so that the log can be read afterwards.
    """
    from push.testing.server import ServerDidNotStart, started_server

    folder = tmp_path_factory.mktemp("push-server")
    problem = ""
    try:
        starting = started_server(folder, push_server_settings)
        server = starting.__enter__()
    except ServerDidNotStart as error:
        problem = f"push_server: {error}"
    if problem:  # not in the `except`: pytest would tell both errors
        pytest.fail(problem, pytrace=False)
    try:
        yield server
    finally:
        starting.__exit__(None, None, None)

from __future__ import annotations

import pytest

from benchmarks import compiled


@pytest.fixture(scope="session")
def programs() -> tuple[str, str]:
    """The compiled load generator and the bare loop; skips where there is no compiler for them."""
    try:
        return compiled.generator(), compiled.send_loop()
    except SystemExit as error:
        if not str(error).startswith("no "):
            raise
        pytest.skip(str(error))

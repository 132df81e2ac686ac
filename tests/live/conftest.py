"""A port for several instances."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def shared_port() -> Iterator[int]:
    """A port that nobody else gets. It is bound here and not listened on, so no connection comes
    here, and whoever shares it may listen there."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]

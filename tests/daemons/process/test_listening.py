"""What a listener would tell a client of its address."""

from __future__ import annotations

import pytest

from push.daemons.config.value_types import ListenAddress
from push.daemons.process.listening import Listener, reachable_name


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[0:0:0:0:0:0:0:0]", "[::0]"])
def test_the_unspecified_address_is_told_as_this_hosts_name(host: str) -> None:
    name = reachable_name()
    expected = f"tls://{f'[{name}]' if ':' in name else name}:0"
    assert (
        Listener(None, "tls", "x", ListenAddress(f"{host}:6790"), None).public_url("tls")
        == expected
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "192.0.2.7", "push.example"])
def test_another_address_is_told_as_it_is(host: str) -> None:
    listener = Listener(None, "tls", "x", ListenAddress(f"{host}:6790"), None)
    assert listener.public_url("tls") == f"tls://{host}:0"

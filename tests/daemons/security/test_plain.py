"""Public listeners without TLS: a warning, or a refusal where they are not allowed."""

from __future__ import annotations

import pytest

from push.daemons.config.errors import StartError
from push.daemons.config.settings import Connector
from push.daemons.config.value_types import ListenAddress
from push.daemons.security.plain import plain_notes


def connector(tcp: str, *, allow_plain: bool) -> Connector:
    return Connector(tcp=ListenAddress(tcp), allow_plain=allow_plain)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", ""])
def test_what_only_this_machine_reaches_is_not_spoken_of(address: str) -> None:
    for allow_plain in (True, False):
        assert plain_notes(connector(address, allow_plain=allow_plain)) == []


@pytest.mark.parametrize(
    "address", ["0.0.0.0:6789", "[::]:6789", "192.0.2.1:1", "10.0.0.1:1", "push.example.com:1"]
)
def test_a_public_one_is_named_and_refused_where_it_is_not_allowed(address: str) -> None:
    (note,) = plain_notes(connector(address, allow_plain=True))
    assert f"[connector] tcp = {address} is a public address without TLS" in note
    with pytest.raises(StartError, match="allow_plain is false") as refused:
        plain_notes(connector(address, allow_plain=False))
    assert "\n" not in str(refused.value)

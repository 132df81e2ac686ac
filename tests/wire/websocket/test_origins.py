"""Which web pages may connect."""

from __future__ import annotations

import pytest

from push.wire.websocket.origins import Origins, normal_origin


@pytest.mark.parametrize(
    ("origin", "host", "accepted"),
    [
        ("https://a.example", "a.example", True),
        ("https://a.example:8443", "a.example:6793", True),
        ("http://A.EXAMPLE", "a.example:6791", True),
        ("http://[::1]:8080", "[::1]:6791", True),
        ("http://localhost:8080", "localhost:6791", True),
        ("http://localhost:8080", "127.0.0.1:6791", True),
        ("http://127.0.0.1:8080", "[::1]:6791", True),
        ("http://localhost", "", False),
        ("http://localhost", "a.example", False),
        ("https://a.example", "localhost:6791", False),
        ("https://localhost.a.example", "localhost:6791", False),
        ("https://b.example", "a.example", False),
        ("https://a.example.evil.example", "a.example", False),
        ("https://evil.example/a.example", "a.example", False),
        ("https://a.example@evil.example", "a.example", False),
        ("null", "a.example", False),
        ("null", "null", False),
        ("", "a.example", False),
        ("", "", False),
        ("https://", "", False),
        ("file://", "a.example", False),
        ("https://a.example:x", "a.example", False),
        ("https://a.example", "a.example:x", True),
        ("https://[::1", "[::1", False),
    ],
)
def test_the_same_host_is_the_name_in_the_request(origin: str, host: str, accepted: bool) -> None:
    assert Origins().accepts(origin, host) is accepted


def test_named_origins_are_compared_whole() -> None:
    known = Origins(["https://a.example", "http://b.example:8080"])
    for origin in ("https://a.example", "https://a.example:443", "HTTP://b.example:8080"):
        assert known.accepts(origin, "c.example")
    for origin in ("http://a.example", "https://a.example:444", "http://b.example", "null"):
        assert not known.accepts(origin, "a.example")
    both = Origins(["same-host", "https://a.example"])
    assert both.accepts("http://c.example", "c.example")
    assert both.accepts("https://a.example", "c.example")
    assert not both.accepts("https://b.example", "c.example")


def test_all_or_none() -> None:
    assert Origins(["*"]).accepts("null", "")
    assert not Origins([]).accepts("https://a.example", "a.example")


@pytest.mark.parametrize("text", ["a.example", "https://a/", "https://a?x", "https://u@a", "x", ""])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an origin"):
        normal_origin(text)

"""Connections of twisted.web's client."""

from __future__ import annotations

from twisted.web.client import HTTPConnectionPool, _HTTP11ClientFactory


class _QuietClientFactory(_HTTP11ClientFactory):
    noisy = False  # each connection would be two lines of the log


def make_pool(reactor: object, *, persistent: bool) -> HTTPConnectionPool:
    """`persistent`: a connection is kept for the next request."""
    pool = HTTPConnectionPool(reactor, persistent)
    pool._factory = _QuietClientFactory
    return pool

"""Listeners for devices that are public and have no TLS."""

from __future__ import annotations

from collections.abc import Iterator

from push.daemons.config.errors import StartError
from push.daemons.config.settings import Connector
from push.wire.addresses import is_loopback_listener

PLAIN_CARRIERS = ("tcp", "ws")


def plain_notes(connector: Connector) -> list[str]:
    """A sentence about each, for operators. Raises `StartError` where they are not allowed."""
    found = list(_public_and_plain(connector))
    if found and not connector.allow_plain:
        raise StartError(
            f"{found[0]} is a public address without TLS, and [connector] allow_plain is false: "
            "listen on loopback, or turn it off"
        )
    return [
        f"{where} is a public address without TLS: secrets and messages can be read on the way. "
        "Use TLS, or set [connector] allow_plain = false to refuse it"
        for where in found
    ]


def _public_and_plain(connector: Connector) -> Iterator[str]:
    for carrier in PLAIN_CARRIERS:
        address = getattr(connector, carrier)
        if address.enabled and not is_loopback_listener(address.host):
            yield f"[connector] {carrier} = {address}"

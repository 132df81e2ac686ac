"""Factories of device connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from push.connector.gateway import Gateway
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.proxy import ProxiedFactory
from push.wire.addresses import Networks
from push.wire.codecs.binary import BINARY


class DeviceFactory(Factory):
    """Connections of one carrier, `tcp` or `tls`."""

    noisy = False

    def __init__(self, gateway: Gateway, carrier: str) -> None:
        self._gateway = gateway
        self._carrier = carrier

    def buildProtocol(self, addr: IAddress | None) -> DeviceConnection:
        return DeviceConnection(self._gateway, self._carrier, self._gateway.new_protocol(BINARY))


def device_factory(
    reactor: Any, gateway: Gateway, tls: Any = None, proxies: Networks | None = None
) -> Factory:
    """What listens for devices on TCP, or inside TLS, whose context factory is `tls`.

    Connections from `proxies` begin with a PROXY header.
    """
    factory: Any = DeviceFactory(gateway, "tcp" if tls is None else "tls")
    if tls is not None:
        factory = TLSMemoryBIOFactory(tls, False, factory, reactor)
    return ProxiedFactory(reactor, factory, proxies, gateway.counters) if proxies else factory

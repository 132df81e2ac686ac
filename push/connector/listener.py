"""Factories of device connections."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from push.connector.connection import DeviceConnection
from push.connector.gateway import Gateway


class DeviceFactory(Factory):
    """Connections of one carrier, `tcp` or `tls`."""

    noisy = False

    def __init__(self, gateway: Gateway, carrier: str) -> None:
        self._gateway = gateway
        self._carrier = carrier

    def buildProtocol(self, addr: IAddress | None) -> DeviceConnection:
        return DeviceConnection(self._gateway, self._carrier, self._gateway.new_session())

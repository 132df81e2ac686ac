"""Factories of device connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from push.connector.gateway import Gateway
from push.connector.limits.admission import AdmittingFactory
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.proxy import ProxiedFactory
from push.connector.transport.tls import DeviceTlsFactory
from push.connector.transport.websocket import WebSocketConnection
from push.runtime.ports import Clock
from push.wire.addresses import Networks
from push.wire.codecs.binary import BINARY
from push.wire.codecs.text import TEXT
from push.wire.event_stream.request import is_stream
from push.wire.websocket.opening import OpeningRules
from push.wire.websocket.origins import Origins


class DeviceFactory(Factory):
    """Connections with binary frames: of the carrier `tcp` or `tls`."""

    noisy = False

    def __init__(self, gateway: Gateway, carrier: str) -> None:
        self._gateway = gateway
        self._carrier = carrier

    def buildProtocol(self, addr: IAddress | None) -> DeviceConnection:
        return DeviceConnection(self._gateway, self._carrier, self._gateway.new_protocol(BINARY))


class WebSocketFactory(Factory):
    """Connections of the carrier `ws` or `wss`."""

    noisy = False

    def __init__(self, gateway: Gateway, carrier: str, rules: OpeningRules) -> None:
        self._gateway = gateway
        self._carrier = carrier
        self._rules = rules
        self._serve_stream = gateway.event_streams.serve_instead_of

    def buildProtocol(self, addr: IAddress | None) -> WebSocketConnection:
        protocol = self._gateway.new_protocol(TEXT)
        return WebSocketConnection(
            self._gateway, self._carrier, protocol, self._rules, self._serve_stream
        )


def device_factory(
    reactor: Clock,
    gateway: Gateway,
    tls: Any = None,
    proxies: Networks | None = None,
    *,
    origins: Origins | None = None,
) -> AdmittingFactory:
    """What listens for devices on TCP, or inside TLS, whose context factory is `tls`.

    Connections from `proxies` begin with a PROXY header. With `origins` it serves WebSocket.
    """
    factory: Any
    if origins is None:
        factory = DeviceFactory(gateway, "tcp" if tls is None else "tls")
    else:
        rules = OpeningRules(origins, is_other=is_stream)
        factory = WebSocketFactory(gateway, "ws" if tls is None else "wss", rules)
    if tls is not None:
        refused = gateway.counters.reasons.refused
        factory = DeviceTlsFactory(tls, factory, gateway.reads, refused, reactor)
    admission = gateway.limits.admission
    if proxies:
        factory = ProxiedFactory(reactor, factory, proxies, gateway.counters, admission)
    return AdmittingFactory(factory, admission, gateway.reads, reactor.seconds)

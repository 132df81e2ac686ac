"""Connections through a load balancer, which begin with a PROXY header (`push.wire.proxy_header`).

Twisted's wrapper stays between transport and protocol for a connection's whole life. Here the
header is read by a protocol of its own, which then gives its transport to the real one and is gone:
a device behind a load balancer costs little more memory than any other, and a plain connection
still writes to its socket directly. The header comes before TLS.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from push.connector.limits.admission import Admission
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.counters import Counters
from push.runtime.ports import Clock
from push.wire.addresses import Networks, peer_ip
from push.wire.proxy_header import BadProxyHeader, ProxyHeader, parse_proxy_header

log = Logger()


class ProxiedFactory(Factory):
    """`devices` makes connections of devices, with or without TLS around them.

    Those from `proxies` must begin with a header; all others are what they were without it.
    """

    noisy = False

    def __init__(
        self,
        reactor: Clock,
        devices: Factory,
        proxies: Networks,
        counters: Counters,
        admission: Admission,
    ) -> None:
        self.reactor = reactor
        self.waiting: set[HeaderReader] = set()
        self.admission = admission
        self._devices = devices
        self._proxies = proxies
        self._counters = counters

    def buildProtocol(self, addr: IAddress | None) -> Any:
        # Made before the header is there, so that its time runs from the accept.
        protocol: Any = self._devices.buildProtocol(addr)
        proxy_ip = peer_ip(getattr(addr, "host", None))
        return HeaderReader(self, proxy_ip, protocol) if proxy_ip in self._proxies else protocol

    def stopFactory(self) -> None:
        """The port is closed: a connection without its header is no session to end."""
        for reader in list(self.waiting):
            reader.abandon()

    def refused(self, proxy_ip: str, reason: str) -> None:
        self._counters.bad_proxy_headers += 1
        log.debug(
            "{ip} is a proxy, but: {reason}", ip=proxy_ip, reason=reason, event="proxy.header_wrong"
        )


class HeaderReader(Protocol):
    """A connection until its header is complete."""

    transport: Any

    def __init__(self, factory: ProxiedFactory, proxy_ip: str, protocol: Any) -> None:
        self._owner = factory
        self._proxy_ip = proxy_ip
        self._protocol = protocol
        self._received = b""
        self._timeout: Any = None

    @property
    def _device(self) -> DeviceConnection:
        """The connection itself, inside TLS."""
        inner = self._protocol
        found: DeviceConnection = (
            inner.wrappedProtocol if isinstance(inner, ProtocolWrapper) else inner
        )
        return found

    def connectionMade(self) -> None:
        reactor = self._owner.reactor
        self._owner.waiting.add(self)
        self._owner.admission.unnamed.add(self)
        deadline = self._device.protocol.next_deadline() or 0.0
        left_seconds = max(deadline - reactor.seconds(), 0.0)
        self._timeout = reactor.callLater(left_seconds, self._refuse, "no PROXY header in time")

    def dataReceived(self, data: bytes) -> None:
        if self._timeout is None:
            return  # refused
        self._received += data
        try:
            header = parse_proxy_header(self._received)
        except BadProxyHeader as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._hand_over(header)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Without a word before: so load balancers look whether anybody listens."""
        if self._done() and self._received:
            self._owner.refused(self._proxy_ip, "it closed the connection within the PROXY header")

    def abandon(self) -> None:
        self._done()
        self.transport.abortConnection()

    def _refuse(self, reason: str) -> None:
        self._owner.refused(self._proxy_ip, reason)
        self.abandon()

    def _hand_over(self, header: ProxyHeader) -> None:
        self._done()
        transport, protocol, device = self.transport, self._protocol, self._device
        if header.source is not None:
            ip, port = header.source
            if not self._owner.admission.has_room_for(ip):
                self.transport.abortConnection()
                return
            device.source = header.source
            log.debug(
                "{proxy} passes on {ip} port {port}",
                proxy=self._proxy_ip,
                ip=ip,
                port=port,
                event="proxy.passed_on",
            )
        transport.protocol = protocol
        protocol.makeConnection(transport)
        rest = self._received[header.size :]
        if rest:
            protocol.dataReceived(rest)

    def _done(self) -> bool:
        """Nothing is waited for any more; whether it was."""
        timeout, self._timeout = self._timeout, None
        if timeout is None:
            return False
        if timeout.active():
            timeout.cancel()
        self._owner.waiting.discard(self)
        self._owner.admission.unnamed.discard(self)
        return True

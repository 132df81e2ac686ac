"""Listening ports, whose failure to start is one line that says what to do."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.tcp import makeBinding
from twisted.logger import Logger

from push.daemons.config.errors import StartError
from push.daemons.config.value_types import ListenAddress
from push.runtime.bounded_port import BoundedPort
from push.runtime.ports import ListeningPort, Reactor
from push.wire.addresses import HostPort

log = Logger()

MakePort = Callable[..., Any]

BACKLOG = 4096
_LARGEST_BACKLOG = Path("/proc/sys/net/core/somaxconn")


class Listener(Service):
    """One listening port. `setting` names where its address comes from, for error messages.

    `make_port` makes the port. With `reuse_port` other processes that do the same may listen there
    as well: the kernel spreads new connections over all of them.
    """

    def __init__(
        self,
        reactor: Reactor,
        name: str,
        setting: str,
        address: ListenAddress,
        factory: object,
        make_port: MakePort = BoundedPort,
        *,
        reuse_port: bool = False,
    ) -> None:
        self.carrier = name
        self._reactor = reactor
        self._setting = setting
        self._address = address
        self._factory = factory
        self._make_port = make_port
        self._reuse_port = reuse_port
        self._port: ListeningPort | None = None
        self.port = 0  # known once it listens, also where the system chooses

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        super().startService()
        if self._port is None:
            self._listen()

    def _listen(self) -> None:
        host, port = self._address.host, self._address.port
        binding = makeBinding(host, port, reuseAddress=True, reusePort=self._reuse_port)
        try:
            # As `listenTCP` does, which knows one kind of port only.
            port = self._make_port(binding, self._factory, BACKLOG, host, self._reactor)
            port.startListening()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            remedy = self._remedy(error.socketError.errno)
            raise StartError(f"cannot listen on {self._address}: {reason}{remedy}") from None
        self._port = port
        self.port = int(port.getHost().port)
        log.info(
            "listening: {name} {at}",
            name=self.carrier,
            at=HostPort(host, self.port),
            event="server.listening",
        )

    def _remedy(self, number: int | None) -> str:
        """What to do about an error of the system, as the end of its line."""
        if number == errno.EADDRINUSE:
            shared = " by a process that does not share it (--reuse-port, the same user)"
            return f"{shared if self._reuse_port else ''}. Free the port or set {self._setting}"
        if number == errno.EACCES:
            return f". Set {self._setting} to a port above 1023 or allow this one"
        return f". Set {self._setting} to an address of this machine"

    def start_closing(self) -> Deferred[None]:
        """Accept no further connections; those that exist stay.

        It cannot be cancelled: the port closes by itself, within the turn of the reactor.
        """
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(_nothing)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.start_closing()

    def public_url(self, scheme: str) -> str:
        """The address as this host would tell it to a client."""
        host = self._address.host
        if _is_unspecified(host):
            host = reachable_name()
        return f"{scheme}://{HostPort(host, self.port)}"


def backlog_notes() -> list[str]:
    """That the kernel cuts the queue of connections that wait to be accepted, if it does."""
    try:
        largest = int(_LARGEST_BACKLOG.read_text())
    except (OSError, ValueError):  # not Linux
        return []
    if largest >= BACKLOG:
        return []
    return [
        f"at most {largest} connections wait to be accepted instead of {BACKLOG}: "
        f"sysctl net.core.somaxconn={BACKLOG}"
    ]


def reachable_name() -> str:
    """This host's name if it resolves here, as it does on most hosts; else the loopback address."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return "127.0.0.1"
    return name


def _is_unspecified(host: str) -> bool:
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        return False


def _nothing() -> None:
    return None

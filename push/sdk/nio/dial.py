"""From a server's name to a connection on a selector: all addresses of the name, raced.

Every step has its own deadline. The look-up of a name is the one thing that only blocks: it runs
in a thread of its own, which is left behind when it takes too long.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from push.sdk.address import ServerAddress
from push.sdk.core.settings import ClientSettings
from push.sdk.dialing import (
    HEAD_START_SECONDS,
    Address,
    AddressOrder,
    certificate_error,
    explain,
    in_turns,
    literal_address,
    no_connection,
    not_resolved,
)
from push.sdk.errors import CertificateUntrusted, ConnectionFailed
from push.sdk.tls import check_fingerprint

# Reports what a function returned, or raised: `in_background(function, report)`.
InBackground = Callable[
    [Callable[[], list[Address]], Callable[[list[Address] | Exception], None]], None
]


@dataclass(slots=True)
class _Try:
    address: Address
    socket: socket.socket
    deadline: float


class Dialer:
    """`report(outcome)` is called once: the connected socket and its address, or why there is none.

    `context` is for `tls://`. `tick(now)` is to be called at `next_deadline()`.
    """

    def __init__(
        self,
        server: ServerAddress,
        settings: ClientSettings,
        context: ssl.SSLContext | None,
        selector: selectors.BaseSelector,
        report: Callable[[tuple[socket.socket, Address] | ConnectionFailed], None],
    ) -> None:
        self._server = server
        self._seconds = settings.connect_seconds
        self._fingerprint = settings.fingerprint_sha256
        self._context = context
        self._selector = selector
        self._report = report
        self._now = 0.0
        self._resolve_by: float | None = None
        self._waiting: list[Address] = []
        self._next_at: float | None = None  # when the next address begins
        self._running: dict[socket.socket, _Try] = {}
        self._handshake: _Try | None = None
        self._failures: list[str] = []
        self._is_over = False

    def start(self, order: AddressOrder, in_background: InBackground, now: float) -> None:
        self._now = now
        literal = literal_address(self._server)
        if literal is not None:
            self._race([literal])
            return
        self._resolve_by = now + self._seconds
        in_background(self._resolve, lambda found: self._resolved(found, order))

    def close(self) -> None:
        """Nobody wants a connection any more."""
        self._is_over = True
        for each in [*self._running.values(), self._handshake]:
            if each is not None:
                self._drop(each.socket)
        self._running.clear()
        self._handshake = None

    def next_deadline(self) -> float | None:
        deadlines = [self._resolve_by, self._next_at]
        deadlines += [each.deadline for each in self._running.values()]
        if self._handshake is not None:
            deadlines.append(self._handshake.deadline)
        return min((each for each in deadlines if each is not None), default=None)

    def tick(self, now: float) -> None:
        self._now = now
        if self._resolve_by is not None and now >= self._resolve_by:
            self._end(ConnectionFailed(not_resolved(self._server, self._seconds)))
            return
        for each in list(self._running.values()):
            if now >= each.deadline:
                self._fail_try(each, f"no connection within {self._seconds:g} s")
        if self._next_at is not None and now >= self._next_at:
            self._next_at = None
            self._begin_next()
        if self._handshake is not None and now >= self._handshake.deadline:
            self._fail_handshake(f"no connection within {self._seconds:g} s")

    # --- The name -----------------------------------------------------------------------------

    def _resolve(self) -> list[Address]:
        server = self._server
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        return in_turns((family, to) for family, *_, to in found)

    def _resolved(self, found: list[Address] | Exception, order: AddressOrder) -> None:
        if self._is_over or self._resolve_by is None:
            return
        self._resolve_by = None
        if isinstance(found, Exception):  # a host name that cannot be one, too
            self._end(ConnectionFailed(f"{self._server}: {explain(found)}"))
        else:
            self._race(order.sorted(found))

    # --- The race -----------------------------------------------------------------------------

    def _race(self, addresses: list[Address]) -> None:
        self._waiting = addresses
        self._begin_next()

    def _begin_next(self) -> None:
        """Begin with the next address; the one after it gets its turn a little later."""
        while self._waiting and not self._is_over and self._handshake is None:
            address = self._waiting.pop(0)
            self._next_at = self._now + HEAD_START_SECONDS if self._waiting else None
            if self._begin(address):
                return
        if not self._running and self._handshake is None and not self._is_over:
            self._end(ConnectionFailed(no_connection(self._server, self._failures)))

    def _begin(self, address: Address) -> bool:
        """Whether it is on its way."""
        try:
            made = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            self._failures.append(explain(error, self._seconds))
            return False
        made.setblocking(False)
        # An acknowledgement must not wait for that of the bytes before it.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        attempt = _Try(address, made, self._now + self._seconds)
        try:
            code = made.connect_ex(address.sockaddr)
        except (OSError, OverflowError) as error:
            self._failures.append(explain(error, self._seconds))
            made.close()
            return False
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            self._failures.append(os.strerror(code))
            made.close()
            return False
        self._running[made] = attempt
        self._selector.register(
            made, selectors.EVENT_WRITE, lambda events: self._connected(attempt)
        )
        return True

    def _connected(self, attempt: _Try) -> None:
        code = attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail_try(attempt, os.strerror(code))
            return
        del self._running[attempt.socket]
        self._selector.unregister(attempt.socket)
        # Should TLS come to nothing, the addresses that have not failed get their turn again.
        self._waiting = [each.address for each in self._running.values()] + self._waiting
        for each in self._running.values():
            self._drop(each.socket)
        self._running.clear()
        self._next_at = None
        if self._server.secure:
            self._begin_handshake(attempt)
        else:
            self._finish(attempt.socket, attempt.address)

    def _fail_try(self, attempt: _Try, why: str) -> None:
        del self._running[attempt.socket]
        self._drop(attempt.socket)
        self._failures.append(why)
        self._next_at = None
        self._begin_next()

    # --- TLS ----------------------------------------------------------------------------------

    def _begin_handshake(self, attempt: _Try) -> None:
        assert self._context is not None
        try:
            secured = self._context.wrap_socket(
                attempt.socket,
                server_hostname=self._server.host,
                do_handshake_on_connect=False,
            )
        except (OSError, ValueError) as error:
            attempt.socket.close()
            self._failures.append(explain(error, self._seconds))
            self._begin_next()
            return
        self._handshake = _Try(attempt.address, secured, self._now + self._seconds)
        self._selector.register(secured, selectors.EVENT_WRITE, lambda events: self._shake())

    def _shake(self) -> None:
        attempt = self._handshake
        assert attempt is not None
        assert isinstance(attempt.socket, ssl.SSLSocket)
        try:
            attempt.socket.do_handshake()
            if self._fingerprint is not None:
                certificate = attempt.socket.getpeercert(binary_form=True)
                check_fingerprint(certificate, self._fingerprint)
        except ssl.SSLWantReadError:
            self._watch(attempt, selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._watch(attempt, selectors.EVENT_WRITE)
        except ssl.SSLCertVerificationError as error:
            self._end(certificate_error(self._server, error))
        except CertificateUntrusted as error:
            self._end(CertificateUntrusted(f"{self._server}: {error}"))
        except (OSError, ValueError) as error:
            self._fail_handshake(explain(error, self._seconds))
        else:
            self._handshake = None
            self._selector.unregister(attempt.socket)
            self._finish(attempt.socket, attempt.address)

    def _watch(self, attempt: _Try, events: int) -> None:
        self._selector.modify(attempt.socket, events, lambda events: self._shake())

    def _fail_handshake(self, why: str) -> None:
        """It accepts, and says nothing or nonsense: the next address may do more."""
        attempt, self._handshake = self._handshake, None
        assert attempt is not None
        self._drop(attempt.socket)
        self._failures.append(why)
        self._begin_next()

    # --- The end ------------------------------------------------------------------------------

    def _drop(self, unwanted: socket.socket) -> None:
        self._selector.unregister(unwanted)
        unwanted.close()

    def _finish(self, connected: socket.socket, address: Address) -> None:
        self._is_over = True
        self._report((connected, address))

    def _end(self, error: ConnectionFailed) -> None:
        self.close()
        self._report(error)

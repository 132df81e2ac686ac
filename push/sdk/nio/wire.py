"""One connection's bytes on a selector, with or without TLS. It never blocks."""

from __future__ import annotations

import selectors
import socket
import ssl
from contextlib import suppress
from typing import Protocol

from push.sdk.dialing import CLOSE_SECONDS

READ_BYTES = 65_536
WRITE_BYTES = 65_536
READS_A_TURN = 16  # then others of this thread get their turn
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class WireOwner(Protocol):
    def received(self, data: bytes) -> None: ...

    def lost(self, reason: str) -> None: ...

    def wire_closed(self) -> None: ...


class WireSocket:
    """A connected socket; for TLS an `SSLSocket` after its handshake."""

    def __init__(
        self,
        connected: socket.socket,
        selector: selectors.BaseSelector,
        owner: WireOwner,
    ) -> None:
        self._socket = connected
        self._selector = selector
        self._owner = owner
        self._outgoing = bytearray()
        self._interest = _READ
        self._read_wants_write = self._write_wants_read = False
        self._is_lost = self._is_closing = self._is_closed = False
        self._is_ours = False
        self._shut = False
        self.close_by: float | None = None
        selector.register(connected, _READ, self.ready)

    def send(self, data: bytes) -> None:
        if not self._is_lost and not self._is_closing:
            self._outgoing += data
            self._write()
            self._watch()

    def close(self, now: float, *, is_ours: bool, abort: bool) -> None:
        """Send what is left; then, if the close `is_ours`, let the other side close: closing with
        unread input resets the connection, and a reset may overtake our last acknowledgements.
        `wire_closed` follows within 2 s.
        """
        self._is_closing = True
        self._is_ours = is_ours
        self.close_by = now + CLOSE_SECONDS
        if abort or self._is_lost:
            self.destroy()
        else:
            self._go_on_closing()

    def destroy(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.close_by = None
        if self._interest:
            self._selector.unregister(self._socket)
        self._socket.close()
        self._owner.wire_closed()

    def ready(self, events: int) -> None:
        """The selector's callback."""
        if events & _READ or self._read_wants_write:
            self._read()
        if self._outgoing and not self._is_lost and not self._is_closed:
            self._write()
        if self._is_closing and not self._is_closed:
            self._go_on_closing()
        self._watch()

    def _read(self) -> None:
        self._read_wants_write = self._write_wants_read = False
        for _ in range(READS_A_TURN):
            try:
                data = self._socket.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except ssl.SSLWantWriteError:
                self._read_wants_write = True
                return
            except (OSError, ValueError) as error:
                # An end without TLS' goodbye is one all the same: nothing is taken as complete
                # because a connection ended.
                self._lose("" if isinstance(error, ssl.SSLEOFError) else str(error))
                return
            if not data:
                self._lose("")
                return
            if not self._is_closing:
                self._owner.received(data)
            if self._is_closed:
                return
        # What TLS holds already makes no socket ready.
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            self._read()

    def _write(self) -> None:
        try:
            while self._outgoing:
                sent = self._socket.send(bytes(self._outgoing[:WRITE_BYTES]))
                del self._outgoing[:sent]
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except ssl.SSLWantReadError:
            self._write_wants_read = True
        except (OSError, ValueError) as error:
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._outgoing.clear()
        if self._is_closing:
            self.destroy()
        else:
            self._owner.lost(reason)

    def _go_on_closing(self) -> None:
        if self._outgoing:
            self._write()
        if self._outgoing or self._is_closed:
            self._watch()
            return
        if not self._is_ours:
            self.destroy()
        elif not self._shut:
            self._shut = True
            self._say_end()

    def _say_end(self) -> None:
        """TLS' goodbye, then the end of our bytes. What comes from now on is thrown away."""
        if isinstance(self._socket, ssl.SSLSocket):
            with suppress(OSError, ValueError):  # it waits for the other's goodbye: we do not
                self._socket.unwrap()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.destroy()

    def _watch(self) -> None:
        """Only what can be gone on with: nothing wakes this thread for nothing."""
        if self._is_closed:
            return
        interest = 0 if self._is_lost else _READ
        if self._read_wants_write or (self._outgoing and not self._write_wants_read):
            interest |= _WRITE
        if interest == self._interest:
            return
        if not self._interest:
            self._selector.register(self._socket, interest, self.ready)
        elif interest:
            self._selector.modify(self._socket, interest, self.ready)
        else:
            self._selector.unregister(self._socket)
        self._interest = interest

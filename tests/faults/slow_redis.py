"""A proxy in front of Redis: its answers come late, or subscriptions are lost without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

PIECE_BYTES = 65_536


class SlowRedis:
    """A TCP port that leads to the Redis on a unix socket. It runs in threads of this process.

    `delay_seconds`: how much later what Redis sends arrives, messages of channels included.
    """

    def __init__(self, socket_path: str) -> None:
        self.delay_seconds = 0.0
        self._path = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[_Pair] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self._path)
            except OSError:
                near.close()
                continue
            self._pairs.append(_Pair(self, near, far))

    def cut_subscribers(self) -> None:
        """Redis loses the subscribers of this moment; they do not notice: nothing comes to them."""
        for pair in self._pairs:
            if pair.subscribes:
                pair.cut()

    def close(self) -> None:
        self._listener.close()
        for pair in self._pairs:
            pair.close()


class _Pair:
    """One connection through the proxy."""

    def __init__(self, proxy: SlowRedis, near: socket.socket, far: socket.socket) -> None:
        self.subscribes = False
        self._proxy = proxy
        self._near, self._far = near, far
        self._is_cut = False
        self._late: deque[tuple[float, bytes]] = deque()
        self._more = threading.Condition()
        for work in (self._to_redis, self._from_redis, self._deliver):
            threading.Thread(target=work, daemon=True).start()

    def cut(self) -> None:
        self._is_cut = True
        _close(self._far)

    def close(self) -> None:
        self._is_cut = False
        _close(self._far)
        self._pass_on(b"")

    def _to_redis(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._near.recv(PIECE_BYTES):
                self.subscribes |= b"SUBSCRIBE" in data
                if not self._is_cut:
                    self._far.sendall(data)
        _close(self._far)

    def _from_redis(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._far.recv(PIECE_BYTES):
                self._pass_on(data)
        if not self._is_cut:
            self._pass_on(b"")

    def _pass_on(self, data: bytes) -> None:
        with self._more:
            self._late.append((time.monotonic() + self._proxy.delay_seconds, data))
            self._more.notify()

    def _deliver(self) -> None:
        while True:
            with self._more:
                self._more.wait_for(lambda: self._late)
                due, data = self._late.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                break
            try:
                self._near.sendall(data)
            except OSError:
                break
        _close(self._near)


def _close(connection: socket.socket) -> None:
    """Also what another thread reads from: it sees the end."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

"""Event loops that are not asyncio's own, and names with the addresses a test wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop


class ForeignTransport:
    """A transport by what it does; no class of asyncio."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Between(asyncio.Protocol):
    """Hands a protocol the foreign transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def connection_made(self, transport: Any) -> None:
        self._protocol.connection_made(ForeignTransport(transport))

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> Any:
        return self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)


class ForeignLoop(asyncio.SelectorEventLoop):
    async def create_connection(self, factory: Any, *where: Any, **options: Any) -> Any:
        protocol = factory()
        made = await super().create_connection(lambda: _Between(protocol), *where, **options)
        return ForeignTransport(made[0]), protocol


class BlockingLoop(asyncio.SelectorEventLoop):
    """With it the client is the blocking one, which has no event loop of its own."""


LOOPS: dict[str, type[Any]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "blocking": BlockingLoop,
    "foreign": ForeignLoop,
    "uvloop": uvloop.Loop,
}


def with_names(loop: type[Any], **names: list[str]) -> Callable[[], Any]:
    """A factory of loops of that class that resolve `names` to those addresses, in that order.

    So does the whole process while a `BlockingLoop` lives.
    """
    resolve = socket.getaddrinfo

    def found(host: Any, port: Any) -> Any:
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in names[host]
        ]

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return found(host, port) if host in names else resolve(host, port, *args, **options)

    class Named(loop):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            if loop is BlockingLoop:
                socket.getaddrinfo = getaddrinfo

        def close(self) -> None:
            socket.getaddrinfo = resolve
            super().close()

        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            if host not in names:
                return await super().getaddrinfo(host, port, **options)
            return found(host, port)

    return Named

"""From a server's name to a connection in asyncio: all addresses of the name, raced.

Every attempt has its own deadline. Written here because not every event loop has the race (uvloop
does not).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ssl import SSLCertVerificationError, SSLContext, SSLObject
from typing import TypedDict, TypeVar

from push.sdk.address import ServerAddress
from push.sdk.dialing import (
    CLOSE_SECONDS,
    HEAD_START_SECONDS,
    Address,
    certificate_error,
    explain,
    in_turns,
    literal_address,
    no_connection,
    not_resolved,
)
from push.sdk.errors import CertificateUntrusted, ConnectionFailed
from push.sdk.tls import check_fingerprint

P = TypeVar("P", bound=asyncio.Protocol)


class _Secure(TypedDict, total=False):
    """What `create_connection` takes for TLS."""

    ssl: SSLContext | None
    server_hostname: str
    ssl_handshake_timeout: float
    ssl_shutdown_timeout: float


@dataclass(frozen=True, slots=True)
class Dialing:
    """`context` and `fingerprint` matter for `tls://` only. `attempt_seconds`: for the name, for
    each address and for each TLS handshake. `order` says in which order addresses are tried.
    """

    context: SSLContext | None
    fingerprint: bytes | None
    attempt_seconds: float
    order: Callable[[list[Address]], list[Address]]


async def dial(server: ServerAddress, make: Callable[[], P], options: Dialing) -> tuple[P, Address]:
    """Connect, and for TLS judge the certificate before anything is sent.

    Raises `CertificateUntrusted` and `ConnectionFailed`.
    """
    failures: list[str] = []
    addresses = options.order(await _resolve(server, options.attempt_seconds))
    while addresses:
        found = await _first_connected(addresses, options.attempt_seconds, failures)
        if found is None:
            break
        connected, address, addresses = found
        try:
            return await _start(server, make, connected, options), address
        except CertificateUntrusted:
            raise
        except ConnectionFailed as error:  # accepts and says nothing: the next address may do more
            failures.append(str(error))
    raise ConnectionFailed(no_connection(server, failures))


async def _resolve(server: ServerAddress, seconds: float) -> list[Address]:
    """The addresses of the name, the families taking turns."""
    literal = literal_address(server)
    if literal is not None:
        return [literal]  # no thread for what needs no look-up
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ConnectionFailed(not_resolved(server, seconds)) from None
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
        raise ConnectionFailed(f"{server}: {explain(error)}") from None
    return in_turns((family, to) for family, *_, to in found)


async def _first_connected(
    addresses: list[Address], seconds: float, failures: list[str]
) -> tuple[socket.socket, Address, list[Address]] | None:
    """The first socket that connects, and the addresses that have not failed yet; or None.

    What the others failed of is added to `failures`.
    """
    waiting = list(addresses)
    running: dict[asyncio.Task[socket.socket], Address] = {}
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(_connect(address, seconds))] = address
            head_start = HEAD_START_SECONDS if waiting else None
            done, _ = await asyncio.wait(
                running, timeout=head_start, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None:
                    address = running.pop(task)
                    return task.result(), address, [*running.values(), *waiting]
                running.pop(task)
                failures.append(explain(error, seconds))
        return None
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_unwanted)


def _close_unwanted(attempt: asyncio.Task[socket.socket]) -> None:
    """An attempt that lost the race may have connected in the same turn of the loop."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: Address, seconds: float) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(made, address.sockaddr)
    except BaseException:
        made.close()
        raise
    return made


async def _start(
    server: ServerAddress, make: Callable[[], P], connected: socket.socket, options: Dialing
) -> P:
    """TLS and the protocol on a connected socket."""
    seconds = options.attempt_seconds
    secure: _Secure = {}
    if server.secure:
        secure = {
            "ssl": options.context,
            "server_hostname": server.host,
            "ssl_handshake_timeout": seconds,
            "ssl_shutdown_timeout": CLOSE_SECONDS,
        }
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            transport, protocol = await loop.create_connection(make, sock=connected, **secure)
    except SSLCertVerificationError as error:
        connected.close()
        raise certificate_error(server, error) from None
    except (OSError, ValueError) as error:
        connected.close()
        raise ConnectionFailed(explain(error, seconds)) from None
    except BaseException:
        connected.close()
        raise
    if server.secure and options.fingerprint is not None:
        ssl_object: SSLObject = transport.get_extra_info("ssl_object")
        try:
            check_fingerprint(ssl_object.getpeercert(binary_form=True), options.fingerprint)
        except CertificateUntrusted as error:
            transport.abort()
            raise CertificateUntrusted(f"{server}: {error}") from None
    return protocol

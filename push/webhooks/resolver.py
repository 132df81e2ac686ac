"""Names are resolved to public addresses only.

The address that a name resolves to is judged where the connection is made, and is the one that is
connected to: so no name that changes its address in between leads inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IResolutionReceiver,
)
from zope.interface import implementer

from push.runtime.ports import HostResolver, Reactor
from push.webhooks.addresses import is_public, not_public

LOOK_UP_SECONDS = 2.0

Address = IPv4Address | IPv6Address


class AddressReceiver(Protocol):
    """Is told the addresses of a host (an `IResolutionReceiver`)."""

    def resolutionBegan(self, resolution: object, /) -> None: ...

    def addressResolved(self, address: Address, /) -> None: ...

    def resolutionComplete(self) -> None: ...


@implementer(IResolutionReceiver)
class _PublicReceiver:
    """Passes on the addresses that are public. `refused(address)` is called for the others."""

    def __init__(self, receiver: AddressReceiver, refused: Callable[[str], None]) -> None:
        self._receiver = receiver
        self._refused = refused
        self.resolutionBegan = receiver.resolutionBegan
        self.resolutionComplete = receiver.resolutionComplete

    def addressResolved(self, address: Address) -> None:
        if is_public(address.host):
            self._receiver.addressResolved(address)
        else:
            self._refused(address.host)


@implementer(IHostnameResolver)
class PublicResolver:
    """Resolves names, and addresses as well, to public addresses only.

    `refused` has hosts whose addresses were not public, for the message that there is none.
    """

    def __init__(self, resolver: HostResolver) -> None:
        self._resolver = resolver
        self.refused: dict[str, str] = {}

    def resolveHostName(
        self, receiver: AddressReceiver, name: str, *more: object, **options: object
    ) -> object:
        def refused(address: str) -> None:
            self.refused[name] = address

        return self._resolver.resolveHostName(
            _PublicReceiver(receiver, refused), name, *more, **options
        )


@implementer(IReactorTCP, IReactorTime, IReactorPluggableNameResolver)
class PublicReactor:
    """A reactor for Twisted's clients, which resolves by a `PublicResolver`."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.nameResolver = PublicResolver(reactor.nameResolver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class PublicHosts:
    """Refuses URLs whose host is known not to be public, as far as that can be told in time."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    async def check(self, url: str) -> None:
        """Raises `RequestError` `invalid` if the host has addresses and none of them is public. One
        that cannot be looked up now is judged when it is connected to."""
        host = urlsplit(url).hostname or ""
        found = await self._look_up(host)
        if found and not any(is_public(address) for address in found):
            raise not_public(host)

    async def _look_up(self, host: str) -> list[str]:
        addresses = _Addresses()
        self._reactor.nameResolver.resolveHostName(addresses, host)
        late = self._reactor.callLater(LOOK_UP_SECONDS, addresses.resolutionComplete)
        await addresses.complete
        if late.active():
            late.cancel()
        return addresses.found


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects addresses until `complete` fires."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolution: object) -> None:
        """What comes too late is ignored."""

    def addressResolved(self, address: Address) -> None:
        self.found.append(address.host)

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(None)

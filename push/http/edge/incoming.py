"""All that is asked of a request that came by HTTP, by either of the parsers that read one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IAddress


class HeaderValues(Protocol):
    """Headers by their name in small letters."""

    def getRawHeaders(self, name: bytes, /) -> Sequence[bytes] | None: ...

    def hasHeader(self, name: bytes, /) -> bool: ...


class IncomingRequest(Protocol):
    """A request whose head is there. (The names are twisted.web's.) `uri`: path and query."""

    @property
    def requestHeaders(self) -> HeaderValues: ...

    @property
    def uri(self) -> bytes: ...

    def getHeader(self, name: bytes, /) -> bytes | None: ...

    def getClientAddress(self) -> IAddress: ...

    def getHost(self) -> IAddress: ...

    def isSecure(self) -> bool: ...

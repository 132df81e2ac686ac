"""What the code needs of Twisted's reactor, as types.

Twisted's own interfaces (zope) say nothing to mypy about the classes that provide them. A reactor
provides both of these, `twisted.internet.task.Clock` the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ProcessProtocol


class DelayedCall(Protocol):
    def active(self) -> bool: ...

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic time in seconds, and calls at a later time."""

    def seconds(self) -> float: ...

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall: ...


class TimeOfDay(Protocol):
    """The time of the day in milliseconds since 1970 UTC, by the clock of a Redis server."""

    def now_ms(self) -> int: ...


class ClientEndpoint(Protocol):
    """Makes a connection, whose protocol `factory` builds."""

    def connect(self, factory: Any, /) -> Deferred[Any]: ...


# What a TLS server is verified by. Twisted's interface of that has no public name.
TrustRoot = Any


class ListeningPort(Protocol):
    def getHost(self) -> Any: ...

    def stopListening(self) -> Any: ...


class HostResolver(Protocol):
    """Finds the addresses of a host, and tells them to `receiver` (an `IResolutionReceiver`)."""

    def resolveHostName(
        self, receiver: object, name: str, /, *more: object, **options: object
    ) -> object: ...


class Reactor(Clock, Protocol):
    """A running event loop."""

    @property
    def nameResolver(self) -> HostResolver: ...

    def callFromThread(
        self, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> None: ...

    def callInThread(
        self, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> None: ...

    def callWhenRunning(
        self, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> object: ...

    def addSystemEventTrigger(
        self,
        phase: str,
        event: str,
        callable: Callable[..., Any],
        /,
        *args: object,
        **kwargs: object,
    ) -> object: ...

    def listenTCP(
        self, port: Any, factory: Any, /, backlog: int = ..., interface: str = ...
    ) -> ListeningPort: ...

    def spawnProcess(
        self,
        process: ProcessProtocol,
        executable: str,
        args: Sequence[str],
        /,
        *more: object,
        **options: object,
    ) -> object: ...

    def stop(self) -> None: ...


def as_twisted(clock: Clock) -> IReactorTime:
    """`clock` for a function of Twisted that wants the interface."""
    return cast(IReactorTime, clock)

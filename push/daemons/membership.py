"""A daemon's own entries in the registry, kept current."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from push.cluster.registry.entry import RegistryEntry
from push.cluster.registry.interface import NameTaken, Registry

log = Logger()

UPDATE_SECONDS = 2.0
TAKEN_SECONDS = 15.0  # until a name that was taken is tried again

Describe = Callable[[], RegistryEntry]


class Membership(Service):
    """Registers what `describe` functions say, and says it again as it changes.

    Entries are asked for after the start, when the listening ports are known. Another live process
    of the same name is a `problem` until it is gone: a session here would count as nobody's.
    """

    def __init__(self, reactor: Any, registry: Registry, describe: Sequence[Describe]) -> None:
        self._reactor = reactor
        self._registry = registry
        self._describe = describe
        self._taken: dict[Describe, str] = {}
        self._loop = LoopingCall(self.update)
        self._loop.clock = reactor
        self._registering: list[Deferred[None]] = []

    def startService(self) -> None:
        super().startService()
        self._registry.start()
        for describe in self._describe:
            registering = Deferred.fromCoroutine(self._register(describe))
            registering.addErrback(_log_failure)
            self._registering.append(registering)
        self._loop.start(UPDATE_SECONDS, now=False)

    @property
    def problem(self) -> str | None:
        """Why this daemon is not registered and will not be by itself, in a sentence."""
        return next(iter(self._taken.values()), None)

    async def _register(self, describe: Describe) -> None:
        while True:
            try:
                await self._registry.register(describe())
            except NameTaken as error:
                log.error("{problem}", problem=str(error))
                self._taken[describe] = str(error)
                await deferLater(self._reactor, TAKEN_SECONDS)
            else:
                self._taken.pop(describe, None)
                return

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        for registering in self._registering:
            registering.cancel()
        return Deferred.fromCoroutine(self._registry.stop())

    def update(self) -> None:
        """Tell the registry what holds now."""
        for describe in self._describe:
            self._registry.update(describe())


def _log_failure(failure: Any) -> None:
    if not failure.check(CancelledError):
        log.failure("This node could not be registered", failure=failure)

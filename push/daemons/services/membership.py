"""A daemon's own entries in the registry, kept current."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.registry.entry import RegistryEntry
from push.cluster.registry.interface import NameTaken, Registry
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.runtime.timers import Periodic, sleep

log = Logger()

UPDATE_SECONDS = 2.0
TAKEN_SECONDS = 15.0  # until a name that was taken is tried again

Describe = Callable[[], RegistryEntry]


class Membership(Service):
    """Registers what `describe` functions say, and says it again as it changes.

    Entries are asked for after the start, when the listening ports are known. Another live process
    of the same name is a `problem` until it is gone: a session here would belong to no connector.
    """

    def __init__(self, reactor: Clock, registry: Registry, describe: Sequence[Describe]) -> None:
        self._reactor = reactor
        self._registry = registry
        self._describe = describe
        self._taken: dict[Describe, str] = {}
        self._updates = Periodic(reactor, UPDATE_SECONDS, self.update, _log_failure)
        self._registering = TaskGroup()

    def startService(self) -> None:
        super().startService()
        self._registry.start()
        for describe in self._describe:
            self._registering.run(self._register(describe), _log_failure)
        self._updates.start()

    @property
    def problem(self) -> str | None:
        """Why this daemon is not registered and will not be by itself, in a sentence."""
        return next(iter(self._taken.values()), None)

    async def _register(self, describe: Describe) -> None:
        while True:
            try:
                await self._registry.register(describe())
            except NameTaken as error:
                log.error("{problem}", problem=str(error), event="registry.problem")
                self._taken[describe] = str(error)
                await sleep(self._reactor, TAKEN_SECONDS)
            else:
                self._taken.pop(describe, None)
                entry = describe()
                log.info(
                    "registered: {service} {instance}",
                    service=entry.service,
                    instance=entry.instance,
                    event="registry.joined",
                )
                return

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._updates.stop()
        self._registering.cancel()
        return Deferred.fromCoroutine(self._registry.stop())

    def update(self) -> None:
        """Write the current state to the registry."""
        for describe in self._describe:
            self._registry.update(describe())


def _log_failure(failure: Failure) -> None:
    log.failure(
        "This node could not be registered", failure=failure, event="registry.registration_failed"
    )

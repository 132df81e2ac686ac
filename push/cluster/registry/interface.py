"""The registry as the rest of the source tree sees it: one interface, whatever it is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from push.cluster.registry.entry import RegistryEntry

Snapshot = Mapping[str, Mapping[str, RegistryEntry]]  # service → instance → entry


class NameTaken(Exception):
    """Another live process is registered under the same service and instance name."""

    def __init__(self, service: str, instance: str, boot: str) -> None:
        super().__init__(
            f"the name {instance!r} is taken: another live {service} (boot id {boot}) is "
            "registered under it; give this node a name of its own ([server] node)"
        )
        self.service = service
        self.instance = instance
        self.boot = boot


class RegistryUnavailable(Exception):
    """What the registry is kept in cannot be used now; it is tried again by itself."""


class Registry(ABC):
    """The processes of the cluster. All calls are made in the reactor's thread.

    The view is kept while Redis or ZooKeeper is unreachable, and own entries return by
    themselves after an outage, an expired session or a loss of all data.
    """

    @abstractmethod
    def start(self) -> None:
        """Begin to follow the registry, and to register whatever was given to `register`."""

    @abstractmethod
    async def stop(self) -> None:
        """Withdraw own entries if that is possible within seconds, and let go of everything.

        Deferreds of `ready` and calls of `register` that still wait are cancelled.
        """

    @abstractmethod
    async def register(self, entry: RegistryEntry) -> None:
        """Register `entry`, and keep it registered until `withdraw`. Returns once it is.

        Waits as long as the registry is unreachable, and as long as the entry of a dead process of
        the same name has not lapsed. Raises `NameTaken` when that process shows to be alive,
        ValueError for an impossible name. Calling it again is harmless and works like `update`.
        """

    @abstractmethod
    def update(self, entry: RegistryEntry) -> None:
        """Replace an own entry. Written at once if its role changed (draining, addresses, …), and
        otherwise with others, about once a second. Ignored when it is not registered."""

    @abstractmethod
    async def withdraw(self, service: str, instance: str) -> None:
        """Take an own entry out. If the registry is unreachable it lapses, or goes after a
        reconnect."""

    @abstractmethod
    def view(self) -> Snapshot:
        """Everybody, as last known: the same object until something changes, and never modified."""

    @abstractmethod
    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the view."""

    @abstractmethod
    async def ready(self) -> None:
        """Fires once a first full view was read (at once, if it was). Each call gets its own."""

    @property
    @abstractmethod
    def problem(self) -> str | None:
        """What is wrong now, in a sentence for people; None when the view is current."""

    @property
    @abstractmethod
    def joined(self) -> bool:
        """Whether the registry was read and our entries were in it when it was last read. Then a
        `problem` stops nobody's work: all go by what they knew last."""

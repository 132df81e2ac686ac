"""What a node is called, and that nobody else on this machine is called the same.

A daemon that shares a port can be started twice by mistake without the kernel refusing it. So an
instance that shares its ports and was given a name holds a lock on that name in the data folder: a
second one is refused at once, with one line. (Of an instance elsewhere, or with another data
folder, the registry tells some seconds later; see `push.daemons.services.membership`.)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from twisted.application.service import Service

from push.daemons.config.errors import StartError
from push.daemons.process.data_folder import make_data_folder
from push.daemons.process.file_lock import try_lock

BOOT_DIGITS = 8


def node_name(given: str, boot: str, *, unique: bool) -> str:
    """The name that was given, else the host's; `unique` adds what no other process has.

    Not the process id: in containers it is the same for all, and twistd forks after this.
    """
    if given:
        return given
    host = socket.gethostname()
    return f"{host}-{boot[:BOOT_DIGITS]}" if unique else host


class NameLock(Service):
    """Holds `node` for each of `services` from the start to the end of the process.

    `privilegedStartService`, because it comes before anything listens, and raises StartError when
    another process has the name.
    """

    def __init__(self, data_folder: Path, node: str, services: Sequence[str]) -> None:
        self._folder = data_folder / "names"
        self._node = node
        self._services = services
        self._held: list[int] = []

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        make_data_folder(self._folder)
        for service in self._services:
            self._held.append(self._lock(service))

    def _lock(self, service: str) -> int:
        path = self._folder / f"{service}@{self._node}.lock"
        try:
            descriptor = try_lock(path)
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}") from None
        if descriptor is None:
            holder = path.read_text().strip() or "starting"
            raise StartError(
                f"the name {self._node!r} is in use by another {service} on this machine (process "
                f"{holder}); give each instance a name of its own: --server-node"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return descriptor

    def stopService(self) -> None:
        super().stopService()
        while self._held:
            os.close(self._held.pop())

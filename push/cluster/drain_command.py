"""Telling a connector to leave the cluster."""

from __future__ import annotations

from push.cluster.commands import ControlChannel
from push.cluster.directory import Directory
from push.cluster.registry.entry import CONNECTOR
from push.wire.errors import RequestError


class NodeDrains:
    """Commands to connectors by the name of their node."""

    def __init__(self, directory: Directory, control: ControlChannel) -> None:
        self._directory = directory
        self._control = control

    async def drain(self, node: str, rate_per_second: float) -> None:
        """The connector `node` sends its sessions elsewhere and ends; 0: at its usual rate.

        Raises `RequestError` `not_found` when there is no such connector.
        """
        boots = [
            entry.boot
            for entry in self._directory.nodes()
            if entry.service == CONNECTOR and entry.instance == node
        ]
        if not boots:
            raise RequestError(
                "not_found", f"no connector is registered under the name {node[:64]!r}"
            )
        for boot in boots:
            await self._control.drain(boot, rate_per_second)

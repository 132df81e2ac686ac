"""The connectors of tests/connector, for what is refused there."""

from __future__ import annotations

from tests.connector.conftest import boots, device, dial, keyring, make_node, more_urls, node
from tests.devices.conftest import store

__all__ = ["boots", "device", "dial", "keyring", "make_node", "more_urls", "node", "store"]

"""The domain of a real deployment, for the parts of the demo that are tested by themselves."""

from __future__ import annotations

from tests.connector.conftest import boots, keyring, make_node, more_urls

__all__ = ["boots", "keyring", "make_node", "more_urls"]

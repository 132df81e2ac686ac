"""The devices of tests/devices, to push to."""

from __future__ import annotations

from tests.devices.conftest import closed, devices, devices_domain, domain, make_devices, store

__all__ = ["closed", "devices", "devices_domain", "domain", "make_devices", "store"]

"""Where streams live in Redis."""

from __future__ import annotations

DEVICE_PREFIX = "dev:"


def log_name(stream: str) -> str:
    """The key (without prefix) of a stream's log."""
    return f"log:{stream}"


def channel_name(stream: str) -> str:
    """The channel (without prefix) of a stream."""
    return f"live:{stream}"


def record_name(token: str) -> str:
    """The key (without prefix) of a device's record: its owner, its session, its cursors."""
    return f"device:{token}"


def group_name(group: str) -> str:
    """The key (without prefix) of a group's record, which is there as long as the group is."""
    return f"group:{group}"


def is_device_stream(stream: str) -> bool:
    return stream.startswith(DEVICE_PREFIX)

"""Which sessions a filter is for."""

from __future__ import annotations

from collections.abc import Callable

from push.connector.sessions.device_session import DeviceSession
from push.devices.session_queries import Filter
from push.wire.addresses import Networks

KICKED_REASON = "by order of an operator"


def test_of(asked: Filter) -> Callable[[DeviceSession], bool]:
    """Whether a session of this connector fits; `node` is not looked at."""
    networks = Networks([] if asked.ip is None else [asked.ip])
    users = None if asked.users is None else frozenset(asked.users)
    stream = None if asked.topic is None else f"topic:{asked.topic}"

    def fits(device: DeviceSession) -> bool:
        return (
            (asked.session is None or device.session_id == asked.session)
            and (asked.token is None or device.token == asked.token)
            and (asked.user is None or device.user == asked.user)
            and (users is None or device.user in users)
            and not (asked.without_token and device.token is not None)
            and (stream is None or stream in device.subscriptions)
            and (asked.ip is None or device.connection.ip in networks)
        )

    return fits

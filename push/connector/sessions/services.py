"""What a connector is given: its settings, and what it works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from push.access.api_keys import Keyring
from push.access.bans import Bans
from push.access.request_rates import FailedKeys
from push.chat.service import ChatService
from push.cluster.commands import ControlChannel
from push.connector.limits.connector_limits import ConnectorLimitSettings
from push.devices.registration import Devices
from push.devices.sessions import Sessions
from push.devices.topics import Topics
from push.observe.session_events import SessionEvents
from push.redis.shards import Shards
from push.redis.shared_copy import Lease
from push.runtime.tracing import Tracer
from push.session.server_answers import SessionLimits
from push.wire.idents import Snowflake


class GatewaySettings(msgspec.Struct, frozen=True):
    """How a connector behaves. `max_connections` 0 = no limit of its own."""

    boot: str
    node: str
    limits: SessionLimits
    open_registration: bool = False
    max_connections: int = 0
    connector_limits: ConnectorLimitSettings = ConnectorLimitSettings()


class GatewayServices(NamedTuple):
    """What a connector works with.

    `others(carrier, ip)`: URLs of other connectors for a device on that carrier, at that address;
    `drain_ordered(rate_per_second)`: an operator wants this connector to leave;
    `is_short_of_memory()`: this process begins nothing new; `tracer` None: nothing is traced.
    """

    shards: Shards
    control: ControlChannel
    devices: Devices
    sessions: Sessions
    topics: Topics
    chat: ChatService
    keyring: Keyring
    failed_keys: FailedKeys
    bans: Bans
    lease: Lease
    snowflake: Snowflake
    session_events: SessionEvents
    others: Callable[[str, str], Sequence[str]] = lambda carrier, ip: ()
    drain_ordered: Callable[[float], None] = lambda rate_per_second: None
    is_short_of_memory: Callable[[], bool] = lambda: False
    tracer: Tracer | None = None

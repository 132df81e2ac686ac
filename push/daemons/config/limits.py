"""The section `[limits]` of the settings (see `push.daemons.config.settings`)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from push.daemons.config.section import MEBIBYTE, Count, Section
from push.daemons.config.value_types import MemorySize
from push.wire import defaults


class Limits(Section, frozen=True):
    """What one client may ask for."""

    registrations_per_minute: Annotated[
        Count, Meta(description="registrations a minute from one address; 0 = no limit")
    ] = 10
    failed_secrets_per_minute: Annotated[
        Count,
        Meta(description="wrong secrets a minute for one token from one address; 0 = no limit"),
    ] = 10
    frames_per_second: Annotated[
        Count,
        Meta(
            description="frames a second that a session may send, five times as many at once; "
            "acknowledgements of what was sent to it do not count; 0 = no limit"
        ),
    ] = defaults.FRAMES_PER_SECOND
    bytes_per_second: Annotated[
        Count,
        Meta(
            description="bytes a second that a session may send, eight times as many at once; "
            "0 = no limit"
        ),
    ] = defaults.BYTES_PER_SECOND
    connections_per_ip: Annotated[
        Count,
        Meta(
            description="connections of devices at one time from one address (IPv6: /64); "
            "0 = no limit"
        ),
    ] = 0
    connections_per_user: Annotated[
        Count,
        Meta(description="sessions of one user on one connector at one time; 0 = no limit"),
    ] = defaults.CONNECTIONS_PER_USER
    connects_per_minute: Annotated[
        Count,
        Meta(
            description="CONNECTs a minute with one token, or JWT, from one address; 0 = no limit"
        ),
    ] = defaults.CONNECTS_PER_MINUTE
    accepts_per_second: Annotated[
        Count,
        Meta(
            description="connections of devices that a listener accepts in a second; more wait; "
            "0 = no limit"
        ),
    ] = 0
    memory: Annotated[
        MemorySize,
        Meta(
            description='memory of the process from which on it begins nothing new: "60%" of the '
            'machine or its control group, "512MiB"; 0 = no limit'
        ),
    ] = MemorySize(defaults.MEMORY)
    bans_max: Annotated[
        Count, Meta(description="bans at one time; more are refused; 0 = no limit")
    ] = defaults.BANS_MAX
    events_total: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000_000,
            description="entries of the timelines of all devices, on each Redis server; of more, "
            "those of devices that had none for longest go",
        ),
    ] = defaults.EVENTS_TOTAL
    failed_keys_per_minute: Annotated[
        Count, Meta(description="wrong API keys a minute from one address; 0 = no limit")
    ] = 60
    requests_per_second: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="HTTP requests a second of an API key; 0 = no limit"),
    ] = 0
    max_payload: Annotated[
        int,
        Meta(ge=1, le=16 * MEBIBYTE, description="bytes of data, title and body of a message"),
    ] = defaults.MAX_PAYLOAD_BYTES
    ttl_default: Annotated[
        Count, Meta(description="seconds that a message is kept when its push names no ttl")
    ] = defaults.TTL_SECONDS
    ttl_max: Annotated[
        int, Meta(ge=1, description="seconds, the longest ttl that a push may name")
    ] = defaults.TTL_MAX_SECONDS
    shared_max_count: Annotated[
        int,
        Meta(ge=1, description="messages kept of a user's stream, a topic's, a group's and of all"),
    ] = defaults.SHARED_MAX_MESSAGES
    shared_max_age: Annotated[
        int, Meta(ge=1, description="seconds that they are kept at most, whatever their ttl")
    ] = defaults.SHARED_MAX_AGE_SECONDS
    device_retention: Annotated[
        int,
        Meta(ge=1, le=36_500, description="days until a device that never connects is forgotten"),
    ] = defaults.DEVICE_RETENTION_DAYS

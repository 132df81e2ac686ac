"""How many files the process may have open, and how many connections that leaves room for.

A connection is a file. Without room kept for everything else, devices would take what Redis and
the health check need, and the daemon would be lost although it is only full.
"""

from __future__ import annotations

import resource
from collections.abc import Set

from push.connector.limits.admission import MOST_TO_REFUSE
from push.daemons.config.errors import StartError
from push.daemons.config.settings import Settings
from push.daemons.config.value_types import RedisUrl
from push.redis.connection.url import SentinelAddress, parse_store_url

# Standard streams, log, reactor, threads' pipes, locks, and what is opened for a moment (a
# certificate, a page of a log, a name server): an idle daemon has about 20.
FILES_OF_A_PROCESS = 48
FILES_OF_THE_EMBEDDED_REDIS = 8
# Commands, subscriptions, durable writes, and one more while one of them is replaced.
FILES_OF_A_REDIS_SERVER = 4
FILES_OF_ZOOKEEPER = 8
LISTENERS = 5  # tcp, tls, ws, wss, HTTP
# Backends, health checks and metrics: at least so many, and of many files one in 64.
HTTP_CONNECTIONS = 64
MOST_HTTP_CONNECTIONS = 512
# For each of them another one may wait to be served (`push.http.edge.arrivals`).
FILES_OF_HTTP = 2
# Of devices, beside those that may become sessions: they are told where else to go.
REFUSED_CONNECTIONS = MOST_TO_REFUSE
# Fewer are no connector.
LEAST_CONNECTIONS = 32
# Where the limit leaves room for fewer than this, and no setting asks for that, it is reported.
FEW_CONNECTIONS = 1000
# Systems that say "unlimited" mean something; this is what Linux's unit files ask for.
UNLIMITED = 1_048_576

REMEDY = "raise it: ulimit -n, or LimitNOFILE= in a systemd unit"


def raise_file_limit() -> int:
    """Ask for as many open files as this process may have; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = UNLIMITED if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # "unlimited" and yet too many
        return soft
    return wanted


def files_needed(settings: Settings, roles: Set[str]) -> int:
    """How many files a daemon with `roles` needs beside connections of devices."""
    redis = settings.redis.url
    needed = FILES_OF_A_PROCESS + LISTENERS + _files_of_redis(redis)
    needed += FILES_OF_HTTP * HTTP_CONNECTIONS
    if settings.zookeeper.hosts:
        needed += FILES_OF_ZOOKEEPER
    return needed + (REFUSED_CONNECTIONS + LEAST_CONNECTIONS if "connector" in roles else 0)


def _files_of_redis(redis: RedisUrl) -> int:
    if redis.embedded:
        return FILES_OF_THE_EMBEDDED_REDIS + FILES_OF_A_REDIS_SERVER
    total = 0
    for url in redis.urls:
        address = parse_store_url(url)
        total += FILES_OF_A_REDIS_SERVER
        if isinstance(address, SentinelAddress):
            # One question to each, for the connections and again for the news, and the listener.
            total += 2 * len(address.sentinels) + 1
    return total


class ConnectionRoom:
    """How many connections of devices a daemon takes. Raises `StartError` when it cannot work.

    `http_count` is the same of HTTP. `notes` says, in a sentence, that `count` is less than was
    asked for, if it is.
    """

    def __init__(self, settings: Settings, roles: Set[str], limit_files: int) -> None:
        needed = files_needed(settings, roles)
        if limit_files < needed:
            raise StartError(
                f"this process may have {limit_files} files open and needs at least {needed}: "
                f"{REMEDY}"
            )
        self.notes: list[str] = []
        self.count = 0
        spare = limit_files - needed + FILES_OF_HTTP * HTTP_CONNECTIONS
        self.http_count = min(
            settings.http.max_connections
            or max(HTTP_CONNECTIONS, min(MOST_HTTP_CONNECTIONS, limit_files // 64)),
            spare // FILES_OF_HTTP,
        )
        if "connector" not in roles:
            return
        room = max(spare - FILES_OF_HTTP * self.http_count, 0) + LEAST_CONNECTIONS
        wanted = settings.connector.max_connections
        self.count = min(wanted or room, room)
        if self.count < (wanted or FEW_CONNECTIONS):
            what = f"instead of the {wanted} of [connector] max_connections" if wanted else "only"
            self.notes.append(
                f"room for {self.count} connections {what}: this process may have {limit_files} "
                f"files open; {REMEDY}"
            )

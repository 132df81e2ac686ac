"""`twistd push-sub`: device registration and the list of connectors."""

from __future__ import annotations

from push.daemons.config.options import REDIS_OF_A_DAEMON, DaemonOptions, make_options
from push.daemons.daemon import Daemon, make_daemon
from push.wire import defaults

Options = make_options(
    "push-sub",
    ["server", "redis", "zookeeper", "http", "auth", "limits"],
    {**REDIS_OF_A_DAEMON, ("http", "listen"): f"127.0.0.1:{defaults.SUB_PORT}"},
    examples=[
        "-n push-sub --redis-url redis://10.0.0.5",
        "push-sub --config /etc/push.toml --http-listen 0.0.0.0:8082",
    ],
)


def makeService(options: DaemonOptions) -> Daemon:
    return make_daemon(options, {"sub"})

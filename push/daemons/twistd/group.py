"""`twistd push-group`: chat and groups, for backends."""

from __future__ import annotations

from push.daemons.config.options import REDIS_OF_A_DAEMON, DaemonOptions, make_options
from push.daemons.daemon import Daemon, make_daemon
from push.wire import defaults

Options = make_options(
    "push-group",
    ["server", "redis", "zookeeper", "http", "auth", "limits", "chat", "connector.max_backlog"],
    {**REDIS_OF_A_DAEMON, ("http", "listen"): f"127.0.0.1:{defaults.GROUP_PORT}"},
    examples=[
        "-n push-group --redis-url redis://10.0.0.5",
        "push-group --config /etc/push.toml --http-listen 0.0.0.0:8081",
    ],
)


def makeService(options: DaemonOptions) -> Daemon:
    return make_daemon(options, {"group"})

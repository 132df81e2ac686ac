"""`twistd push-webhooks`: delivers events to endpoints of others."""

from __future__ import annotations

from push.daemons.config.options import REDIS_OF_A_DAEMON, DaemonOptions, make_options
from push.daemons.daemon import Daemon, make_daemon
from push.wire import defaults

Options = make_options(
    "push-webhooks",
    ["server", "redis", "zookeeper", "http", "auth", "limits", "webhooks"],
    {**REDIS_OF_A_DAEMON, ("http", "listen"): f"127.0.0.1:{defaults.WEBHOOKS_PORT}"},
    examples=[
        "-n push-webhooks --redis-url redis://10.0.0.5",
        "push-webhooks --config /etc/push.toml --http-listen 0.0.0.0:8083",
    ],
)


def makeService(options: DaemonOptions) -> Daemon:
    return make_daemon(options, {"webhooks"})

"""`twistd push-api`: the HTTP API that backends push through."""

from __future__ import annotations

from push.daemons.config.options import REDIS_OF_A_DAEMON, DaemonOptions, make_options
from push.daemons.daemon import Daemon, make_daemon

Options = make_options(
    "push-api",
    # Who publishes drops the oldest of a full backlog, so that limit matters here too.
    ["server", "redis", "zookeeper", "http", "auth", "limits", "webhooks", "connector.max_backlog"],
    REDIS_OF_A_DAEMON,
    examples=[
        "-n push-api --redis-url redis://10.0.0.5",
        "push-api --config /etc/push.toml --http-listen 0.0.0.0:8080",
    ],
)


def makeService(options: DaemonOptions) -> Daemon:
    return make_daemon(options, {"api"})

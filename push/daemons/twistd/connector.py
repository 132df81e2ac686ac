"""`twistd push-connector`: the gateway that devices connect to."""

from __future__ import annotations

from push.daemons.config.options import REDIS_OF_A_DAEMON, DaemonOptions, make_options
from push.daemons.daemon import Daemon, make_daemon

Options = make_options(
    "push-connector",
    ["server", "redis", "zookeeper", "connector", "auth", "limits", "chat"],
    REDIS_OF_A_DAEMON,
    examples=[
        "-n push-connector --redis-url redis://10.0.0.5",
        "push-connector --config /etc/push.toml --server-node gate-1",
    ],
)


def makeService(options: DaemonOptions) -> Daemon:
    return make_daemon(options, {"connector"})

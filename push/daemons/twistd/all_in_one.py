"""`twistd push`: everything in one process."""

from __future__ import annotations

from push.daemons.config.loading import SECTIONS
from push.daemons.config.options import DaemonOptions, make_options
from push.daemons.daemon import Daemon, make_daemon

Options = make_options(
    "push",
    SECTIONS,
    examples=[
        "-n push",
        "-n push --server-data /var/lib/push --http-listen 127.0.0.1:8000",
        "push --config /etc/push.toml",
    ],
)


def makeService(options: DaemonOptions) -> Daemon:
    return make_daemon(options, {"connector", "api", "sub", "group", "webhooks"})

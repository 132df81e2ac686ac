"""The daemons as `twistd` commands. Strings only: twistd imports every plugin just to list it."""

from twisted.application.service import ServiceMaker

push = ServiceMaker(
    "push",
    "push.daemons.twistd.all_in_one",
    "All of push in one process, with its own Redis.",
    "push",
)
connector = ServiceMaker(
    "push-connector",
    "push.daemons.twistd.connector",
    "The gateway that devices connect to.",
    "push-connector",
)
api = ServiceMaker(
    "push-api", "push.daemons.twistd.api", "The HTTP API that backends push through.", "push-api"
)
group = ServiceMaker(
    "push-group",
    "push.daemons.twistd.group",
    "Chat and groups over HTTP, for backends.",
    "push-group",
)
webhooks = ServiceMaker(
    "push-webhooks",
    "push.daemons.twistd.webhooks",
    "Delivery of events to endpoints of others.",
    "push-webhooks",
)
sub = ServiceMaker(
    "push-sub",
    "push.daemons.twistd.sub",
    "Device registration and the list of connectors.",
    "push-sub",
)

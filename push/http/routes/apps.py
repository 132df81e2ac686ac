"""The apps: which routes each role of a daemon serves, and what it needs for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from push.access.bans import Bans
from push.access.made_keys import MadeKeys
from push.chat.erasure import Erasure
from push.chat.service import ChatService
from push.cluster.directory import Directory
from push.cluster.drain_command import NodeDrains
from push.devices.registration import Devices
from push.devices.session_queries import SessionQueries
from push.devices.topics import Topics
from push.devices.users import Users
from push.http.checks import PushLimits
from push.http.framework.route import App, routes_of
from push.http.routes.bans import BanRoutes
from push.http.routes.chat.conversations import ConversationRoutes
from push.http.routes.chat.groups import GroupRoutes
from push.http.routes.chat.members import MemberRoutes
from push.http.routes.connections import ConnectionRoutes
from push.http.routes.devices import DeviceRoutes
from push.http.routes.messages import MessageRoutes
from push.http.routes.nodes import NodeRoutes
from push.http.routes.operate.audit import AuditRoutes
from push.http.routes.operate.keys import KeyRoutes
from push.http.routes.operate.messages import RecentMessageRoutes
from push.http.routes.operate.observe import ObserveRoutes
from push.http.routes.operate.webhooks import WebhookRoutes
from push.http.routes.operate.whoami import WhoAmIRoutes
from push.http.routes.push import PushRoutes
from push.http.routes.registration import RegistrationRoutes
from push.http.routes.topics import TopicRoutes
from push.http.routes.users import UserRoutes
from push.observe.observer import Observer
from push.pushing.service import PushService
from push.pushing.waiting import WaitingMessages
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.webhooks.service import Webhooks
from push.wire.api.operate.config import Configuration


def make_api(
    *,
    clock: Clock,
    pushing: PushService,
    devices: Devices,
    nodes: Directory,
    drains: NodeDrains,
    sessions: SessionQueries,
    users: Users,
    erasure: Erasure,
    topics: Topics,
    bans: Bans,
    keys: MadeKeys,
    webhooks: Webhooks,
    limits: PushLimits,
) -> App:
    """The app push-api: pushing, devices, users and statistics, for a backend."""

    def adjust(schemas: dict[str, Any]) -> None:
        for name in ("PushBody", "BatchPushBody"):
            fields = schemas[name]["properties"]
            fields["ttl"]["maximum"] = limits.ttl_max_seconds
            fields["ttl"]["default"] = limits.ttl_default_seconds
            fields["data"]["description"] += (
                f"; together with `title` and `body` at most {limits.max_payload_bytes:,} bytes"
            )
        # "exactly one", which the structs cannot say
        schemas["PushTargetBody"].update({"minProperties": 1, "maxProperties": 1})
        schemas["BanBody"]["oneOf"] = [{"required": [kind]} for kind in ("ip", "token", "user")]

    return App(
        "push-api",
        "Push messages, see what became of them, look after devices, read statistics.",
        (
            *routes_of(PushRoutes(clock, pushing, limits)),
            *routes_of(MessageRoutes(pushing)),
            *routes_of(DeviceRoutes(devices)),
            *routes_of(UserRoutes(users, erasure)),
            *routes_of(TopicRoutes(topics)),
            *routes_of(ConnectionRoutes(sessions, devices)),
            *routes_of(BanRoutes(bans)),
            *routes_of(KeyRoutes(keys)),
            *routes_of(NodeRoutes(nodes, drains)),
            *routes_of(WhoAmIRoutes()),
            *routes_of(WebhookRoutes(webhooks)),
        ),
        adjust,
    )


def make_observe(
    *,
    clock: Clock,
    shards: Shards,
    observer: Observer,
    devices: Devices,
    pushing: PushService,
    configuration: Callable[[], Configuration],
) -> App:
    """What operators look at; with push-api, in a part of the documentation of its own."""
    return App(
        "push-observe",
        "See what happens and what happened: events, figures, timelines, the audit trail.",
        (
            *routes_of(ObserveRoutes(clock, observer, devices, WaitingMessages(shards))),
            *routes_of(RecentMessageRoutes(observer.recent, pushing)),
            *routes_of(AuditRoutes(observer.audit, configuration)),
        ),
    )


def make_sub(devices: Devices, servers: Directory, *, open_registration: bool = False) -> App:
    """The app push-sub, for devices. With `open_registration` they need no key here."""
    routes = routes_of(RegistrationRoutes(devices, servers))
    if open_registration:
        routes = tuple(replace(route, scope=None) for route in routes)
    return App("push-sub", "For devices: a token, and where to connect.", routes)


def make_group(chat: ChatService) -> App:
    """The app push-group: chat, for a backend."""
    return App(
        "push-group",
        "Chat: groups, their members and messages; conversations on behalf of a user.",
        (
            *routes_of(GroupRoutes(chat)),
            *routes_of(MemberRoutes(chat.groups)),
            *routes_of(ConversationRoutes(chat)),
        ),
    )

"""push-api: pushing, devices, users and statistics, for a backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import UNSET, Meta, structs

from push.http.checks import PushLimits, message_of
from push.http.framework.problems import Problem, problem_of
from push.http.framework.request_reading import check_idempotency_key
from push.http.framework.route import (
    App,
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.http.routes import connections as client_management
from push.http.routes.bans import BanStore, ban_routes
from push.http.routes.connections import SessionAdmin, client_routes
from push.http.routes.messages import MessageLookup, message_routes
from push.http.routes.nodes import Drains, node_routes
from push.http.routes.topics import TopicStore, topic_routes
from push.http.routes.users import Erasure, UserStore, user_routes
from push.pushing.service import Push
from push.wire.api.devices import Device
from push.wire.api.nodes import NodeStats, Stats
from push.wire.api.push import (
    MAX_BATCH_ITEMS,
    BatchAnswer,
    BatchPushBody,
    BatchReceipt,
    PushBody,
    PushResult,
)
from push.wire.errors import RequestError
from push.wire.reading import decoder_for

MAX_BATCH_BYTES = 16 * 1024 * 1024

TOKEN_TEXT = "the token of a device"
USER_TEXT = "the id of a user"


class PushAcceptor(MessageLookup, Protocol):
    """What is needed of `push.pushing.service.PushAcceptor`."""

    async def push(self, push: Push) -> PushResult: ...

    async def push_batch(self, items: Sequence[Push]) -> Sequence[PushResult | RequestError]: ...


class DeviceStore(client_management.DeviceLookup, Protocol):
    """What is needed of `push.devices.registration.DeviceStore`."""

    async def get(self, token: str) -> Device: ...

    async def forget(self, token: str) -> list[str]: ...

    async def bind(self, user: str, token: str) -> list[str]: ...

    async def unbind(self, user: str, token: str) -> list[str]: ...


class PushNode(client_management.ListedNode, Protocol):
    """What is needed of an entry of the cluster's directory."""

    @property
    def counters(self) -> Mapping[str, int]: ...


class PushNodes(Protocol):
    """What is needed of `push.cluster.directory.Directory`."""

    def nodes(self) -> Sequence[PushNode]: ...


def make_api(
    pushing: PushAcceptor,
    devices: DeviceStore,
    nodes: PushNodes,
    drains: Drains,
    clients: SessionAdmin,
    users: UserStore,
    erasure: Erasure,
    topics: TopicStore,
    bans: BanStore,
    limits: PushLimits | None = None,
) -> App:
    """The app push-api. `limits` None = the defaults of the contract."""
    limits = limits or PushLimits()

    def adjust(schemas: dict[str, Any]) -> None:
        for name in ("PushBody", "BatchPushBody"):
            schemas[name]["properties"]["ttl"].update(
                {"maximum": limits.ttl_max_seconds, "default": limits.ttl_default_seconds}
            )
        # "exactly one", which the struct cannot say
        schemas["PushTargetBody"].update({"minProperties": 1, "maxProperties": 1})

    return App(
        "push-api",
        "Push messages, see what became of them, look after devices, read statistics.",
        (
            *_push_routes(pushing, limits),
            *message_routes(pushing),
            *_device_routes(devices),
            *user_routes(users, erasure),
            *topic_routes(topics),
            *client_routes(clients, devices, nodes),
            *ban_routes(bans),
            *node_routes(drains),
            _stats_route(nodes),
        ),
        adjust,
    )


# --- pushing -----------------------------------------------------------------------------------

_PUSH_EXAMPLE = {"to": {"all": True}, "data": {"text": "hello"}}


def _push_routes(pushing: PushAcceptor, limits: PushLimits) -> tuple[Route, Route]:
    decode_push, decode_item = decoder_for(PushBody), decoder_for(BatchPushBody)

    async def push(call: Request) -> Response:
        target, content = message_of(call.body, limits)
        return json_answer(202, await pushing.push(Push(target, content, call.once)))

    async def push_batch(call: Request) -> Response:
        def read(index: int, raw: msgspec.Raw) -> Push | RequestError:
            try:
                return _push_of_item(decode_item(bytes(raw)), index, call, limits)
            except RequestError as refusal:
                return refusal

        results: list[Any] = [read(index, raw) for index, raw in enumerate(call.body)]
        good = [index for index, result in enumerate(results) if isinstance(result, Push)]
        outcomes = await pushing.push_batch([results[index] for index in good]) if good else []
        for index, outcome in zip(good, outcomes, strict=True):
            results[index] = outcome
        return json_answer(200, {"results": [_batch_result(result) for result in results]})

    return (
        Route(
            "POST",
            "/v1/push",
            "push",
            "Push a message",
            push,
            {202: DocumentedResponse("Accepted: stored for every device it is for.", PushResult)},
            description=(
                "`streams` says how many logs the message was written to (one for each device, "
                "user, a topic, or everyone), `online` how many of them a connector followed at "
                "that moment. Users and topics need not exist. Among `tokens`, those that no "
                "device has are named in `unknown`; when none is known the answer is 404. To an "
                "`ip` nothing is stored: `online` is how many sessions were there, `ttl` counts "
                "as 0, and nodes that did not answer within two seconds are named in `silent`. "
                "`data`, `title` and `body` "
                f"together are at most {limits.max_payload_bytes:,} bytes as JSON."
            ),
            scope="push",
            body=Body(PushBody, decode_push, _PUSH_EXAMPLE),
            problems=("unknown_token", "unknown_group", "unavailable"),
            once=True,
        ),
        Route(
            "POST",
            "/v1/push/batch",
            "push_batch",
            "Push many messages",
            push_batch,
            {
                200: DocumentedResponse(
                    "One result for each item, in order.", BatchAnswer, (BatchReceipt, Problem)
                )
            },
            description=(
                f"1 to {MAX_BATCH_ITEMS:,} items, each as for `POST /v1/push`, in at most 16 MiB. "
                "Each is judged alone: one that is wrong fails alone. Each may have an "
                "`idempotency_key`; with the header `Idempotency-Key` all that have none get one, "
                "made of the header and their place in the batch."
            ),
            scope="push",
            body=Body(
                Annotated[list[BatchPushBody], Meta(min_length=1, max_length=MAX_BATCH_ITEMS)],
                # Not yet the items: one that is wrong must not spoil the others.
                decoder_for(
                    Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH_ITEMS)]
                ),
                [_PUSH_EXAMPLE, {"to": {"user": "anna"}, "data": 1, "ttl": 0}],
                MAX_BATCH_BYTES,
            ),
            problems=("unavailable",),
            once=True,
        ),
    )


def _push_of_item(item: BatchPushBody, index: int, call: Request, limits: PushLimits) -> Push:
    """An item of a batch; its key is its own, or made of the batch's and its place."""
    target, content = message_of(item, limits)
    if item.idempotency_key is not UNSET:
        check_idempotency_key(item.idempotency_key, "idempotency_key")
        return Push(target, content, f"{call.scope} item {item.idempotency_key}")
    return Push(target, content, call.once and f"{call.once} place {index}")


def _batch_result(result: PushResult | RequestError) -> BatchReceipt | Problem:
    if isinstance(result, RequestError):
        return problem_of(result)
    return BatchReceipt(**structs.asdict(result))


# --- devices and users -------------------------------------------------------------------------


def _device_routes(devices: DeviceStore) -> tuple[Route, ...]:
    async def get_device(call: Request) -> Response:
        return json_answer(200, await devices.get(call.path["token"]))

    async def forget_device(call: Request) -> Response:
        return in_effect(await devices.forget(call.path["token"]))

    async def bind(call: Request) -> Response:
        return in_effect(await devices.bind(call.path["user"], call.path["token"]))

    async def unbind(call: Request) -> Response:
        return in_effect(await devices.unbind(call.path["user"], call.path["token"]))

    token = {"token": TOKEN_TEXT}
    both = {"user": USER_TEXT, "token": TOKEN_TEXT}
    problems = ("invalid", "unknown_token", "unavailable")
    return (
        Route(
            "GET",
            "/v1/devices/{token}",
            "get_device",
            "Look a device up",
            get_device,
            {200: DocumentedResponse("The device.", Device)},
            description=(
                "Times are milliseconds since 1970 UTC; `backlog` is how many messages wait. A "
                "token whose check character is wrong is `invalid`: it was mistyped."
            ),
            scope="read",
            path_texts=token,
            problems=problems,
        ),
        Route(
            "DELETE",
            "/v1/devices/{token}",
            "forget_device",
            "Forget a device",
            forget_device,
            {
                204: DocumentedResponse(
                    "Forgotten, with all that waited for it; its session is closed."
                ),
                200: REPLY_UNCONFIRMED,
            },
            scope="admin",
            path_texts=token,
            problems=problems,
        ),
        Route(
            "PUT",
            "/v1/users/{user}/devices/{token}",
            "bind_device",
            "Bind a device to a user",
            bind,
            {
                204: DocumentedResponse(
                    "Bound, at once also for a live session; another user is replaced."
                ),
                200: REPLY_UNCONFIRMED,
            },
            scope="push",
            path_texts=both,
            problems=problems,
        ),
        Route(
            "DELETE",
            "/v1/users/{user}/devices/{token}",
            "unbind_device",
            "Unbind a device from a user",
            unbind,
            {
                204: DocumentedResponse("The device is bound to no user now."),
                200: REPLY_UNCONFIRMED,
            },
            scope="push",
            path_texts=both,
            problems=(*problems, "not_found"),
        ),
    )


# --- statistics --------------------------------------------------------------------------------


def _stats_route(nodes: PushNodes) -> Route:
    async def stats(call: Request) -> Response:
        return json_answer(200, stats_of(nodes.nodes()))

    return Route(
        "GET",
        "/v1/stats",
        "stats",
        "Statistics of the cluster",
        stats,
        {200: DocumentedResponse("The sums, and the daemons they come from.", Stats)},
        description="As last reported by each daemon, at most a few seconds ago.",
        scope="read",
    )


def stats_of(nodes: Sequence[PushNode]) -> Stats:
    """Sums over all daemons."""
    counters: Counter[str] = Counter()
    for node in nodes:
        counters.update(node.counters)
    rows = [
        NodeStats(
            node.service,
            node.instance,
            node.sessions,
            node.capacity,
            node.version,
            node.draining,
            dict(node.counters),
        )
        for node in nodes
    ]
    return Stats(sum(row.sessions for row in rows), dict(counters), rows)

"""The HTTP API's requests about sessions, users and nodes; see `push.sdk.backend.calls.base`."""

from __future__ import annotations

import msgspec

from push.sdk.backend.calls.base import (
    JSON,
    ApiCall,
    read_nothing,
    read_object,
    read_silent,
    reader,
)
from push.sdk.backend.calls.paths import path_of
from push.wire.api.connections import ConnectionPage, KickResult


def drain(node: str, *, rate: int | None = None) -> ApiCall[None]:
    """Empty the connector of `node`: its sessions go elsewhere, `rate` of them a second, and it
    ends."""
    body = {} if rate is None else {"rate": rate}
    return ApiCall("POST", path_of("/v1/nodes/{node}/drain", node=node), read_nothing, json=body)


def connections(
    *,
    node: str | None = None,
    user: str | None = None,
    ip: str | None = None,
    topic: str | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> ApiCall[ConnectionPage]:
    """Live sessions that match all that is given: a page of at most `limit` (50, at most 200) from
    `cursor` on. `ip`: an address or network. `each_connection` goes through all pages.
    """
    given = {"node": node, "user": user, "ip": ip, "topic": topic, "cursor": cursor}
    params = {name: value for name, value in given.items() if value is not None}
    if limit is not None:
        params["limit"] = str(limit)
    return ApiCall("GET", "/v1/connections", reader(ConnectionPage), params=params or None)


def kick_session(session: str) -> ApiCall[KickResult]:
    """End a session; its client does not reconnect by itself."""
    return ApiCall(
        "DELETE",
        path_of("/v1/connections/{session}", session=session),
        reader(KickResult),
        idempotent=False,
    )


def kick_device(token: str) -> ApiCall[KickResult]:
    """End the session of a device."""
    return _kick(path_of("/v1/devices/{token}/kick", token=token))


def kick_user(user: str) -> ApiCall[KickResult]:
    """End all sessions of a user."""
    return _kick(path_of("/v1/users/{user}/kick", user=user))


def kick_ip(ip: str) -> ApiCall[KickResult]:
    """End the sessions of an address or network."""
    return _kick("/v1/connections/kick", {"ip": ip})


def _kick(path: str, body: JSON | None = None) -> ApiCall[KickResult]:
    """Retried: the number is what the last try found."""
    return ApiCall("POST", path, reader(KickResult), json=body)


def user(name: str) -> ApiCall[JSON]:
    """A user's devices, and whether one of them or a session without a device is online."""
    return ApiCall("GET", path_of("/v1/users/{user}", user=name), read_object)


def erase_user(name: str) -> ApiCall[list[str]]:
    """Erase a user: memberships, conversations and what waits for them; devices are unbound.
    Returns the nodes that did not confirm it yet, usually none."""
    return ApiCall("DELETE", path_of("/v1/users/{user}", user=name), read_silent)


def nodes() -> ApiCall[list[JSON]]:
    """The daemons of the cluster."""
    return ApiCall("GET", "/v1/nodes", _read_nodes)


class _NodesAnswer(msgspec.Struct):
    nodes: list[JSON]


_decode_nodes = msgspec.json.Decoder(_NodesAnswer).decode


def _read_nodes(raw: bytes) -> list[JSON]:
    return _decode_nodes(raw).nodes

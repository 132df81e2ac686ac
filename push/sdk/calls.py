"""The HTTP API's requests, each defined once; `backend` runs them, blocking or in asyncio.

A function here takes what the caller means and gives a `Call`: what to send, whether it may be sent
twice, and how to read the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

T = TypeVar("T")
JSON = dict[str, Any]


class PushResult(msgspec.Struct, frozen=True):
    """`streams` written, how many of them a connector followed, and tokens nobody knows."""

    id: str
    streams: int = 0
    online: int = 0
    unknown: list[str] = []


class BatchItem(msgspec.Struct, frozen=True):
    """The outcome of one push of a batch; `status` is what it would have had alone."""

    status: int
    id: str | None = None
    streams: int = 0
    online: int = 0
    unknown: list[str] = []
    code: str | None = None
    detail: str | None = None
    field: str | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class _BatchAnswer(msgspec.Struct):
    results: list[BatchItem]


class Servers(msgspec.Struct, frozen=True):
    """Where devices connect, best first. `ttl`: seconds for which the list may be kept."""

    servers: list[str]
    ttl: int = 0


class Registration(msgspec.Struct, frozen=True):
    """A new device. The secret is told only now."""

    token: str
    secret: str
    servers: list[str] = []


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`idempotent`: sent twice it does what it does once, so it may be retried."""

    method: str
    path: str
    read: Callable[[bytes], T]
    json: Any = None
    params: Mapping[str, str] | None = None
    idempotent: bool = True


def push(
    *,
    to: Mapping[str, Any],
    data: Any = None,
    ttl: int | None = None,
    qos: int | None = None,
    title: str | None = None,
    body: str | None = None,
    encoding: str | None = None,
) -> Call[PushResult]:
    """Push `data` to `{"token": …}`, `{"tokens": […]}`, `{"user": …}`, `{"users": […]}` or
    `{"all": True}`. `ttl` in seconds. Never retried: sent twice it would be two messages.
    """
    return Call(
        "POST",
        "/v1/push",
        _reader(PushResult),
        json=push_item(
            to=to, data=data, ttl=ttl, qos=qos, title=title, body=body, encoding=encoding
        ),
        idempotent=False,
    )


def push_batch(items: Sequence[Mapping[str, Any]]) -> Call[list[BatchItem]]:
    """1 to 1,000 pushes, made with `push_item`; one bad item fails alone. Never retried."""
    return Call("POST", "/v1/push/batch", _read_batch, json=list(items), idempotent=False)


def push_item(
    *,
    to: Mapping[str, Any],
    data: Any = None,
    ttl: int | None = None,
    qos: int | None = None,
    title: str | None = None,
    body: str | None = None,
    encoding: str | None = None,
) -> JSON:
    """One push as JSON; what is None is left out, except `data`."""
    options = {"ttl": ttl, "qos": qos, "title": title, "body": body, "encoding": encoding}
    given = {name: value for name, value in options.items() if value is not None}
    return {"to": dict(to), "data": data, **given}


def device(token: str) -> Call[JSON]:
    """A device's registration, user, session and backlog."""
    return Call("GET", f"/v1/devices/{_segment(token)}", _read_object)


def forget(token: str) -> Call[None]:
    """Forget a device: its token is unknown from now on."""
    return Call("DELETE", f"/v1/devices/{_segment(token)}", _read_nothing)


def bind(user: str, token: str) -> Call[None]:
    """Bind a device to a user, replacing another; at once effective on a live session."""
    return Call("PUT", _binding(user, token), _read_nothing)


def unbind(user: str, token: str) -> Call[None]:
    """Release a device from a user."""
    return Call("DELETE", _binding(user, token), _read_nothing)


def stats() -> Call[JSON]:
    """The deployment's counters."""
    return Call("GET", "/v1/stats", _read_object)


def servers(carrier: str | None = None) -> Call[Servers]:
    """Where devices connect. `carrier`: tcp, tls, ws or wss."""
    params = {"carrier": carrier} if carrier is not None else None
    return Call("GET", "/v1/servers", _reader(Servers), params=params)


def register_device(
    platform: str,
    app: str,
    device: str | None = None,
    *,
    token: str | None = None,
    secret: str | None = None,
) -> Call[Registration]:
    """A new device's token and secret; with a `token` and its `secret` the same pair again."""
    body = {"platform": platform, "app": app, "device": device, "token": token, "secret": secret}
    return Call(
        "POST",
        "/v1/devices",
        _reader(Registration),
        json={name: value for name, value in body.items() if value is not None},
        idempotent=token is not None,
    )


def _segment(text: str) -> str:
    return quote(text, safe="")


def _binding(user: str, token: str) -> str:
    return f"/v1/users/{_segment(user)}/devices/{_segment(token)}"


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(kind).decode


_read_object: Callable[[bytes], JSON] = msgspec.json.Decoder(JSON).decode
_decode_batch = msgspec.json.Decoder(_BatchAnswer).decode


def _read_batch(raw: bytes) -> list[BatchItem]:
    return _decode_batch(raw).results


def _read_nothing(raw: bytes) -> None:
    return None

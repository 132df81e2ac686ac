"""The HTTP API's requests, each defined once; `backend` runs them, blocking or in asyncio.

A function here takes what the caller means and gives an `ApiCall`: what to send, whether it may be
sent twice, and how to read the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from push.sdk.backend.calls.paths import path_of
from push.sdk.encoding import check_text
from push.sdk.errors import ConfigurationError, InvalidDataType
from push.wire.api.common import MAX_IDEMPOTENCY_KEY
from push.wire.api.devices import Registration, Servers
from push.wire.api.messages import Cancelled, DeliveryPage, MessageLedger
from push.wire.api.push import BatchItem, PushResult
from push.wire.lenient import decode_leniently

T = TypeVar("T")
JSON = dict[str, Any]


class _BatchAnswer(msgspec.Struct):
    results: list[BatchItem]


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """`idempotent`: sent twice it does what it does once, so it may be retried.

    `unfinished` says of a good answer whether a part of it is worth another try.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    json: object = None
    params: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    idempotent: bool = True
    unfinished: Callable[[T], bool] | None = None


def push(
    *,
    to: Mapping[str, Any],
    data: object = None,
    ttl: int | None = None,
    qos: int | None = None,
    collapse: str | None = None,
    title: str | None = None,
    body: str | None = None,
    encoding: str | None = None,
    idempotency_key: str | None = None,
    make_key: bool = True,
) -> ApiCall[PushResult]:
    """Push `data` to `{"token": …}`, `{"tokens": […]}`, `{"user": …}`, `{"users": […]}`,
    `{"topic": …}` or `{"all": True}`, or to the sessions online now of `{"ip": …}`. `ttl` in
    seconds. `collapse`: a name; the message replaces what has the same name and was not delivered
    yet.

    `idempotency_key` (1 to 255 printable ASCII characters, not reused for 24 h): pushed again
    with it, it is still one message, so the call is retried. By default each call makes a key of
    its own; give one to push again later, from another process. With `make_key=False` and no key
    it is never retried: it is not known whether what failed was done.
    Raises `ConfigurationError` for a key that cannot be sent.
    """
    headers = {}
    if idempotency_key is None and make_key:
        idempotency_key = _new_key()
    if idempotency_key is not None:
        headers["Idempotency-Key"] = _checked_key(idempotency_key)
    return ApiCall(
        "POST",
        "/v1/push",
        reader(PushResult),
        json=push_item(
            to=to,
            data=data,
            ttl=ttl,
            qos=qos,
            collapse=collapse,
            title=title,
            body=body,
            encoding=encoding,
        ),
        headers=headers,
        idempotent=idempotency_key is not None,
    )


def push_batch(
    items: Sequence[Mapping[str, Any]], *, make_keys: bool = True
) -> ApiCall[list[BatchItem]]:
    """1 to 1,000 pushes, made with `push_item`; one bad item fails alone.

    Retried, also while an item is answered 503 or `in_progress`: an item without an idempotency
    key gets one for this call. With `make_keys=False` it is retried only if every item has one.
    """
    for index, item in enumerate(items):
        _check_object(item, f"items[{index}]")
    if make_keys:
        items = [
            item if _has_key(item) else {**item, "idempotency_key": _new_key()} for item in items
        ]
    return ApiCall(
        "POST",
        "/v1/push/batch",
        _read_batch,
        json=list(items),
        idempotent=all(map(_has_key, items)),
        unfinished=lambda results: any(result.passing for result in results),
    )


def push_item(
    *,
    to: Mapping[str, Any],
    data: object = None,
    ttl: int | None = None,
    qos: int | None = None,
    collapse: str | None = None,
    title: str | None = None,
    body: str | None = None,
    encoding: str | None = None,
    idempotency_key: str | None = None,
) -> JSON:
    """One push of a batch as JSON, see `push`; what is None is left out, except `data`."""
    options = {
        "ttl": ttl,
        "qos": qos,
        "collapse": collapse,
        "title": title,
        "body": body,
        "encoding": encoding,
        "idempotency_key": None if idempotency_key is None else _checked_key(idempotency_key),
    }
    given = {name: value for name, value in options.items() if value is not None}
    _check_object(to, "to")
    return {"to": dict(to), "data": data, **given}


def message(message_id: str) -> ApiCall[MessageLedger]:
    """What became of a message, in numbers of devices; `unknown_message` (404) if nothing is known
    of it (any more).
    """
    return ApiCall("GET", _message(message_id), reader(MessageLedger))


def message_devices(
    message_id: str, *, cursor: str | None = None, limit: int | None = None
) -> ApiCall[DeliveryPage]:
    """What became of a message at each device: a page of at most `limit` (50, at most 200) from
    `cursor` on. `each_message_device` goes through all pages.
    """
    given = {"cursor": cursor, "limit": None if limit is None else str(limit)}
    params = {name: value for name, value in given.items() if value is not None}
    path = f"{_message(message_id)}/devices"
    return ApiCall("GET", path, reader(DeliveryPage), params=params or None)


def cancel(message_id: str) -> ApiCall[int]:
    """Cancel a message where it was not delivered yet; for how many devices.

    Retried: if the first answer was lost, the number is what the second try still found.
    """
    return ApiCall("DELETE", _message(message_id), _read_cancelled)


def device(token: str) -> ApiCall[JSON]:
    """A device's registration, user, session and backlog."""
    return ApiCall("GET", path_of("/v1/devices/{token}", token=token), read_object)


def forget(token: str) -> ApiCall[list[str]]:
    """Forget a device: its token is unknown from now on. Returns the nodes that did not confirm it
    yet, usually none."""
    return ApiCall("DELETE", path_of("/v1/devices/{token}", token=token), read_silent)


def bind(user: str, token: str) -> ApiCall[list[str]]:
    """Bind a device to a user, replacing another; at once effective on a live session. Returns the
    nodes that did not confirm it yet, usually none."""
    return ApiCall("PUT", _binding(user, token), read_silent)


def unbind(user: str, token: str) -> ApiCall[list[str]]:
    """Release a device from a user. Returns as `bind`."""
    return ApiCall("DELETE", _binding(user, token), read_silent)


def stats() -> ApiCall[JSON]:
    """The deployment's counters."""
    return ApiCall("GET", "/v1/stats", read_object)


def servers(carrier: str | None = None) -> ApiCall[Servers]:
    """Where devices connect. `carrier`: tcp, tls, ws or wss."""
    params = {"carrier": carrier} if carrier is not None else None
    return ApiCall("GET", "/v1/servers", reader(Servers), params=params)


def register_device(
    platform: str,
    app: str,
    device: str | None = None,
    *,
    token: str | None = None,
    secret: str | None = None,
) -> ApiCall[Registration]:
    """A new device's token and secret; with a `token` and its `secret` the same pair again."""
    body = {"platform": platform, "app": app, "device": device, "token": token, "secret": secret}
    return ApiCall(
        "POST",
        "/v1/devices",
        reader(Registration),
        json={name: value for name, value in body.items() if value is not None},
        idempotent=token is not None,
    )


def _binding(user: str, token: str) -> str:
    return path_of("/v1/users/{user}/devices/{token}", user=user, token=token)


def _message(message_id: str) -> str:
    return path_of("/v1/messages/{message}", message=message_id)


def _check_object(value: object, what: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidDataType(f"{what}: an object is expected, not {type(value).__name__}")


def _has_key(item: Mapping[str, Any]) -> bool:
    return item.get("idempotency_key") is not None


def _new_key() -> str:
    return secrets.token_urlsafe(16)


def _checked_key(key: str) -> str:
    """A header loses spaces at its ends, so they would make two keys one."""
    check_text(key, "idempotency_key")
    good = 1 <= len(key) <= MAX_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()
    if not good or key != key.strip():
        raise ConfigurationError(
            f"idempotency_key: 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters, "
            "without a space at its ends"
        )
    return key


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """Reads an answer as a `kind`. Raises `msgspec.DecodeError`, `ValueError`, `RecursionError`."""
    decode = msgspec.json.Decoder(kind).decode

    def read(raw: bytes) -> T:
        try:
            return decode(raw)
        except msgspec.DecodeError:  # a history may hold numbers that are too large for it
            return msgspec.convert(decode_leniently(raw), kind)

    return read


read_object: Callable[[bytes], JSON] = reader(JSON)
_decode_batch = reader(_BatchAnswer)
_decode_cancelled = reader(Cancelled)


def _read_batch(raw: bytes) -> list[BatchItem]:
    return _decode_batch(raw).results


def _read_cancelled(raw: bytes) -> int:
    return _decode_cancelled(raw).cancelled


def read_nothing(raw: bytes) -> None:
    return None


class _Silent(msgspec.Struct):
    silent: list[str] = []


_decode_silent = msgspec.json.Decoder(_Silent).decode


def read_silent(raw: bytes) -> list[str]:
    """The nodes that did not confirm a write; none, when it was answered 204."""
    return _decode_silent(raw).silent if raw else []

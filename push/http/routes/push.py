"""Pushing: one message, or a batch of them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, structs

from push.http.checks import PushLimits, check_name, invalid, read_network
from push.http.framework.problems import problem_of
from push.http.framework.request_reading import check_idempotency_key
from push.http.framework.route import (
    MAX_BODY_BYTES,
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.routes.batches import PartTurns, parts_of, read_items_in_turns, too_large_item
from push.pushing.content import PushContent
from push.pushing.service import Push, PushService
from push.pushing.targets import Target
from push.runtime.ports import Clock
from push.wire.api.push import (
    MAX_BATCH_ITEMS,
    BatchAnswer,
    BatchPushBody,
    BatchReceipt,
    PushBody,
    PushResult,
    PushTargetBody,
)
from push.wire.api.push_targets import TARGET_OF_NAME
from push.wire.errors import Problem, RequestError
from push.wire.reading import decoder_for

MAX_BATCH_BYTES = 16 * 1024 * 1024

_EXAMPLE = {"to": {"all": True}, "data": {"text": "hello"}}
_BATCH_LENGTH = Meta(min_length=1, max_length=MAX_BATCH_ITEMS)
_decode_item = decoder_for(BatchPushBody)
_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
_decode_base64 = msgspec.json.Decoder(bytes).decode


class PushRoutes:
    def __init__(self, clock: Clock, pushing: PushService, limits: PushLimits) -> None:
        self._turns = PartTurns(clock)
        self._pushing = pushing
        self._limits = limits
        self._max_item_bytes = max(MAX_BODY_BYTES, 2 * limits.max_payload_bytes)

    @Route(
        "POST",
        "/v1/push",
        "Push a message",
        {202: DocumentedResponse("Accepted: stored for every device it is for.", PushResult)},
        description=(
            "`streams` says how many logs the message was written to (one for each device, "
            "user, a topic, or everyone), `online` how many of them a connector followed at "
            "that moment. Users and topics need not exist. Among `tokens`, those that no "
            "device has are named in `unknown`; when none is known the answer is 404. To an "
            "`ip` nothing is stored: `online` is how many sessions were there, `ttl` counts "
            "as 0, and nodes that did not answer within two seconds are named in `silent`."
        ),
        scope="push",
        body=Body(PushBody, _EXAMPLE),
        problems=("unknown_token", "unknown_group", "unavailable"),
        idempotent=True,
        traced=True,
        fast_path=True,
        audited=False,
    )
    async def push(self, call: Request) -> Response:
        push = self._push_of(call.body, call.idempotency_key, call.trace)
        return json_answer(202, await self._pushing.push(push, call.turns_of))

    @Route(
        "POST",
        "/v1/push/batch",
        "Push many messages",
        {
            200: DocumentedResponse(
                "One result for each item, in order.", BatchAnswer, (BatchReceipt, Problem)
            )
        },
        description=(
            f"1 to {MAX_BATCH_ITEMS:,} items, each as for `POST /v1/push`, in at most 16 MiB. "
            "Each is judged alone: one that is wrong fails alone. Each may have an "
            "`idempotency_key`; with the header `Idempotency-Key` all that have none get one, "
            "made of the header and their position in the batch."
        ),
        scope="push",
        body=Body(
            Annotated[list[BatchPushBody], _BATCH_LENGTH],
            [_EXAMPLE, {"to": {"user": "anna"}, "data": 1, "ttl": 0}],
            MAX_BATCH_BYTES,
            read=bytes,  # its items are read in turns
        ),
        problems=("unavailable",),
        idempotent=True,
        traced=True,
        fast_path=True,
        audited=False,
    )
    async def push_batch(self, call: Request) -> Response:
        owner = call.turns_of
        items = await read_items_in_turns(self._turns, owner, call.body)
        results: list[BatchReceipt | Problem] = []
        for part in parts_of(items):
            if results:
                await self._turns.next(owner)  # others are served
            places = enumerate(part, len(results))
            read = [self._read_item(raw, place, call) for place, raw in places]
            good = [item for item in read if isinstance(item, Push)]
            outcomes = iter(await self._pushing.push_batch(good, owner) if good else ())
            results += [
                _batch_result(next(outcomes) if isinstance(item, Push) else item) for item in read
            ]
        return json_answer(200, {"results": results})

    def _read_item(self, raw: bytes | memoryview, place: int, call: Request) -> Push | RequestError:
        """An item of a batch; its key is its own, or made of the batch's and its position."""
        try:
            if len(raw) > self._max_item_bytes:
                raise too_large_item(len(raw), self._max_item_bytes)
            item: BatchPushBody = _decode_item(bytes(raw))
            idempotency_key = call.idempotency_key and f"{call.idempotency_key} place {place}"
            push = self._push_of(item, idempotency_key, call.trace)
            if item.idempotency_key is UNSET:
                return push
            check_idempotency_key(item.idempotency_key, "idempotency_key")
            return structs.replace(
                push, idempotency_key=f"{call.scope} item {item.idempotency_key}"
            )
        except RequestError as refusal:
            return refusal

    def _push_of(self, body: PushBody, idempotency_key: str | None, trace: str | None) -> Push:
        """What is asked for; raises `RequestError` `invalid` or `too_large`."""
        limits = self._limits
        target = _target_of(body.to)
        ttl_seconds = limits.ttl_default_seconds if body.ttl is UNSET else body.ttl
        if ttl_seconds > limits.ttl_max_seconds:
            if body.ttl is not UNSET:
                raise invalid("ttl", f"expected integer <= {limits.ttl_max_seconds}")
            ttl_seconds = limits.ttl_max_seconds
        size = len(memoryview(body.data))
        for part in (body.title, body.body):
            if part is not UNSET:
                size += len(_encode(part))
        if size > limits.max_payload_bytes:
            raise RequestError(
                "too_large",
                f"data, title and body are {size:,} bytes as JSON where at most "
                f"{limits.max_payload_bytes:,} are accepted",
            )
        _check_numbers(body.data)
        if body.encoding is not UNSET:
            _check_base64(body.data)
        if body.collapse is not UNSET:
            check_name(body.collapse, "collapse")
            if target.kind == "ip":
                raise invalid("collapse", "nothing waits for an address that could be replaced")
        content = PushContent(
            data=body.data,
            title=None if body.title is UNSET else body.title,
            body=None if body.body is UNSET else body.body,
            encoding=None if body.encoding is UNSET else body.encoding,
            ttl_seconds=0 if target.kind == "ip" else ttl_seconds,
            qos=1 if body.qos is UNSET else body.qos,
            collapse=None if body.collapse is UNSET else body.collapse,
        )
        return Push(target, content, idempotency_key, trace)


def _batch_result(result: PushResult | RequestError) -> BatchReceipt | Problem:
    if isinstance(result, RequestError):
        return problem_of(result)
    return BatchReceipt(result.id, result.streams, result.online, result.unknown, result.silent)


def _target_of(to: PushTargetBody) -> Target:
    given: dict[str, Any] = msgspec.to_builtins(to)
    if len(given) != 1:
        all_names = ", ".join(TARGET_OF_NAME)
        raise invalid("to", f"exactly one of {all_names}; it has {' and '.join(given) or 'none'}")
    ((name, value),) = given.items()
    target = TARGET_OF_NAME[name]
    if target.value == "everyone":
        if value is not True:
            raise invalid("to.all", "expected true")
        return Target(name)
    if target.value == "network":
        return Target(name, (read_network(value, f"to.{name}"),))
    names = tuple(value) if isinstance(value, list) else (value,)
    if target.value == "name":
        for index, each in enumerate(names):
            check_name(each, f"to.{name}", index if target.several else None)
    return Target(name, names)


def _check_numbers(data: msgspec.Raw) -> None:
    """JSON sets no limits to numbers, but receivers do: such a number is refused here."""
    try:
        _decode_any(data)
    except msgspec.DecodeError as error:
        raise invalid("data", str(error)) from None


def _check_base64(data: msgspec.Raw) -> None:
    try:
        _decode_base64(data)
    except msgspec.DecodeError:
        raise invalid("data", "expected a string of base64, padded, without spaces") from None

"""Pushing: one message, or a batch of them."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, structs

from push.http.checks import PushLimits, message_of
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
from push.http.routes.batches import check_item_size, parts_of, read_items_in_turns
from push.pushing.service import Push, PushService
from push.runtime.ports import Clock
from push.runtime.timers import sleep
from push.wire.api.problem import Problem
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

_EXAMPLE = {"to": {"all": True}, "data": {"text": "hello"}}
_BATCH_LENGTH = Meta(min_length=1, max_length=MAX_BATCH_ITEMS)
_decode_item = decoder_for(BatchPushBody)


class PushRoutes:
    def __init__(self, clock: Clock, pushing: PushService, limits: PushLimits) -> None:
        self._clock = clock
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
        once=True,
        traced=True,
        direct=True,
        audited=False,
    )
    async def push(self, call: Request) -> Response:
        target, content = message_of(call.body, self._limits)
        return json_answer(
            202, await self._pushing.push(Push(target, content, call.once, call.trace))
        )

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
        once=True,
        traced=True,
        direct=True,
        audited=False,
    )
    async def push_batch(self, call: Request) -> Response:
        items = await read_items_in_turns(self._clock, call.body)
        results: list[BatchReceipt | Problem] = []
        for part in parts_of(items):
            if results:
                await sleep(self._clock, 0)  # others are served
            places = enumerate(part, len(results))
            read = [self._read_item(raw, place, call) for place, raw in places]
            good = [item for item in read if isinstance(item, Push)]
            outcomes = iter(await self._pushing.push_batch(good) if good else ())
            results += [
                _batch_result(next(outcomes) if isinstance(item, Push) else item) for item in read
            ]
        return json_answer(200, {"results": results})

    def _read_item(self, raw: memoryview, place: int, call: Request) -> Push | RequestError:
        """An item of a batch; its key is its own, or made of the batch's and its position."""
        try:
            check_item_size(len(raw), self._max_item_bytes)
            item: BatchPushBody = _decode_item(bytes(raw))
            target, content = message_of(item, self._limits)
            if item.idempotency_key is UNSET:
                once = call.once and f"{call.once} place {place}"
                return Push(target, content, once, call.trace)
            check_idempotency_key(item.idempotency_key, "idempotency_key")
            once = f"{call.scope} item {item.idempotency_key}"
            return Push(target, content, once, call.trace)
        except RequestError as refusal:
            return refusal


def _batch_result(result: PushResult | RequestError) -> BatchReceipt | Problem:
    if isinstance(result, RequestError):
        return problem_of(result)
    return BatchReceipt(*structs.astuple(result))

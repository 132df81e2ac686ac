"""What a push ends in: its receipt, its refusal, the end of its span."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.pushing.by_ip import Handed
from push.pushing.targets import Target
from push.redis.connection.errors import StoreUnavailable, as_request_error
from push.runtime.tracing import Span
from push.streams.publisher import UNKNOWN_TARGET, Published
from push.wire.api.common import ABSENT
from push.wire.api.push import PushResult
from push.wire.errors import RequestError

log = Logger()


def receipt_of(target: Target, outcome: Published | Handed) -> PushResult | RequestError:
    """What a push is answered with; the refusal where nothing has the target."""
    if isinstance(outcome, Handed):
        reached = outcome.reached
        return PushResult(outcome.id, 0, reached.sessions, ABSENT, reached.silent)
    online = 0
    unknown = []
    for stream, count in outcome.connectors.items():
        if count > 0:
            online += 1
        elif count == UNKNOWN_TARGET:
            unknown.append(stream.split(":", 1)[1])
    known = len(outcome.connectors) - len(unknown)
    if unknown and target.kind == "group":
        return RequestError("unknown_group", "there is no such group", field="to.group")
    if unknown and not known:
        what = "no device has this token" if len(unknown) == 1 else "no device has these tokens"
        return RequestError("unknown_token", what, field=f"to.{target.kind}")
    return PushResult(outcome.id, known, online, unknown or ABSENT, ABSENT)


def end_span(span: Span, target: Target, result: PushResult | Exception) -> None:
    attributes: dict[str, str | int] = {"push.to": target.kind}
    if isinstance(result, Exception):
        span.end(attributes, error=type(result).__name__)
        return
    attributes |= {"push.message_id": result.id, "push.streams": result.streams}
    span.end({**attributes, "push.online": result.online})


def result_of_item(outcome: PushResult | Exception) -> PushResult | RequestError:
    """Of an item of a batch, which says itself what became of it."""
    if isinstance(outcome, PushResult):
        return outcome
    if isinstance(outcome, RequestError):
        return outcome
    if isinstance(outcome, StoreUnavailable):
        return as_request_error(outcome)
    log.failure("an item of a batch failed", Failure(outcome), event="push.item_failed")
    return RequestError("internal", "the server failed; its log has the reason")

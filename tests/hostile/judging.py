"""What the contract lets a server say to a device, whatever the device sent."""

from __future__ import annotations

import json
from collections.abc import Callable

from push.wire.frames import Frame
from push.wire.signals import ConnectStatus, DisconnectCode, Signal
from push.wire.websocket.close_codes import FIRST_DISCONNECT_CODE, FIRST_REFUSAL_CODE

FROM_A_SERVER = {
    Signal.SUB,
    Signal.AUTH,
    Signal.PING,
    Signal.PUSH,
    Signal.CONNECT_ACK,
    Signal.DISCONNECT,
    Signal.PUB_ACK,
}
# What a client can bring about. `internal` is never its doing.
ENDS = {
    DisconnectCode.TAKEN_OVER,
    DisconnectCode.HANDSHAKE_TIMEOUT,
    DisconnectCode.BAD_FRAME,
    DisconnectCode.FRAME_TOO_LARGE,
    DisconnectCode.RATE_LIMITED,
}
REFUSED_REQUESTS = {
    "malformed",
    "unauthenticated",
    "forbidden",
    "not_member",
    "muted",
    "not_allowed",
    "recall_expired",
    "banned",
    "not_found",
    "unknown_token",
    "unknown_group",
    "unknown_message",
    "already_exists",
    "in_progress",
    "group_full",
    "too_large",
    "invalid",
    "unknown_request",
    "idempotency_mismatch",
    "rate_limited",
    "unavailable",
}
MAX_TEXT = 1000  # of a detail or a reason, with at most 200 characters of what was sent
MAX_ECHO = 200
# RFC 6455: protocol error, not UTF-8, too big; 1000 after `bye`, 1005 and 1001 answer a client's.
WS_VIOLATIONS = {1002, 1003, 1007, 1009}


class NotByTheContract(AssertionError):
    """The server said something that the contract does not have."""


def judge(frames: list[Frame]) -> None:
    """All that came on one connection, in order. Raises NotByTheContract."""
    is_over = False
    for frame in frames:
        if is_over:
            raise NotByTheContract(f"{frame} after the last word: {frames}")
        is_over = _judge(frame)


def _judge(frame: Frame) -> bool:
    """Whether nothing may follow."""
    if frame.signal not in FROM_A_SERVER:
        raise NotByTheContract(f"no signal of a server: {frame}")
    try:
        body = json.loads(frame.body or b"{}")
    except ValueError:
        raise NotByTheContract(f"no JSON: {frame}") from None
    if not isinstance(body, dict):
        raise NotByTheContract(f"no object: {frame}")
    for name in ("detail", "reason"):
        if len(str(body.get(name, ""))) > MAX_TEXT:
            raise NotByTheContract(f"{name} of {len(str(body[name]))} characters: {frame}")
    judges: dict[int, Callable[[Frame, dict[str, object]], bool]] = {
        Signal.DISCONNECT: _disconnect,
        Signal.CONNECT_ACK: _connect_ack,
        Signal.PUB_ACK: _answer,
        Signal.SUB: _answer,
        Signal.AUTH: _answer,
    }
    judged = judges.get(frame.signal)
    return judged is not None and judged(frame, body)


def _disconnect(frame: Frame, body: dict[str, object]) -> bool:
    if body.get("code") not in ENDS:
        raise NotByTheContract(f"an end that no client brings about: {frame}")
    return True


def _connect_ack(frame: Frame, body: dict[str, object]) -> bool:
    status = ConnectStatus(int(frame.sub_signal))
    if status == ConnectStatus.ACCEPTED:
        return False
    if status == ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION:
        if body.get("versions") != [2]:
            raise NotByTheContract(f"no versions: {frame}")
    elif not body.get("code") or body["code"] == "internal":
        raise NotByTheContract(f"no code of a refusal: {frame}")
    if status == ConnectStatus.SERVER_UNAVAILABLE and not body.get("after"):
        raise NotByTheContract(f"no `after`: {frame}")
    return True


def _answer(frame: Frame, body: dict[str, object]) -> bool:
    if frame.message_id == 0 and frame.signal == Signal.PUB_ACK:
        raise NotByTheContract(f"an answer to a request without a number: {frame}")
    if body.get("ok") is False and body.get("code") not in REFUSED_REQUESTS:
        raise NotByTheContract(f"no code of a refusal: {frame}")
    if (
        body.get("ok") is not False
        and frame.signal == Signal.PUB_ACK
        and body.get("ok") is not True
    ):
        raise NotByTheContract(f"neither yes nor no: {frame}")
    return False


def judge_close(code: int, frames: list[Frame]) -> None:
    """The code with which a WebSocket was closed, after `frames`."""
    last = frames[-1] if frames else None
    if last is not None and last.signal == Signal.DISCONNECT:
        reason = DisconnectCode(json.loads(last.body)["code"])
        wanted = {FIRST_DISCONNECT_CODE + list(DisconnectCode).index(reason)}
    elif last is not None and last.signal == Signal.CONNECT_ACK and last.sub_signal:
        wanted = {FIRST_REFUSAL_CODE + int(last.sub_signal)}
    else:  # the client broke RFC 6455, or closed first: the server then repeats its code
        if code >= FIRST_DISCONNECT_CODE + 1 and code < 4200:
            raise NotByTheContract(f"close {code} without a word: {frames}")
        return
    if code not in wanted | WS_VIOLATIONS:
        raise NotByTheContract(f"close {code} instead of {wanted}: {frames}")


def longest_echo(text: str, character: str) -> int:
    """How many of `character`, of which the client sent many, an answer has in a row."""
    longest = run = 0
    for each in text:
        run = run + 1 if each == character else 0
        longest = max(longest, run)
    return longest

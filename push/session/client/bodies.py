"""From the frames a server sends to the events of a client. Pure; raises `ProtocolError` only.

Bodies with members we do not know are kept whole. Their depth is bounded by the parser, not by the
contract's 32: an answer wraps the data of messages in more levels than their sender used.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct

from push.session.client.events import (
    AuthAnswer,
    Connected,
    ConnectionRefused,
    DeviceRegistered,
    Disconnected,
    MessageReceived,
    RegistrationRefused,
    RequestAnswered,
)
from push.wire import bodies
from push.wire.errors import bad_frame
from push.wire.frames import Frame
from push.wire.lenient import decode_leniently


class _PushHead(Struct):
    """The members of a PUSH that a client relies on; the rest is the application's."""

    id: str = ""
    stream: str = ""
    offset: str | None = None
    kind: str | None = None
    ts: int | None = None
    expires: int | None = None
    title: str | None = None
    body: str | None = None
    encoding: str | None = None


def read_push(frame: Frame) -> MessageReceived:
    body = _decode_object(frame.body, "PUSH")
    try:
        head = msgspec.convert(body, _PushHead)
    except msgspec.ValidationError as error:
        raise bad_frame(f"PUSH body: {error}"[:500]) from None
    if frame.message_id and not head.id:
        raise bad_frame("PUSH body: `id` is missing")
    return MessageReceived(frame.message_id, head.id, head.stream, head.offset, head.kind, body)


def read_answer(frame: Frame) -> RequestAnswered:
    body = _decode_object(frame.body, "PUB_ACK")
    try:
        head = msgspec.convert(body, bodies.RequestAnswer)
    except msgspec.ValidationError as error:
        raise bad_frame(f"PUB_ACK body: {error}"[:500]) from None
    return RequestAnswered(
        message_id=frame.message_id,
        sub_signal=int(frame.sub_signal),
        ok=_is_ok(head),
        code=head.code or "",
        detail=head.detail or "",
        field=head.field,
        after_seconds=head.after,
        body=body,
    )


def read_auth_answer(frame: Frame) -> AuthAnswer:
    head = bodies.decode_body(bodies.RequestAnswer, frame.body, "AUTH")
    return AuthAnswer(
        frame.message_id, _is_ok(head), head.expires, head.code or "", head.detail or ""
    )


def read_registration(frame: Frame) -> DeviceRegistered | RegistrationRefused:
    body = bodies.decode_body(bodies.SubAnswer, frame.body, "SUB")
    if not body.ok:
        return RegistrationRefused(body.code or "internal", body.detail or "", body.after)
    if body.token and body.secret:
        return DeviceRegistered(body.token, body.secret)
    raise bad_frame("SUB body: `token` and `secret` are missing")


def read_acceptance(frame: Frame, heartbeat_seconds: int, max_frame_bytes: int) -> Connected:
    """`heartbeat_seconds` and `max_frame_bytes` hold where the server names none."""
    body = bodies.decode_body(bodies.ConnectAccepted, frame.body, "CONNECT_ACK")
    return Connected(
        session=body.session,
        user=None if body.user is UNSET else body.user,
        heartbeat_seconds=body.heartbeat if body.heartbeat > 0 else heartbeat_seconds,
        window_messages=body.window,
        max_frame_bytes=body.max_frame if body.max_frame > 0 else max_frame_bytes,
        node=body.node,
        time_ms=body.time,
        truncated=() if body.truncated is UNSET else tuple(body.truncated),
        streams=None if body.streams is UNSET else body.streams,
    )


def read_refusal(frame: Frame) -> ConnectionRefused:
    body = bodies.decode_body(bodies.ConnectRefused, frame.body, "CONNECT_ACK")
    return ConnectionRefused(
        status=int(frame.sub_signal),
        code=body.code or "",
        detail=body.detail or "",
        after_seconds=body.after,
        servers=tuple(body.servers or ()),
        versions=tuple(body.versions or ()),
    )


def read_disconnect(frame: Frame) -> Disconnected:
    body = bodies.decode_body(bodies.DisconnectBody, frame.body, "DISCONNECT")
    servers = () if body.servers is UNSET else tuple(body.servers)
    after = None if body.after is UNSET else body.after
    return Disconnected(body.code, body.reason, servers, after)


def _decode_object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        body = _decode_large_numbers(raw)
        if body is None:
            raise bad_frame(f"{what} body: {error}"[:500]) from None
        return body


def _decode_large_numbers(raw: bytes) -> dict[str, Any] | None:
    try:
        body = decode_leniently(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _is_ok(answer: bodies.RequestAnswer) -> bool:
    return answer.code is None if answer.ok is UNSET else bool(answer.ok)

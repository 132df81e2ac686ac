"""One request of the HTTP API and the judgement of its outcome, for both clients of backends.

A call that may be sent twice is retried on 503, on 409 `in_progress` and on connection errors,
after the server's `Retry-After` or a random part of a growing delay.
"""

from __future__ import annotations

import random
import re
from typing import Any, TypeVar

import httpx
import msgspec

from push.sdk.backend.calls import base as calls
from push.sdk.backend.calls.base import Call
from push.sdk.errors import ConfigurationError, PushAPIError, PushAPIUnreachable
from push.sdk.tls import client_context, trusting_nobody

RETRIES = 2
TIMEOUT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 5.0

T = TypeVar("T")


class _Problem(msgspec.Struct):
    """RFC 9457 with our members; everything may be missing when a proxy answered."""

    code: str | None = None
    detail: str | None = None
    title: str | None = None
    field: str | None = None


class BaseAPI:
    """What both clients share: the arguments, the request, and the judgement of its outcome."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_file: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        """`url`: where the API is, `http://127.0.0.1:8080`. `timeout`: seconds for each attempt."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"url {url!r}: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError(f"url {url!r}: must be http://host:port or https://host:port")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ConfigurationError("key: must be printable ASCII")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout
        self._retries = retries
        secure = parsed.scheme == "https"
        self._verify = client_context(ca_file) if secure else trusting_nobody()

    def _request(self, call: Call[Any]) -> dict[str, Any]:
        headers = dict(call.headers or {})
        content = None
        if call.json is not None:
            content = msgspec.json.encode(call.json)
            headers["Content-Type"] = "application/json"
        return {
            "method": call.method,
            "url": self._url + call.path,
            "params": call.params,
            "headers": headers,
            "content": content,
        }

    def _retry_delay(
        self, call: Call[Any], attempt: int, outcome: httpx.Response | httpx.HTTPError
    ) -> float | None:
        """Seconds to wait before trying again, or None when the outcome stands."""
        if not call.idempotent or attempt >= self._retries:
            return None
        delay = random.random() * FIRST_RETRY_SECONDS * 2.0**attempt
        if isinstance(outcome, httpx.Response):
            if not _passing(call, outcome):
                return None
            delay = max(delay, float(_retry_after(outcome) or 0))
        elif not isinstance(outcome, httpx.TransportError):
            return None
        return min(delay, MAX_RETRY_SECONDS)

    def _judge(self, call: Call[T], outcome: httpx.Response | httpx.HTTPError) -> T:
        if isinstance(outcome, httpx.HTTPError):
            why = re.sub(r"^\[Errno -?\d+\] ", "", str(outcome)) or type(outcome).__name__
            raise PushAPIUnreachable(f"{call.method} {self._url}{call.path}: {why}") from None
        if not outcome.is_success:
            raise _error(outcome)
        try:
            return call.read(outcome.content)
        except msgspec.DecodeError as error:
            raise PushAPIError(
                outcome.status_code, "malformed", f"the answer is not what was expected: {error}"
            ) from None


def _passing(call: Call[Any], response: httpx.Response) -> bool:
    """Whether the same request may be answered otherwise in a moment."""
    if response.status_code == 503:
        return True
    if response.status_code == 409:
        return _error(response).code == calls.IN_PROGRESS
    if not response.is_success or call.unfinished is None:
        return False
    try:
        return call.unfinished(call.read(response.content))
    except msgspec.DecodeError:
        return False


def _retry_after(response: httpx.Response) -> int | None:
    value = response.headers.get("Retry-After", "")
    return int(value) if value.isdecimal() else None


def _error(response: httpx.Response) -> PushAPIError:
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(detail=response.reason_phrase)
    return PushAPIError(
        response.status_code,
        problem.code or f"http_{response.status_code}",
        problem.detail or problem.title or "",
        field=problem.field,
        retry_after=_retry_after(response),
    )

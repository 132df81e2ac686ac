"""One request of the HTTP API and the judgement of its outcome, for both clients of backends.

A call that may be sent twice is retried on what a restarting API and the proxies before it answer:
502, 503 and 504, 409 `in_progress`, and connections that were lost. Any other call only when it is
known not to have run: no connection was made, or 429. `Retry-After` is kept to, else the delay is a
random part of a growing one; a `Retry-After` that is longer than a caller would wait is given back.
"""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import msgspec
from msgspec import UNSET

from push.sdk.address import check_host
from push.sdk.backend.calls.base import ApiCall
from push.sdk.backend.lines import LIMITS
from push.sdk.encoding import check_seconds, check_text, encode_json
from push.sdk.errors import ConfigurationError, InvalidData, PushAPIError, PushAPIUnreachable
from push.sdk.proxies import proxy_for
from push.sdk.tls import client_context, trusting_nobody
from push.wire.api.push import IN_PROGRESS
from push.wire.errors import Problem

RETRIES = 2
TIMEOUT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 30  # a caller does not wait longer than this
SILENCE_SECONDS = 60.0  # of a stream of events, in which a comment comes every 15 s
MAX_PORT = 65535
_MAX_DIGITS = 9

# From something between us and the API, or from an API that starts or stops.
_PASSING = frozenset({502, 503, 504})
_RATE_LIMITED = 429
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
REFUSED_BY_HTTPX = (httpx.InvalidURL, UnicodeError)  # and is no httpx.HTTPError

Outcome = httpx.Response | httpx.HTTPError
T = TypeVar("T")


def check_url(url: str) -> httpx.URL:
    """Where an API is, `http://host:port` or `https://…`. Raises `ConfigurationError`, also for a
    proxy of the environment that calls to it cannot use.
    """
    try:
        parsed = httpx.URL(check_text(url, "url"))
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"url {url!r}: {error}") from None
    extra = parsed.query or parsed.fragment or parsed.userinfo
    if parsed.scheme not in ("http", "https") or not parsed.host or extra:
        raise ConfigurationError(f"url {url!r}: must be http://host:port or https://host:port")
    try:
        check_host(parsed.raw_host.decode("ascii"))
    except ValueError as error:
        raise ConfigurationError(f"url {url!r}: {error}") from None
    if parsed.port is not None and not 0 < parsed.port <= MAX_PORT:
        raise ConfigurationError(f"url {url!r}: {parsed.port} is not a port")
    proxy_for(str(parsed))
    return parsed


class BaseAPI:
    """What both clients share: the arguments, the request, and the judgement of its outcome."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_file: str | None = None,
        timeout: float | None = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        """`url`: where the API is, `http://127.0.0.1:8080`. `timeout`: seconds for each step of
        an attempt (None: no end). Raises `ConfigurationError`.
        """
        parsed = check_url(url)
        if key is not None and not (check_text(key, "key").isascii() and key.isprintable()):
            raise ConfigurationError("key: must be printable ASCII")
        if timeout is not None:
            check_seconds(timeout, "timeout")
        if type(retries) is not int or retries < 0:
            raise ConfigurationError(f"retries: a whole number, 0 or more, not {retries!r}")
        self._url = url.rstrip("/")
        self._retries = retries
        secure = parsed.scheme == "https"
        self._line_options: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "timeout": timeout,
            "verify": client_context(ca_file) if secure else trusting_nobody(),
            "limits": LIMITS,
            "proxy": proxy_for(str(parsed)),
            "trust_env": False,  # else httpx reads the proxy variables in its own way
        }

    # For a stream of events, which has a connection of its own (`event_stream`).

    @property
    def stream_options(self) -> dict[str, Any]:
        """Those of its httpx client."""
        timeout = httpx.Timeout(self._line_options["timeout"], read=SILENCE_SECONDS)
        return {**self._line_options, "timeout": timeout}

    @property
    def events_url(self) -> str:
        return f"{self._url}/v1/events"

    def _request(self, call: ApiCall[Any]) -> dict[str, Any]:
        headers = dict(call.headers or {})
        content = None
        if call.json is not None:
            content = encode_json(call.json, "body")
            headers["Content-Type"] = "application/json"
        return {
            "method": call.method,
            "url": self._url + call.path,
            "params": call.params,
            "headers": headers,
            "content": content,
        }

    def _retry_delay(self, call: ApiCall[Any], attempt: int, outcome: Outcome) -> float | None:
        """Seconds to wait before trying again, or None to keep the outcome."""
        if attempt >= self._retries or not _passing(call, outcome):
            return None
        delay = random.random() * FIRST_RETRY_SECONDS * 2.0**attempt
        asked = _retry_after(outcome) if isinstance(outcome, httpx.Response) else None
        if asked is None:
            return min(delay, MAX_RETRY_SECONDS)
        return asked + delay if asked <= MAX_RETRY_AFTER_SECONDS else None

    def _unsendable(self, call: ApiCall[Any], error: Exception) -> InvalidData:
        return InvalidData(f"{call.method} {call.path[:200]!r}: {error}"[:500])

    def _result_of(self, call: ApiCall[T], outcome: Outcome) -> T:
        if isinstance(outcome, httpx.HTTPError):
            raise unreachable(call.method, self._url + call.path, outcome) from None
        if not outcome.is_success:
            raise error_of(outcome)
        try:
            return call.read(outcome.content)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise PushAPIError(
                outcome.status_code, "malformed", f"the answer is not what was expected: {error}"
            ) from None


def unreachable(method: str, url: str, error: httpx.HTTPError) -> PushAPIUnreachable:
    why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return PushAPIUnreachable(f"{method} {url}: {why}")


def _passing(call: ApiCall[Any], outcome: Outcome) -> bool:
    """Whether the same request may be sent again, and be answered otherwise in a moment."""
    if isinstance(outcome, httpx.HTTPError):
        kind = httpx.TransportError if call.idempotent else _NOT_SENT
        return isinstance(outcome, kind)
    if outcome.status_code == _RATE_LIMITED:  # a request of any kind did not run
        return _retry_after(outcome) is not None
    if not call.idempotent:
        return False
    if outcome.status_code in _PASSING:
        return True
    if outcome.status_code == 409:
        return error_of(outcome).code == IN_PROGRESS
    if not outcome.is_success or call.unfinished is None:
        return False
    try:
        return call.unfinished(call.read(outcome.content))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False


def _retry_after(response: httpx.Response) -> int | None:
    """Seconds; proxies may name a date instead. None for what is neither."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return int(value[:_MAX_DIGITS])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, -int((datetime.now(UTC) - at).total_seconds() // 1))


def error_of(response: httpx.Response) -> PushAPIError:
    """What a response that is no success means."""
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.DecodeError, ValueError, RecursionError):
        problem = Problem(detail=response.reason_phrase)
    return PushAPIError(
        response.status_code,
        problem.code or f"http_{response.status_code}",
        problem.detail or problem.title or "",
        field=None if problem.field is UNSET else problem.field,
        retry_after=_retry_after(response),
    )

"""The fast path beside the ordinary way, case by case: answers, limits, counts and traces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from push.access.rate_limits import RefusalCounts
from push.access.request_rates import Quota
from push.http.fast_path.plain_request import MAX_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, PlainReader
from push.wire.errors import LimitPolicy, RequestError
from tests.http.conftest import Behind, MakeWeb, Web

PUSH = {"to": {"all": True}, "data": {"text": "hello"}}
BODY = json.dumps(PUSH).encode()
PLAIN: Mapping[str, str] = {
    "Host": "localhost",
    "Authorization": "Bearer push-key",
    "Content-Type": "application/json",
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Rates:
    """So many requests."""

    def __init__(self, left: int) -> None:
        self._left = left

    async def take(self, key: str) -> Quota:
        policy = LimitPolicy("requests_per_second", 3, 1)
        if not self._left:
            raise RequestError("rate_limited", "too many", after_seconds=1, limit=policy)
        self._left -= 1
        return Quota(policy, self._left, 1)


class Trail:
    """What is noted for the audit trail."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def note(self, *what: Any, **more: Any) -> None:
        self.notes.append((what, more))

    note_refused = note


class Traces:
    """What is traced. A span has its parent's name in its own."""

    is_sampled = True

    def __init__(self, parent: str | None = None) -> None:
        self.traceparent = f"of {parent}"
        self.spans: list[Any] = []

    def start(self, name: str, parent: str | None) -> Traces:
        self.spans.append((name, parent))
        span = Traces(parent)
        span.spans = self.spans
        return span

    def end(self, attributes: Any, error: str = "") -> None:
        self.spans.append((attributes, error))


class Seen(NamedTuple):
    """What can be seen of a case, from all sides."""

    answers: bytes
    is_open: bool
    is_half_closed: bool
    pushed: list[Any]
    keys: list[Any]
    notes: list[Any]
    spans: list[Any]
    refusals: list[Any]
    metrics: list[str]
    timers: list[float]
    held_bytes: int


def request(
    body: bytes = BODY,
    path: str = "/v1/push",
    *,
    line: str = "POST {} HTTP/1.1",
    head: Mapping[str, Any] | None = None,
    tail: str = "",
) -> bytes:
    """`head`: None leaves a header out, a list has it several times; `tail`: more lines."""
    fields: dict[str, Any] = {**PLAIN, "Content-Length": str(len(body)), **(head or {})}
    lines = [line.format(path)]
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value] if value is not None else []
        lines += [f"{name}: {each}" for each in values]
    return ("\r\n".join(lines) + "\r\n" + tail + "\r\n").encode("latin-1") + body


def with_head(**head: Any) -> bytes:
    return request(head={name.replace("_", "-"): value for name, value in head.items()})


def message(**members: Any) -> bytes:
    return request(json.dumps({**PUSH, **members}).encode())


def batch(*items: Any, **head: Any) -> bytes:
    named = {name.replace("_", "-"): value for name, value in head.items()}
    return request(json.dumps(items).encode(), "/v1/push/batch", head=named)


# By name: what is received, piece by piece.
DIRECT: dict[str, Sequence[bytes]] = {
    "plain": [request()],
    "several": [request(), request(), batch(PUSH, PUSH), request()],
    "other spelling of names": [
        request()
        .replace(b"Authorization: ", b"aUTHORIZATION:\t ")
        .replace(b"\r\nContent-Type: ", b" \t\r\ncontent-type:")
    ],
    "keep-alive": [with_head(Connection="Keep-Alive")],
    "each target": [
        message(to=to)
        for to in ({"user": "u"}, {"users": ["a", "b"]}, {"topic": "t"}, {"token": "unknown"})
    ],
    "two targets": [message(to={"user": "u", "all": True})],
    "key": [with_head(Idempotency_Key="k 1")],
    "empty key": [with_head(Idempotency_Key="")],
    "long key": [with_head(Idempotency_Key="k" * 256)],
    "key that is not ASCII": [with_head(Idempotency_Key="ü")],
    "trace": [with_head(traceparent=TRACE)],
    "trace that is none": [with_head(traceparent="ü" * 300)],
    "no key": [with_head(Authorization=None)],
    "wrong key": [with_head(Authorization="Bearer nobody")] * 4,
    "key of another scheme": [with_head(Authorization="Basic cHVzaA==")],
    "no key in it": [with_head(Authorization="Bearer")],
    "no scope": [with_head(Authorization="Bearer read-key")],
    "key that is not UTF-8": [with_head(Authorization="Bearer \xff\xfe")],
    "no JSON": [request(b"{"), request()],
    "not UTF-8": [request(b'{"to":{"all":true},"data":"\xff"}')],
    "no object": [request(b"[]")],
    "unknown member": [message(more=1)],
    "missing member": [request(b'{"data":1}')],
    "just deep enough": [request(b'{"to":{"all":true},"data":%b1%b}' % (b"[" * 31, b"]" * 31))],
    "too deep": [request(b'{"to":{"all":true},"data":%b1%b}' % (b"[" * 40, b"]" * 40))],
    "number that is too large": [request(b'{"to":{"all":true},"data":1e999}')],
    "empty body": [request(b"")],
    "too large a payload": [message(data="x" * 20_000)],
    "charset": [with_head(Content_Type="Application/JSON; charset=UTF-8")],
    "wrong charset": [with_head(Content_Type="application/json; charset=utf-16")],
    "no type": [with_head(Content_Type=None)],
    "another type": [with_head(Content_Type="text/plain")],
    "compressed": [with_head(Content_Encoding="gzip")],
    "not compressed": [with_head(Content_Encoding="identity")],
    "origin of a page": [with_head(Origin="https://a.example")],
    "through a proxy": [with_head(X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="https")],
    "through a proxy that says nothing": [with_head(X_Forwarded_For="nonsense")],
    "cookies": [with_head(Cookie="a=b; c")],
    "many headers": [request(head={f"X-{n}": "x" for n in range(MAX_HEADERS - 4)})],
    "batch": [batch(PUSH, {"to": {}}, {**PUSH, "idempotency_key": "k"}, 7)],
    "batch with a key": [batch(PUSH, PUSH, Idempotency_Key="k")],
    "empty batch": [batch()],
    "batch that is no array": [request(b"{}", "/v1/push/batch")],
    "batch that is no JSON": [request(b"[{", "/v1/push/batch")],
    "batch of too many": [request(b"[" + b"1," * 1000 + b"1]", "/v1/push/batch")],
}
ORDINARY: dict[str, Sequence[bytes]] = {
    "pipelined": [request() * 3],
    "byte by byte": [bytes([byte]) for byte in request()],
    "head and body apart": [request()[: -len(BODY)], BODY],
    "in the middle of the body": [request()[:-7], request()[-7:]],
    "one and a half": [request() + request()[:40], request()[40:]],
    "chunked": [
        request(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), head={"Content-Length": None}
        ).replace(b"Host:", b"Transfer-Encoding: chunked\r\nHost:")
    ],
    "length and chunks": [with_head(Transfer_Encoding="chunked")],
    "expect": [with_head(Expect="100-continue")],
    "HTTP/1.0": [request(line="POST {} HTTP/1.0")],
    "HTTP/1.0 without Host": [request(line="POST {} HTTP/1.0", head={"Host": None})],
    "HTTP/1.2": [request(line="POST {} HTTP/1.2")],
    "close": [with_head(Connection="close"), request()],
    "close among others": [with_head(Connection="keep-alive, close")],
    "upgrade": [with_head(Connection="Upgrade", Upgrade="h2c")],
    "another method": [request(line="PUT {} HTTP/1.1"), request(line="post {} HTTP/1.1")],
    "question": [request(path="/v1/push?x=1"), request(path="/v1/push?")],
    "path": [request(path=path) for path in ("//v1/push", "/v1/push/", "/v1/pus%68", "/v1/pushx")],
    "absolute": [request(path="http://localhost/v1/push")],
    "two spaces": [request(line="POST  {} HTTP/1.1")],
    "white space at the end": [request(line="POST {} HTTP/1.1 ")],
    "line feed alone": [request().replace(b"\r\n", b"\n")],
    "line feed in the head": [request().replace(b"\r\nHost", b"\nHost")],
    "empty line first": [b"\r\n" + request()],
    "continued header": [request(tail="X-Long: a\r\n b\r\n")],
    "white space before a header": [request(line="POST {} HTTP/1.1\r\n X: y")],
    "no colon": [request(tail="nonsense\r\n")],
    "white space before a colon": [request(tail="X : y\r\n")],
    "no name": [request(tail=": y\r\n")],
    "name that is none": [request(tail="Ä: y\r\n"), request(tail="(x): y\r\n")],
    "control character": [request(tail="X: a\x01b\r\n")],
    "null": [request(tail="X: a\x00b\r\n")],
    "return": [request(tail="X: a\rb\r\n")],
    "delete": [request(tail="X: a\x7fb\r\n")],
    "no host": [with_head(Host=None)],
    "empty host": [with_head(Host="")],
    "wrong host": [with_head(Host="a b")],
    "two hosts": [with_head(Host=["a", "a"])],
    "two keys": [with_head(Authorization=["Bearer push-key", "Bearer push-key"])],
    "two idempotency keys": [with_head(Idempotency_Key=["a", "a"])],
    "two types": [with_head(Content_Type=["application/json", "application/json"])],
    "two forwarded": [with_head(X_Forwarded_For=["203.0.113.7", "198.51.100.2"])],
    "no length": [with_head(Content_Length=None)],
    "two lengths": [with_head(Content_Length=[str(len(BODY))] * 2)],
    "two lengths in one": [with_head(Content_Length=f"{len(BODY)}, {len(BODY)}")],
    "length with a sign": [with_head(Content_Length=f"+{len(BODY)}")],
    "length with zeros": [with_head(Content_Length=f"00{len(BODY)}")],
    "length of letters": [with_head(Content_Length="x")],
    "too small a length": [with_head(Content_Length=str(len(BODY) - 1))],
    "too large a length": [with_head(Content_Length=str(2**20 + 1))],
    "many headers": [request(head={f"X-{n}": "x" for n in range(MAX_HEADERS)})],
    "too many headers": [request(head={f"X{n}": "" for n in range(600)})],
    "large head": [with_head(X_Long="x" * MAX_HEAD_BYTES)],
    "line that is too long": [with_head(X_Long="x" * 20_000)],
    "large body": [message(data="x" * MAX_BYTES)],
    "large batch": [batch(*[{**PUSH, "data": "x" * 1000}] * 90)],
    "batch with a wrong key": [batch(PUSH, Authorization="Bearer nobody")],
    "batch without a key": [batch(PUSH, Authorization=None)],
    "batch without the scope": [batch(PUSH, Authorization="Bearer read-key")],
    "nonsense": [b"nonsense\r\n\r\n", request()],
    "zeros": [bytes(100)],
}


def see(web: Web, pieces: Sequence[bytes], audit: Trail, tracer: Traces, refusals: Any) -> Seen:
    connection = web.connect()
    for piece in pieces:
        if connection.open:
            connection.send(piece)
    answers = re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate: now", connection.transport.value())
    answers = answers.replace(b"\r\nRatelimit", b"\r\nRateLimit")  # twisted.web's spelling
    held_bytes = web.site.connection_limits.body_bytes
    timers = sorted(call.getTime() for call in web.clock.getDelayedCalls())
    is_open, half_closed = connection.open, connection.transport.write_closed
    connection.close()
    assert web.site.connection_limits.size == 0
    metrics = web.request("GET", "/metrics").content.decode()
    return Seen(
        answers,
        is_open,
        half_closed,
        list(web.behind.pushed),
        list(web.behind.keys),
        audit.notes,
        tracer.spans,
        sorted(refusals.items()),
        [line for line in metrics.splitlines() if line.startswith("push_http_")],
        timers,
        held_bytes,
    )


@pytest.fixture
def both(make_web: MakeWeb, behind: Behind, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`both(pieces, **options)`: what is seen by each way, and how many requests were plain."""

    def compare(pieces: Sequence[bytes], **options: Any) -> tuple[Seen, Seen, int]:
        seen: list[Seen] = []
        plain = 0
        for is_fast in (True, False):
            behind.pushed.clear()
            behind.keys.clear()
            audit, tracer = Trail(), Traces()
            made = {name: make() for name, make in options.items()}
            refusals = RefusalCounts()
            web = make_web(
                trusted_proxies=("192.0.2.7",),
                origins=("https://a.example",),
                failed_keys_per_minute=2,
                audit=audit,
                tracer=tracer,
                refusals=refusals,
                **made,
            )
            reader: Any = web.site.reader  # type: ignore[attr-defined]
            read = reader.read

            def counted(*arguments: Any, read: Any = read, counts: bool = is_fast) -> Any:
                nonlocal plain
                found = read(*arguments) if counts else None
                plain += found is not None
                return found

            reader.read = counted
            seen.append(see(web, pieces, audit, tracer, refusals))
        return seen[0], seen[1], plain

    return compare


@pytest.mark.parametrize("name", DIRECT)
def test_a_plain_request_takes_the_fast_path_and_is_answered_as_by_the_ordinary_way(
    both: Any, name: str
) -> None:
    direct, ordinary, plain = both(DIRECT[name])
    assert direct == ordinary
    assert plain == len(DIRECT[name])
    assert direct.answers.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("name", ORDINARY)
def test_everything_unusual_takes_the_ordinary_way(both: Any, name: str) -> None:
    direct, ordinary, _ = both(ORDINARY[name])
    assert direct == ordinary


@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_unusual_does_not_take_the_fast_path(web: Web, name: str) -> None:
    """Not even where it would make no difference."""
    reader: PlainReader = web.site.reader  # type: ignore[attr-defined]
    for piece in ORDINARY[name]:
        found = reader.read(piece, None)  # type: ignore[arg-type]
        if found is not None:
            access = web.site.routing.access  # type: ignore[attr-defined]
            plain = piece == request() and name in ("close", "nonsense")
            is_refused = not access.may_be_read(found.route, found)
            assert plain or (found.route.has_large_body and is_refused)


@pytest.mark.parametrize("is_short", [False, True])
@pytest.mark.parametrize("left", [0, 1, 3])
def test_quotas_and_the_lack_of_memory_are_told_alike(both: Any, left: int, is_short: bool) -> None:
    pieces = [request(), request(b"{"), batch(PUSH), request()]
    direct, ordinary, _ = both(
        pieces, rates=lambda: Rates(left), is_short_of_memory=lambda: lambda: is_short
    )
    assert direct == ordinary
    told = direct.answers.count(b"RateLimit-Policy: ")
    assert told == (0 if is_short else len(pieces))


@pytest.mark.parametrize("error", [RuntimeError("a fault"), RequestError("in_progress", "wait")])
def test_faults_are_answered_alike(
    both: Any, behind: Behind, error: Exception, flush_logged_errors: Any
) -> None:
    behind.error = error
    direct, ordinary, plain = both([request(), request()])
    assert len(flush_logged_errors(RuntimeError)) == (4 if type(error) is RuntimeError else 0)
    assert direct == ordinary
    assert plain == 2
